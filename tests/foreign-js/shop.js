export function greet(name) { return `Hello, ${name}!`; }
export const catalog = {
  area(s) {
    switch (s.tag) {
      case 'circle': return Math.PI * s.val * s.val;
      case 'rect': return s.val[0] * s.val[1];
      case 'priced': return Number(s.val.cents);
      case 'none': return 0;
      default: throw `no area for ${s.tag} ${s.val}`;
    }
  },
  double(i) { return { ...i, price: { ...i.price, cents: i.price.cents * 2n } }; },
  find(name, limit) {
    if (name === 'gone') throw { tag: 'not-found', val: name };
    if (name === 'empty') throw { tag: 'out-of-stock', val: 7 };
    if (name === 'busy') throw { tag: 'busy' };
    const one = (id) => ({ id, name, unit: 'gram', price: { cents: 1999n, currency: 'EUR' }, tags: ['a', 'b'],
      weight: id % 2 ? 1.5 : undefined, perms: { read: true, write: false, execute: false, shareWithOthers: id > 1 }, rating: [5, -300, 0.25] });
    return Array.from({ length: limit ?? 2 }, (_, k) => one(k + 1));
  },
  grant(a, b) { return { read: a.read || b.read, write: a.write || b.write, execute: a.execute || b.execute, shareWithOthers: a.shareWithOthers || b.shareWithOthers }; },
  nextUnit(u) { return { piece: 'gram', gram: 'milli-litre' }[u]; },
  echoAll(...a) { return a; },
  echoLists(...a) { return a; },
  maybe(x) { return x; },
  check(ok) { if (!ok) throw undefined; },
  unwrap(r) { if (r.tag === 'err') throw r.val; return r.val; },
  pairs(m) { return m.map(([k, v]) => [k.toUpperCase(), v + 1]).reverse(); },
  shapes(s) { return s; },
  nothing() {},
  failHard() { throw new Error('a JavaScript exception that no result type can carry'); },
};
