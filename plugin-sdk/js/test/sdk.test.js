import assert from "node:assert/strict";
import { test } from "node:test";
import { Failure, blob, boolean, choice, int64, integer, json, list, map, nullable, number, object, oneOf, optional, plugin, schema, store, string, text, tool, uint64 } from "palisade-sdk";
import { float, reader, write } from "../src/json.js";

const made = (options) => tool({ name: "t", description: "Does.", run: () => "done", ...options });
const schemaOf = (tool) => JSON.parse(tool.definition.inputSchema);
const wholeSources = JSON.parse("[1]", (_, value, context) => context?.source ?? value)[0] === "1";

test("the schema is closed, and says what is required and what it is otherwise", () => {
  const found = schemaOf(made({ arguments: { a: string("An a."), b: optional(integer("A b.", { minimum: 1 }), 3), c: optional(boolean("A c.")) } }));
  assert.deepEqual(found, {
    type: "object",
    properties: {
      a: { type: "string", description: "An a." },
      b: { type: "integer", description: "A b.", minimum: 1, maximum: Number.MAX_SAFE_INTEGER, default: 3 },
      c: { type: "boolean", description: "A c." },
    },
    required: ["a"],
    additionalProperties: false,
  });
});

test("what is wrong with a tool is said when it is made", () => {
  for (const [options, why] of [
    [{ name: "No" }, /lower-case/],
    [{ description: " " }, /description/],
    [{ arguments: { a: string() } }, /the argument a needs a description/],
    [{ readonly: true }, /no option readonly/],
    [{ run: undefined }, /function/],
  ]) {
    assert.throws(() => made(options), why);
  }
  assert.throws(() => plugin(made({}), made({})), /one name/);
});

test("numbers are written as in Rust", () => {
  const cases = [[1, "1.0"], [-0, "-0.0"], [1.5, "1.5"], [1e15, "1000000000000000.0"], [1e16, "1e+16"], [1.5e-5, "0.000015"], [1e-6, "1e-6"], [123456789.125, "123456789.125"],
    [5e-324, "5e-324"], [Number.MAX_VALUE, "1.7976931348623157e+308"], [-2.5e20, "-2.5e+20"], [NaN, "null"], [Infinity, "null"]];
  for (const [value, written] of cases) assert.equal(float(value), written);
  const point = object({ x: number(), n: integer(), any: schema({}) });
  assert.equal(write({ n: 2, x: 2, any: 2 }, point.schema), '{"n":2,"x":2.0,"any":2}');
});

test("a map keeps its order in a result, and names like __proto__ are names", () => {
  assert.equal(write(new Map([["b", 1], ["10", 2], ["9", 3]])), '{"b":1,"10":2,"9":3}');
  const read = reader(object({ m: map(integer()) }).schema);
  assert.deepEqual(read('{"m":{"__proto__":1}}').m, new Map([["__proto__", 1]]));
});

test("a union is written by the alternative that fits", () => {
  const shape = oneOf([object({ kind: choice(["circle"]), r: number() }), object({ kind: choice(["count"]), r: integer() }), list(number()), nullable(string())]);
  assert.equal(write({ kind: "circle", r: 2 }, shape.schema), '{"kind":"circle","r":2.0}');
  assert.equal(write({ kind: "count", r: 2 }, shape.schema), '{"kind":"count","r":2}');
  assert.equal(write([1], shape.schema), "[1.0]");
  assert.equal(write(null, shape.schema), "null");
});

test("half a character becomes a mark and not a broken document", () => {
  assert.equal(write("😀"[0]), '"\ufffd"');
});

test("integers of 64 bits are whole", { skip: !wholeSources && "needs Node 22" }, () => {
  const read = reader(object({ a: int64(), b: uint64(), c: number(), d: list(int64()) }).schema);
  const value = read('{"a":-9223372036854775808,"b":18446744073709551615,"c":12345678901234567890,"d":[9007199254740993,1]}');
  assert.deepEqual(value, { a: -(2n ** 63n), b: 2n ** 64n - 1n, c: 12345678901234567890, d: [9007199254740993n, 1n] });
  assert.equal(write(value), '{"a":-9223372036854775808,"b":18446744073709551615,"c":1.2345678901234567e+19,"d":[9007199254740993,1]}');
});

test("a call returns contents, and what is thrown is the tool's error", async () => {
  const { definitions, call } = plugin(
    made({ name: "all", arguments: { who: string("Who."), times: optional(integer("How often."), 2) }, run: ({ who, times }) => [who.repeat(times), text("x"), json({ who }), blob("a/b", new Uint8Array([1]))] }),
    made({ name: "none", run: () => [] }),
    made({ name: "fails", run: () => { throw new Failure("no such thing"); } }),
    made({ name: "slow", run: async () => "later" }),
    made({ name: "wrong", run: () => 5 }),
  );
  assert.deepEqual(definitions().map((one) => one.name), ["all", "none", "fails", "slow", "wrong"]);
  assert.deepEqual(call("all", '{"who":"ab"}'), [{ tag: "text", val: "abab" }, { tag: "text", val: "x" }, { tag: "json", val: '{"who":"ab"}' }, { tag: "blob", val: { mime: "a/b", data: new Uint8Array([1]) } }]);
  assert.deepEqual(call("none", "{}"), []);
  assert.throws(() => call("fails", "{}"), { message: "no such thing" });
  assert.throws(() => call("wrong", "{}"), { message: /returned neither/ });
  assert.throws(() => call("gone", "{}"), { message: "there is no tool gone" });
  assert.deepEqual(await call("slow", "{}"), [{ tag: "text", val: "later" }]);
});

test("outside a component the store is a map whose keys are in the order of their bytes", () => {
  for (const key of ["k/\u{1f600}", "k/\uffff", "k/a", "l"]) store.set(key, key);
  assert.deepEqual(store.keys("k/"), ["k/a", "k/\uffff", "k/\u{1f600}"]);
  assert.deepEqual(store.keys("k/", "k/a", 1), ["k/\uffff"]);
  assert.equal(store.swap("k/a", undefined, "again"), false);
  assert.equal(store.swap("k/a", "k/a", "again"), true);
  assert.deepEqual(new TextDecoder().decode(store.get("k/a")), "again");
  assert.equal(store.delete("k/a"), true);
  assert.equal(store.get("k/a"), undefined);
  assert.throws(() => store.get(""), { kind: "key", message: "the key is empty or too long for the store" });
});
