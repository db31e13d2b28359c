// JSON as the Rust SDK reads and writes it: integers of 64 bits are whole, a number that is no integer by its schema is written
// as one, and what is a `Map` here is an object there.

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);
const is64 = (schema) => schema.format === "int64" || schema.format === "uint64";
const holds = (schema, test) => test(schema) || Object.values(schema).some((inner) => typeof inner === "object" && inner !== null && holds(inner, test));
const isMap = (schema) => schema.type === "object" && isObject(schema.additionalProperties);
const isDefault = (schema) => schema.default !== undefined;

/** A reader of arguments, made for one schema. */
export function reader(schema) {
  const converts = holds(schema, (one) => isObject(one) && (is64(one) || isMap(one) || isDefault(one)));
  if (!converts) return (text) => JSON.parse(text);
  const whole = holds(schema, is64);
  // A number that JavaScript cannot hold comes as bigint, and where the schema does not say 64 bits it becomes a number again.
  const exact = (_, value, context) => (typeof value === "number" && !Number.isSafeInteger(value) && /^-?\d+$/.test(context?.source) ? BigInt(context.source) : value);
  return (text) => convert(JSON.parse(text, whole ? exact : undefined), schema);
}

function convert(value, schema) {
  if (schema.anyOf) {
    const fitting = schema.anyOf.find((one) => fits(value, one));
    return fitting ? convert(value, fitting) : value;
  }
  if (typeof value === "number" || typeof value === "bigint") return is64(schema) ? BigInt(value) : Number(value);
  if (Array.isArray(value)) return schema.items ? value.map((item) => convert(item, schema.items)) : value;
  if (!isObject(value)) return value;
  if (isMap(schema)) return new Map(Object.entries(value).map(([key, item]) => [key, convert(item, schema.additionalProperties)]));
  if (!schema.properties) return value;
  for (const [name, property] of Object.entries(schema.properties)) {
    if (Object.hasOwn(value, name)) value[name] = convert(value[name], property);
    else if (property.default !== undefined) value[name] = convert(JSON.parse(JSON.stringify(property.default)), property);
  }
  return value;
}

/** Which alternative of a union a value is: by its kind, and for objects by their constants and required properties. */
function fits(value, schema) {
  if (schema.anyOf) return schema.anyOf.some((one) => fits(value, one));
  if ("const" in schema) return value === schema.const;
  if (schema.enum) return schema.enum.includes(value);
  switch (schema.type) {
    case "null":
      return value === null || value === undefined;
    case "integer":
      return typeof value === "bigint" || Number.isInteger(value);
    case "array":
      return Array.isArray(value) && value.every((item) => !schema.items || fits(item, schema.items));
    case "object": {
      const has = (name) => (value instanceof Map ? value.has(name) : Object.hasOwn(value, name) && value[name] !== undefined);
      const get = (name) => (value instanceof Map ? value.get(name) : value[name]);
      const closed = schema.additionalProperties === false;
      return (
        isObject(value) &&
        (schema.required ?? []).every(has) &&
        Object.entries(schema.properties ?? {}).every(([name, property]) => !has(name) || fits(get(name), property)) &&
        (!closed || value instanceof Map || Object.keys(value).every((name) => Object.hasOwn(schema.properties ?? {}, name)))
      );
    }
    case undefined:
      return true;
    default:
      return typeof value === schema.type || (schema.type === "number" && typeof value === "bigint");
  }
}

/** Writes a value; the schema says which numbers are integers. Without one, a number is an integer if it is whole. */
export function write(value, schema = {}) {
  if (schema.anyOf) return write(value, schema.anyOf.find((one) => fits(value, one)));
  switch (typeof value) {
    case "string":
      // Half a character is no text.
      return JSON.stringify(value.toWellFormed());
    case "number": {
      const whole = schema.type === "integer" ? Number.isInteger(value) : schema.type !== "number" && Number.isSafeInteger(value);
      return whole ? BigInt(value).toString() : float(value);
    }
    case "bigint":
      return schema.type === "number" ? float(Number(value)) : value.toString();
    case "boolean":
      return String(value);
    case "object":
      break;
    default:
      throw new TypeError(`a ${typeof value} is no JSON`);
  }
  if (value === null) return "null";
  if (typeof value.toJSON === "function") return write(value.toJSON(), schema);
  if (Array.isArray(value)) return `[${value.map((item) => write(item ?? null, schema.items)).join(",")}]`;
  const inner = (name) => schema.properties?.[name] ?? (isObject(schema.additionalProperties) ? schema.additionalProperties : undefined);
  const entries = [...(value instanceof Map ? value : Object.entries(value))].filter(([, item]) => item !== undefined);
  return `{${entries.map(([name, item]) => `${write(String(name))}:${write(item, inner(name))}`).join(",")}}`;
}

/** The shortest digits that read back as this number, laid out as the Rust SDK does; what is not finite is null. */
export function float(value) {
  if (!Number.isFinite(value)) return "null";
  if (value === 0) return Object.is(value, -0) ? "-0.0" : "0.0";
  const [, sign, first, rest = "", exponent] = /^(-?)(\d)(?:\.(\d+))?e([+-]\d+)$/.exec(value.toExponential());
  const digits = first + rest;
  const point = Number(exponent) + 1; // Where the point stands, counted from before the first digit.
  if (digits.length <= point && point <= 16) return `${sign}${digits.padEnd(point, "0")}.0`;
  if (0 < point && point <= 16) return `${sign}${digits.slice(0, point)}.${digits.slice(point)}`;
  if (-5 < point && point <= 0) return `${sign}0.${"0".repeat(-point)}${digits}`;
  return `${sign}${first}${rest && `.${rest}`}e${exponent}`;
}
