#!/usr/bin/env node
// Makes a component of a plugin's source: palisade-sdk SOURCE -o FILE [--pure] [--http].

import { mkdtemp, realpath, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const USAGE = `palisade-sdk SOURCE -o FILE [--pure] [--http]

  SOURCE  the module that exports \`tools\`
  -o      where the component goes
  --pure  without clock and random numbers: it imports the host alone. Math.random() is then the same in each call
  --http  with fetch(); where it reaches, the manifest asks and a person grants`;

const bundle = {
  bundle: true,
  write: false,
  format: "esm",
  target: "es2023",
  // Neither a browser nor Node: packages give what suits any engine.
  platform: "neutral",
  mainFields: ["module", "main"],
  conditions: ["palisade", "module"],
  external: ["palisade:*"],
  metafile: true,
  logLevel: "error",
};

async function main() {
  const options = { output: { type: "string", short: "o" }, pure: { type: "boolean" }, http: { type: "boolean" }, help: { type: "boolean" } };
  const { values, positionals } = parseArgs({ options, allowPositionals: true });
  if (values.help) return console.log(USAGE);
  if (positionals.length !== 1 || !values.output) throw new Error(USAGE);

  const { build, componentize } = await compilers();
  const { outputFiles, metafile } = await build({ ...bundle, entryPoints: positionals });
  const [output] = Object.values(metafile.outputs);
  if (!output.exports.includes("tools")) throw new Error(`${positionals[0]} does not export \`tools\`: export const tools = plugin(…)`);
  // The compiler keeps every import of a world, and who imports the store needs a grant for it.
  const worldName = output.imports.some(({ path }) => path.startsWith("palisade:plugin/store@")) ? "plugin" : "stateless-plugin";
  const disableFeatures = ["stdio", "fetch-event", ...(values.http ? [] : ["http"]), ...(values.pure ? ["clocks", "random"] : [])];

  const folder = await mkdtemp(join(tmpdir(), "palisade-sdk-"));
  try {
    const sourcePath = join(folder, "plugin.js");
    await writeFile(sourcePath, outputFiles[0].contents);
    const witPath = await realpath(fileURLToPath(new URL("palisade.wit", import.meta.url)));
    const { component } = await componentize({ sourcePath, witPath, worldName, disableFeatures });
    await writeFile(values.output, component);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function compilers() {
  try {
    const [{ build }, { componentize }] = await Promise.all([import("esbuild"), import("@bytecodealliance/componentize-js")]);
    return { build, componentize };
  } catch (error) {
    if (error.code !== "ERR_MODULE_NOT_FOUND") throw error;
    throw new Error(`the compilers are not installed; once: npm ci --prefix ${fileURLToPath(new URL(".", import.meta.url))}`);
  }
}

// Errors of the bundler were printed by it.
main().catch((error) => {
  if (!error.errors) console.error(error.message);
  process.exitCode = 1;
});
