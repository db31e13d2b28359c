// A tool, what it returns, and what a plugin exports.

import { log } from "#host";
import { reader, write } from "./json.js";
import { object } from "./types.js";

/** Why a tool could not do what it was asked: a sentence for the agent. */
export class Failure extends Error {
  name = "Failure";
}

export const text = (text) => ({ kind: "text", text });
export const json = (value) => ({ kind: "json", value });
export const blob = (mime, data) => ({ kind: "blob", mime, data });

const NAME = /^[a-z][a-z0-9]*([-_][a-z0-9]+)*$/;
const KNOWN = ["name", "title", "description", "arguments", "output", "readOnly", "destructive", "idempotent", "openWorld", "run"];

// What is wrong with a tool is an error of the build: this runs there, before the component is made.
export function tool(options) {
  const { name, title, description, output, run } = options;
  const wrong = (why) => new TypeError(`the tool ${name}: ${why}`);
  const unknown = Object.keys(options).find((key) => !KNOWN.includes(key));
  if (unknown) throw wrong(`there is no option ${unknown}; there are ${KNOWN.join(", ")}`);
  if (!NAME.test(name) || name.length > 64) throw wrong("a name is lower-case words with - or _ between, at most 64 bytes");
  if (!description?.trim()) throw wrong("it needs a description: an agent chooses by it");
  if (typeof run !== "function") throw wrong("it needs a function `run`");
  const input = object(options.arguments ?? {});
  for (const [property, { description }] of Object.entries(input.schema.properties)) {
    if (!description) throw wrong(`the argument ${property} needs a description: an agent fills it in by that`);
  }
  const definition = {
    name,
    title,
    description,
    inputSchema: write(input.schema),
    outputSchema: output && write(output.schema),
    annotations: {
      readOnly: options.readOnly ?? false,
      destructive: options.destructive ?? false,
      idempotent: options.idempotent ?? false,
      openWorld: options.openWorld ?? false,
    },
  };
  return { definition, read: reader(input.schema), run, output };
}

export function plugin(...tools) {
  const byName = new Map(tools.map((tool) => [tool.definition.name, tool]));
  if (byName.size < tools.length) throw new TypeError("two tools have one name");
  return {
    definitions: () => tools.map((tool) => tool.definition),
    call(name, text) {
      const tool = byName.get(name);
      if (!tool) throw failed(new Failure(`there is no tool ${name}`));
      try {
        const returned = tool.run(tool.read(text));
        return typeof returned?.then === "function" ? settled(tool, returned) : contents(tool, returned);
      } catch (error) {
        throw failed(error);
      }
    },
  };
}

async function settled(tool, promise) {
  try {
    return contents(tool, await promise);
  } catch (error) {
    throw failed(error);
  }
}

/** As the component returns an error. What is no `Failure` was not foreseen, so the author finds where it came from. */
function failed(error) {
  if (!(error instanceof Failure) && error?.stack) log("debug", `${error}\n${error.stack}`);
  return { message: String(error?.message || error).toWellFormed() };
}

function contents(tool, returned) {
  return (Array.isArray(returned) ? returned : [returned]).map((one) => {
    if (typeof one === "string") return { tag: "text", val: one.toWellFormed() };
    switch (one?.kind) {
      case "text":
        return { tag: "text", val: String(one.text).toWellFormed() };
      case "json":
        return { tag: "json", val: write(one.value, tool.output?.schema) };
      case "blob":
        return { tag: "blob", val: { mime: one.mime, data: one.data } };
      default:
        throw new TypeError(`the tool ${tool.definition.name} returned neither a string nor text(…), json(…) or blob(…)`);
    }
  });
}
