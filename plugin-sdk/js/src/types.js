// The types of arguments and results: each is a JSON Schema, and how its values look in JavaScript.

const type = (schema, more) => Object.freeze({ schema: Object.freeze(schema), ...more });
const described = (schema, description, more) => ({ ...schema, ...(description === undefined ? {} : { description }), ...more });

export const string = (description, more) => type(described({ type: "string" }, description, more));
export const boolean = (description, more) => type(described({ type: "boolean" }, description, more));
export const number = (description, more) => type(described({ type: "number" }, description, more));

// What a JavaScript number holds without loss; a larger integer is refused before the component runs.
const SAFE = { minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER };
export const integer = (description, more) => type(described({ type: "integer" }, description, { ...SAFE, ...more }));
// As bigint. The host refuses what fits neither of the two before it looks at a schema.
export const int64 = (description) => type(described({ type: "integer", format: "int64" }, description, { minimum: -(2n ** 63n), maximum: 2n ** 63n - 1n }));
export const uint64 = (description) => type(described({ type: "integer", format: "uint64" }, description, { minimum: 0, maximum: 2n ** 64n - 1n }));

export const choice = (values, description) => type(described({ type: "string", enum: values }, description));
export const nothing = (description) => type(described({ type: "null" }, description));
export const list = (item, description, more) => type(described({ type: "array", items: item.schema }, description, more));
export const map = (value, description) => type(described({ type: "object", additionalProperties: value.schema }, description));
export const oneOf = (types, description) => type(described({ anyOf: types.map((one) => one.schema) }, description));
export const nullable = (inner, description) => oneOf([inner, nothing()], description ?? inner.schema.description);
// Any JSON Schema there is no word for.
export const schema = (schema) => type(schema);

// A property that may be left out; then it is `otherwise`.
export function optional(inner, otherwise) {
  const schema = otherwise === undefined ? inner.schema : { ...inner.schema, default: otherwise };
  return type(schema, { optional: true, otherwise });
}

export function object(properties, description) {
  const names = Object.keys(properties);
  const required = names.filter((name) => !properties[name].optional);
  const schemas = Object.fromEntries(names.map((name) => [name, properties[name].schema]));
  const schema = { type: "object", properties: schemas, ...(required.length ? { required } : {}), additionalProperties: false };
  return type(described(schema, description));
}
