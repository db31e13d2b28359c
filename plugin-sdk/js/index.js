// Write a Palisade tool as a JavaScript function. The words are those of the Rust SDK; the manual is `index.d.ts`.

export { boolean, choice, int64, integer, list, map, nothing, nullable, number, object, oneOf, optional, schema, string, uint64 } from "./src/types.js";
export { Failure, blob, json, plugin, text, tool } from "./src/tool.js";
export { cancelled, log, progress } from "#host";
// A module of its own, so that a plugin that never names it does not import the store and needs no grant for it.
export * as store from "./src/store.js";
