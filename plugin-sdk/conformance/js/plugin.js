// The tools of the conformance table, in JavaScript.

import {
  Failure, blob, boolean, cancelled, choice, int64, integer, json, list, log, map, nothing, nullable, number, object, oneOf, optional,
  plugin, progress, schema, store, string, text, tool, uint64,
} from "palisade-sdk";

const made = (name, description, args, run, output) => tool({ name, description, arguments: args, run, output });
const utf8 = new TextEncoder();

// In the order of UTF-8, which is not that of JavaScript's strings.
function byBytes(a, b) {
  const [left, right] = [utf8.encode(a), utf8.encode(b)];
  for (let i = 0; i < Math.min(left.length, right.length); i++) if (left[i] !== right[i]) return left[i] - right[i];
  return left.length - right.length;
}
const sorted = (entries) => new Map([...entries].sort(([a], [b]) => byBytes(a, b)));

const someText = { text: string("A text.") };
const strings = [
  made("echo", "Returns the text.", someText, ({ text }) => text),
  made("echo-json", "Returns the text as JSON.", someText, ({ text }) => json(text), string()),
  made("lengths", "Counts in three units.", someText,
    ({ text }) => json({ bytes: utf8.encode(text).length, characters: [...text].length, utf16: text.length }),
    object({ bytes: integer(), characters: integer(), utf16: integer() })),
  made("reverse", "Reverses the characters.", someText, ({ text }) => [...text].reverse().join("")),
  made("repeat", "Repeats the text.", { ...someText, times: integer("How often.", { minimum: 0, maximum: 100_000 }) }, ({ text, times }) => text.repeat(times)),
  made("join", "Joins the parts.", { parts: list(string(), "The parts."), separator: optional(string("What stands between."), ", ") },
    ({ parts, separator }) => parts.join(separator)),
  made("lines", "Splits at line ends.", someText, ({ text }) => json(text.split("\n")), list(string())),
  made("sort", "Sorts by the bytes of the values.", { values: list(string(), "The values.") }, ({ values }) => json(values.sort(byBytes)), list(string())),
];

function added(values) {
  const sum = values.reduce((a, b) => a + b, 0n);
  if (sum !== BigInt.asIntN(64, sum)) throw new Failure("the sum does not fit");
  return sum;
}

const numbers = [
  made("echo-i64", "Returns the value.", { value: int64("A value.") }, ({ value }) => json(value), int64()),
  made("echo-u64", "Returns the value.", { value: uint64("A value.") }, ({ value }) => json(value), uint64()),
  made("echo-safe", "Returns a value that each language holds.", { value: integer("A value.") }, ({ value }) => json(value), integer()),
  made("add", "Adds two values.", { a: int64("One."), b: int64("Another.") }, ({ a, b }) => json(added([a, b])), int64()),
  made("sum", "Adds all values.", { values: list(int64(), "The values.") }, ({ values }) => json(added(values)), int64()),
  made("percent", "Writes a percentage.", { value: integer("From 0 to 100.", { minimum: 0, maximum: 100 }) }, ({ value }) => json(`${value} %`), string()),
  made("echo-number", "Returns the value.", { value: number("A value.") }, ({ value }) => json(value), number()),
  made("divide", "Divides; what is no number is null.", { a: number("What is divided."), b: number("By what.") },
    ({ a, b }) => json({ quotient: a / b }), object({ quotient: nullable(number()) })),
  made("mean", "The mean of the values.", { values: list(number(), "The values.") }, ({ values }) => {
    if (values.length === 0) throw new Failure("there are no values");
    return json(values.reduce((a, b) => a + b, 0) / values.length);
  }, number()),
  made("numbers", "Returns numbers of all kinds.", {}, () => json({
    whole: 1, number: 1, third: 1 / 3, tiny: 1e-7, small: 1e-5, large: 1e21, max: 2n ** 64n - 1n, min: -(2n ** 63n), negative_zero: -0, list: [1, 2.5],
  }), object({
    whole: integer(), number: number(), third: number(), tiny: number(), small: number(), large: number(), max: uint64(), min: int64(),
    negative_zero: number(), list: list(number()),
  })),
];

const color = (description) => choice(["red", "green", "blue"], description);
const person = object({ name: string(), address: object({ street: string(), city: string(), zip: optional(nullable(string())) }) }, "A person.");
const personOut = object({ name: string(), address: object({ street: string(), city: string(), zip: nullable(string()) }) });
const point = object({ x: number(), y: number() });
const textOrInteger = (description) => oneOf([string(), int64()], description);
const circle = object({ kind: choice(["circle"]), radius: number() });
const rectangle = object({ kind: choice(["rectangle"]), width: number(), height: number() });
const shape = oneOf([circle, rectangle], "A shape.");
const keys = { b: integer("First."), a: integer("Second."), c: integer("Third.") };
const c = object({ c: object({ d: integer() }) });

const shapes = [
  made("not", "The other one.", { value: boolean("A flag.") }, ({ value }) => json(!value), boolean()),
  made("nothing", "Returns null.", { value: nothing("Null.") }, ({ value }) => json(value), nothing()),
  made("maybe", "Whether a text was given.", { value: optional(nullable(string("Perhaps a text."))) },
    ({ value }) => json({ given: typeof value === "string", value: value ?? null }), object({ given: boolean(), value: nullable(string()) })),
  made("maybe-number", "Returns the integer, if there is one.", { value: optional(nullable(int64("Perhaps an integer."))) },
    ({ value }) => json(value ?? null), nullable(int64())),
  made("defaults", "Returns what was given or stands for it.", {
    text: optional(string("A text."), "hello"), count: optional(integer("A count."), 3), flag: optional(boolean("A flag."), true),
    ratio: optional(number("A ratio."), 0.5), list: optional(list(string(), "A list."), ["a"]),
  }, ({ text, count, flag, ratio, list }) => json({ text, count, flag, ratio, list }),
    object({ text: string(), count: integer(), flag: boolean(), ratio: number(), list: list(string()) })),
  made("color", "The place of a color.", { color: color("A color.") }, ({ color }) => json({ color, index: ["red", "green", "blue"].indexOf(color) }),
    object({ color: color(), index: integer() })),
  made("count-colors", "Counts colors, in the order of their names.", { colors: list(color(), "Colors.") }, ({ colors }) => {
    const counts = new Map();
    for (const color of colors) counts.set(color, (counts.get(color) ?? 0) + 1);
    return json(sorted(counts));
  }, map(integer())),
  made("person", "Returns the person.", { person }, ({ person: { name, address: { street, city, zip = null } } }) => json({ name, address: { street, city, zip } }), personOut),
  made("deep", "Returns what lies deep.", { a: object({ b: c }, "Far down.") }, ({ a }) => json({ d: a.b.c.d, back: a.b }), object({ d: integer(), back: c })),
  made("key-order", "Returns the keys in the order of the schema.", keys, ({ a, b, c }) => json({ b, a, c }), object(keys)),
  made("sorted-map", "Returns the map in the order of the bytes of its keys.", { values: map(integer(), "By name.") }, ({ values }) => json(sorted(values)), map(integer())),
  made("map-sizes", "The lengths of lists, in the order of the bytes of their names.", { values: map(list(string()), "By name.") },
    ({ values }) => json(sorted([...values].map(([name, list]) => [name, list.length]))), map(integer())),
  made("map-of-points", "Returns the points in the order of the bytes of their names.", { points: map(point, "By name.") },
    ({ points }) => json(sorted([...points].map(([name, { x, y }]) => [name, { x, y }]))), map(point)),
  made("transpose", "Turns rows into columns.", { rows: list(list(number()), "The rows.") }, ({ rows }) => {
    if (rows.some((row) => row.length !== rows[0].length)) throw new Failure("the rows have different lengths");
    return json((rows[0] ?? []).map((_, i) => rows.map((row) => row[i])));
  }, list(list(number()))),
  made("bounds", "The box around points.", { points: list(point, "The points.") }, ({ points }) => {
    const corner = (pick) => ({ x: pick(...points.map(({ x }) => x)), y: pick(...points.map(({ y }) => y)) });
    return json(points.length === 0 ? null : { min: corner(Math.min), max: corner(Math.max) });
  }, nullable(object({ min: point, max: point }))),
  made("text-or-integer", "Which of the two it is.", { value: textOrInteger("A text or an integer.") },
    ({ value }) => json({ kind: typeof value === "string" ? "text" : "integer", value }), object({ kind: string(), value: textOrInteger() })),
  made("one-or-many", "Always many.", { value: oneOf([string(), list(string())], "One text or many.") }, ({ value }) => json([value].flat()), list(string())),
  made("area", "The area of a shape.", { shape },
    ({ shape }) => json(shape.kind === "circle" ? Math.PI * shape.radius * shape.radius : shape.width * shape.height), number()),
  made("grown", "A larger shape.", { shape, by: number("By how much.") }, ({ shape: { kind, radius, width, height }, by }) =>
    json(kind === "circle" ? { kind, radius: radius * by } : { kind, width: width * by, height: height * by }), oneOf([circle, rectangle])),
  made("kind-of", "The kind of a value.", { value: schema({ description: "Anything." }) },
    ({ value }) => (value === null ? "null" : Array.isArray(value) ? "array" : typeof value)),
  made("umlaut", "Has a name that is not ASCII.", { größe: number("A size.") }, ({ größe }) => json({ größe }), object({ größe: number() })),
];

const count = { count: integer("How many.", { minimum: 0, maximum: 1_000_000 }) };
const upTo = (count) => Array.from({ length: count }, (_, i) => i);
const results = [
  made("no-arguments", "Takes nothing.", {}, () => "done"),
  made("empty-result", "Returns nothing.", {}, () => []),
  made("empty-text", "Returns a text without characters.", {}, () => ""),
  made("text-and-json", "Returns the text in two ways.", someText, (args) => [args.text, json({ text: args.text })]),
  made("many-texts", "Returns many texts.", count, ({ count }) => upTo(count).map((i) => text(String(i)))),
  made("blob", "Returns the bytes.", { mime: string("Their media type."), bytes: list(integer(undefined, { minimum: 0, maximum: 255 }), "The bytes.") },
    ({ mime, bytes }) => blob(mime, Uint8Array.from(bytes))),
  made("mixed", "Returns contents of all kinds.", {}, () => ["first", blob("a/b", Uint8Array.of(1, 2)), json([1, 2.5, null]), text("last")]),
  made("big-list", "Counts up.", count, ({ count }) => json(upTo(count)), list(integer())),
  made("big-blob", "Returns many bytes.", { size: integer("How many bytes.", { minimum: 0, maximum: 1_000_000 }) },
    ({ size }) => blob("application/octet-stream", new Uint8Array(size).map((_, i) => i % 251))),
  made("escapes", "Returns what JSON has to escape, and what it need not.", {}, () => json('"\\/\b\f\n\r\t\u0001\u001f\u007f\u2028</script>'), string()),
  made("nulls", "Returns nulls.", {}, () => json({ a: null, b: [null, 1, null], c: new Map() }),
    object({ a: nullable(string()), b: list(nullable(integer())), c: map(string()) })),
  made("fail", "Fails.", { message: string("What it says.") }, ({ message }) => { throw new Failure(message); }),
  made("fail-if-negative", "Fails where the value is negative.", { value: int64("A value.") }, ({ value }) => {
    if (value < 0) throw new Failure(`\`value\` is ${value}; it is 0 or more`);
    return "fine";
  }),
];

const key = { key: string("The key.") };
const decoded = (bytes) => (bytes === undefined ? null : new TextDecoder().decode(bytes));
const host = [
  made("log", "Logs a line.", { level: choice(["debug", "info", "warn", "error"], "How much it matters."), message: string("What it says.") }, ({ level, message }) => {
    log(level, message);
    return "logged";
  }),
  made("progress", "Reports its steps.", { steps: integer("How many.", { minimum: 0, maximum: 100 }) }, ({ steps }) => {
    for (let step = 1; step <= steps; step++) progress(step, steps, `step ${step}`);
    return `${steps} steps`;
  }),
  made("cancelled", "Whether the caller gave up.", {}, () => json(cancelled()), boolean()),
  made("store-set", "Keeps a value.", { ...key, value: string("Its value.") }, ({ key, value }) => {
    store.set(key, value);
    return "kept";
  }),
  made("store-get", "Reads a value.", key, ({ key }) => json(decoded(store.get(key))), nullable(string())),
  made("store-keys", "Lists keys.", {
    prefix: optional(string("How they begin."), ""), after: optional(nullable(string("What they come after."))),
    most: optional(integer("At most so many.", { minimum: 0, maximum: 1000 }), 1000),
  }, ({ prefix, after, most }) => json(store.keys(prefix, after ?? undefined, most)), list(string())),
  made("store-swap", "Swaps a value.", { ...key, expected: optional(nullable(string("What it has."))), value: optional(nullable(string("What it shall have."))) },
    ({ key, expected, value }) => json(store.swap(key, expected ?? undefined, value ?? undefined)), boolean()),
  made("store-delete", "Removes a value.", key, ({ key }) => json(store.delete(key)), boolean()),
];

export const tools = plugin(...strings, ...numbers, ...shapes, ...results, ...host);
