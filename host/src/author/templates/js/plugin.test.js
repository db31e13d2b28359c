// node --test

import assert from "node:assert/strict";
import { test } from "node:test";
import { tools } from "./plugin.js";

const greet = (name) => tools.call("greet", JSON.stringify({ name }));

test("somebody is greeted by name", () => {
  assert.equal(greet("Ada")[0].val, "Hello, Ada!");
});

test("nobody is an error that says what to do", () => {
  assert.throws(() => greet(""), { message: "`name` is empty; say who is greeted" });
});
