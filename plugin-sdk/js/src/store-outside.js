// The store, where there is none: a map in memory, so that a plugin's own tests can use it.

const entries = new Map();
const utf8 = (text) => Buffer.from(text);

function check(key) {
  if (key === "" || utf8(key).length > 512) throw { payload: { tag: "key" } };
}

export function get(key) {
  check(key);
  return entries.get(key)?.slice();
}

export function set(key, value) {
  check(key);
  entries.set(key, Uint8Array.from(value));
}

function remove(key) {
  check(key);
  return entries.delete(key);
}
export { remove as delete };

export function swap(key, expected, value) {
  check(key);
  const found = entries.get(key);
  const same = found === undefined || expected === undefined ? found === expected : Buffer.compare(found, expected) === 0;
  if (same && value !== undefined) entries.set(key, Uint8Array.from(value));
  if (same && value === undefined) entries.delete(key);
  return same;
}

// In the order of their bytes, which is not that of JavaScript's strings.
export function keys(prefix, after, most) {
  const sorted = [...entries.keys()].sort((a, b) => Buffer.compare(utf8(a), utf8(b)));
  const fits = (key) => key.startsWith(prefix) && (after === undefined || Buffer.compare(utf8(key), utf8(after)) > 0);
  return sorted.filter(fits).slice(0, Math.min(most, 1000));
}
