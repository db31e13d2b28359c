/**
 * Write a Palisade tool as a JavaScript function.
 *
 * ```js
 * import { plugin, string, tool } from "palisade-sdk";
 *
 * const greet = tool({
 *   name: "greet",
 *   description: "Greets somebody by name.",
 *   arguments: { name: string("Who is greeted.") },
 *   run: ({ name }) => `Hello, ${name}!`,
 * });
 *
 * export const tools = plugin(greet);
 * ```
 *
 * Every call gets a fresh instance: what a module keeps in a variable is never seen twice.
 */

/** A type of arguments or results: a JSON Schema, and the JavaScript type `T` of its values. */
export interface Type<T, Optional extends boolean = false> {
  readonly schema: Schema;
  readonly optional?: Optional;
  /** Only for the compiler. */
  readonly _value?: T;
}

/** JSON Schema 2020-12. */
export type Schema = { readonly [key: string]: unknown };

/** More of a schema, such as `{ minLength: 1 }` or `{ "x-palisade-prompt": true }`. */
export type More = Schema;

export function string(description?: string, more?: More): Type<string>;
export function boolean(description?: string, more?: More): Type<boolean>;
export function number(description?: string, more?: More): Type<number>;
/** An integer that a JavaScript number holds: from -(2⁵³ - 1) to 2⁵³ - 1. Others are refused before the component runs. */
export function integer(description?: string, more?: More): Type<number>;
/** A signed integer of 64 bits, as `bigint`. */
export function int64(description?: string): Type<bigint>;
/** An unsigned integer of 64 bits, as `bigint`. */
export function uint64(description?: string): Type<bigint>;
/** One of some words. */
export function choice<const V extends readonly string[]>(values: V, description?: string): Type<V[number]>;
/** `null` and nothing else. */
export function nothing(description?: string): Type<null>;
export function list<T>(item: Type<T>, description?: string, more?: More): Type<T[]>;
/** An object of any keys. The order of the keys of an argument is not kept; that of a result is. */
export function map<T>(value: Type<T>, description?: string): Type<Map<string, T>>;
/** One of several types: the first that fits. */
export function oneOf<const U extends readonly Type<unknown>[]>(types: U, description?: string): Type<Value<U[number]>>;
export function nullable<T>(inner: Type<T>, description?: string): Type<T | null>;
/** A property that may be left out. Then it is `undefined`. */
export function optional<T>(inner: Type<T>): Type<T, true>;
/** A property that may be left out. Then it is `otherwise`, which the schema says too; as JSON, so a map is a plain object. */
export function optional<T>(inner: Type<T>, otherwise: unknown): Type<T, true> & { readonly otherwise: unknown };
/** An object of these properties, closed: another property is refused. */
export function object<P extends Properties>(properties: P, description?: string): Type<Values<P>>;
/** Any JSON Schema that there is no word for. */
export function schema<T = unknown>(schema: Schema): Type<T>;

export type Properties = { readonly [name: string]: Type<any, boolean> };

/** The JavaScript type of a type's values. */
export type Value<Y> = Y extends Type<infer T, boolean> ? T : never;

type Absent<P> = { [K in keyof P]: P[K] extends { readonly otherwise: unknown } ? never : P[K] extends Type<any, true> ? (P[K] extends Type<any, false> ? never : K) : never }[keyof P];

/** The JavaScript type of an object of these properties. */
export type Values<P> = { [K in Exclude<keyof P, Absent<P>>]: Value<P[K]> } & { [K in Absent<P>]?: Value<P[K]> };

/** A piece of a result. */
export type Content =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "json"; readonly value: unknown }
  | { readonly kind: "blob"; readonly mime: string; readonly data: Uint8Array };

/** Plain text. A function may as well return a string. */
export function text(text: string): Content;
/**
 * A JSON document. A `Map` is an object with its keys in their order, a `bigint` a whole number, and `undefined` a property
 * that is not there. Which numbers are integers, the tool's `output` says; without it those are that are whole.
 */
export function json(value: unknown): Content;
/** Bytes with their media type, for instance `image/png`. */
export function blob(mime: string, data: Uint8Array): Content;

/** What a tool function returns. */
export type Result = string | Content | readonly (string | Content)[];

export interface ToolOptions<P extends Properties> {
  /** The tool part of the id: lower-case words with `-` or `_` between, at most 64 bytes. */
  name: string;
  /** A short name for people. */
  title?: string;
  /** What the tool does and when to use it. An agent chooses by this text. */
  description: string;
  /** The arguments, each with a description. Unknown ones are refused before the component runs. */
  arguments?: P;
  /** The type of the one `json` content it returns, where it returns one. */
  output?: Type<any>;
  /** It changes nothing. */
  readOnly?: boolean;
  /** It may remove or overwrite. */
  destructive?: boolean;
  /** A second equal call changes nothing more. */
  idempotent?: boolean;
  /** It reaches beyond the machine. */
  openWorld?: boolean;
  /** The work. What it throws becomes the tool's error, with its message. */
  run(args: Values<P>): Result | Promise<Result>;
}

/** A tool, as {@link tool} makes it. */
export interface Tool {
  readonly definition: { readonly name: string; readonly inputSchema: string; readonly outputSchema?: string };
}

export function tool<P extends Properties = {}>(options: ToolOptions<P>): Tool;

/** What a plugin exports as `tools`. */
export interface Plugin {
  definitions(): unknown[];
  call(name: string, args: string): unknown;
}

export function plugin(...tools: Tool[]): Plugin;

/** Why a tool could not do what it was asked: a sentence for the agent. */
export class Failure extends Error {}

/** How much a log line matters. */
export type Level = "debug" | "info" | "warn" | "error";

/** Writes a line to the operator's log. Outside a component, to standard error. */
export function log(level: Level, message: string): void;

/** Reports progress: how much of how much is done. Outside a component it does nothing. */
export function progress(done: number, total?: number, message?: string): void;

/** Whether the caller gave up. A tool that works for long asks now and then. Outside a component: no. */
export function cancelled(): boolean;

/**
 * The plugin's own key-value store: all that one call leaves to the next. Its manifest asks for it with `store = true`. Keys
 * are in the order of their bytes. Outside a component it is a map in memory, so that a plugin's own tests can use it.
 */
export namespace store {
  /** Why the store did nothing. */
  export class StoreError extends Error {
    kind: "key" | "value" | "full" | "unavailable";
  }
  /** The value of a key, or `undefined`. */
  export function get(key: string): Uint8Array | undefined;
  /** Sets a value, whatever was there. Text goes in as UTF-8. */
  export function set(key: string, value: Uint8Array | string): void;
  /** Removes a key; whether it was there. */
  function remove(key: string): boolean;
  export { remove as delete };
  /**
   * Sets a value, or removes it with `undefined`, if the key still has the value `expected`; whether it did. Another call may
   * have changed what this one read: this is how nothing is lost.
   */
  export function swap(key: string, expected: Uint8Array | string | undefined, value: Uint8Array | string | undefined): boolean;
  /** The keys that begin with `prefix` and come after `after`, in order: at most `most` and at most 1 000. */
  export function keys(prefix?: string, after?: string, most?: number): string[];
}
