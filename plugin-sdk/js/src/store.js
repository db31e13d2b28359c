// The plugin's own key-value store: all that one call leaves to the next.

import * as backend from "#store";

const SENTENCES = {
  key: "the key is empty or too long for the store",
  value: "the value is too large for the store",
  full: "the store is full",
  unavailable: "the store cannot be used",
};

/** Why the store did nothing: `kind` is key, value, full or unavailable. */
export class StoreError extends Error {
  name = "StoreError";
  constructor(kind) {
    super(SENTENCES[kind]);
    this.kind = kind;
  }
}

const bytes = (value) => (typeof value === "string" ? new TextEncoder().encode(value) : value);

function attempt(work) {
  try {
    return work();
  } catch (error) {
    // As the bindings throw what the store answers.
    const kind = error?.payload?.tag ?? error?.tag;
    throw kind in SENTENCES ? new StoreError(kind) : error;
  }
}

export const get = (key) => attempt(() => backend.get(key)) ?? undefined;
export const set = (key, value) => attempt(() => backend.set(key, bytes(value)));
export { remove as delete };
const remove = (key) => attempt(() => backend.delete(key));
export const swap = (key, expected, value) => attempt(() => backend.swap(key, bytes(expected), bytes(value)));
export const keys = (prefix = "", after = undefined, most = 1000) => attempt(() => backend.keys(prefix, after, most));
