class Counter { constructor(n) { this.n = n; } increment() { return ++this.n; } }
export function greet(name) { return `Hello, ${name}!`; }
export const counters = { Counter, make(n) { return new Counter(n); } };
