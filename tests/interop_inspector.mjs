// Lists and calls the example tools through the client of the MCP inspector, gets progress, cancels a call, sees the list change.
//
// interop_inspector.mjs PACKAGE legacy|modern stdio COMMAND [ARG ...]
// interop_inspector.mjs PACKAGE legacy|modern http URL TOKEN_FILE
//
// Its command line makes one request a process and shows no notification, so this drives the class below its web, terminal
// and command-line surfaces alike, from the package as it is published: the build exports it to nobody, and a copy of the
// build beside it does. The workspace and the variable COMES_AND_GOES are those of interop_client.py.

import assert from "node:assert/strict";
import { readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

// A server looks at its files once a second; a machine that is busy takes longer.
const PATIENCE = 60_000;

const [packageDir, era, transport, ...rest] = process.argv.slice(2);

async function ofTheInspector() {
  const build = join(packageDir, "clients/mcpdo/build");
  const chunk = readdirSync(build).find((name) => /^chunk-.*\.js$/.test(name));
  const copy = join(build, `exporting-${process.pid}.mjs`);
  writeFileSync(copy, `${readFileSync(join(build, chunk))}\nexport { InspectorClient, createTransportNode, eraToVersionNegotiation };\n`);
  try {
    return await import(pathToFileURL(copy));
  } finally {
    rmSync(copy);
  }
}

const within = (time, promise, what) => {
  let timer;
  const late = new Promise((_, reject) => (timer = setTimeout(() => reject(new Error(`${what}: nothing in ${time} ms`)), time)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};
const event = (client, name) => new Promise((resolve) => client.addEventListener(name, (event) => resolve(event.detail), { once: true }));

const { InspectorClient, createTransportNode, eraToVersionNegotiation } = await ofTheInspector();
const headers = transport === "http" ? [{ key: "Authorization", value: `Bearer ${readFileSync(rest[1], "utf8").trim()}` }] : [];
const server =
  transport === "http"
    ? { type: "streamable-http", url: rest[0] }
    : { type: "stdio", command: rest[0], args: rest.slice(1), env: { PALISADE_HOME: process.env.PALISADE_HOME } };
const client = new InspectorClient(server, {
  environment: { transport: createTransportNode },
  clientIdentity: { name: "interop", version: "1" },
  serverSettings: { headers },
  versionNegotiation: eraToVersionNegotiation(era),
  pipeStderr: true,
  sample: false,
  elicit: false,
});
await within(PATIENCE, client.connect(), "connecting");
assert.equal(client.getProtocolEra(), era);

const list = async () => new Map((await client.listAllTools()).tools.map((tool) => [tool.name, tool]));
const tools = await list();
assert(tools.has("text-stats__count") && tools.has("search__grep") && !tools.has("shell__bash"), [...tools.keys()].join(" "));
const call = async (name, args = {}) => (await client.callTool(tools.get(name), args)).result;
const said = async (name, args) => {
  const result = await call(name, args);
  assert(!result.isError, JSON.stringify([name, result]));
  return result.content.map((block) => block.text).join("\n");
};

// Every example plugin that needs no network.
assert.equal(JSON.parse(await said("text-stats__count", { text: "one two three" })).words, 3);
assert.equal(JSON.parse(await said("text-stats__count-file", { path: "f1" })).words, 2);
assert.deepEqual(JSON.parse(await said("json-query__query", { filter: ".a[1]", json: '{"a": [1, 2]}' })).results, [2]);
assert((await said("search__grep", { pattern: "a needle lies here" })).includes("needle.txt"));
assert((await said("secrets__scan")).includes("credential.txt"));
const title = crypto.randomUUID();
await said("notes__add", { title, text: "kept" });
assert((await said("notes__list")).includes(title));
assert.equal(await said("notes__read", { title }), "kept");
assert(!(await said("intruder__probe")).replaceAll(" ", "").includes('"succeeded":true'));

// What is denied: it is not listed, so it is asked for as somebody who knows its name would.
const denied = (await client.callTool({ name: "shell__bash", inputSchema: { type: "object" } }, { command: "ls" })).result;
assert(denied.isError && denied.content[0].text.includes("shell-gate"), JSON.stringify(denied));

// Progress, as the inspector hears it.
const reports = [];
client.addEventListener("progressNotification", (event) => reports.push(event.detail.progress));
await said("search__grep", { pattern: "nothing holds this" });
assert(reports.length > 0 && reports.every((done, i) => i === 0 || reports[i - 1] <= done), JSON.stringify(reports));

// A call that is given up is not waited for, and the connection goes on. interop.sh looks whether the server noticed.
const spinning = client.callTool(tools.get("intruder__spin"), {}).then(
  () => assert.fail("it ended by itself"),
  (error) => error,
);
await new Promise((resolve) => setTimeout(resolve, 400));
assert(client.cancelToolCall(), "nothing to cancel");
const gaveUp = await within(1100, spinning, "a call that was cancelled");
assert.match(gaveUp.constructor.name + gaveUp.message, /cancel/i);
assert.equal(JSON.parse(await said("text-stats__count", { text: "still here" })).words, 2);

// A plugin is withdrawn while it is served: the client is told, by whatever way its era has, and lists it no more.
const name = "comes-and-goes__count";
assert(tools.has(name));
const told = event(client, "toolsListChanged");
renameSync(process.env.COMES_AND_GOES, `${process.env.COMES_AND_GOES}.away`);
await within(PATIENCE, told, "a list that changed");
assert(!(await list()).has(name), "it is listed still");
assert((await client.callTool({ name, inputSchema: { type: "object" } }, { text: "a" })).result.isError);

await client.disconnect();
console.log(era, transport, "listed", tools.size, "tools,", reports.length, "reports;", denied.content[0].text);
// What it keeps open belongs to its other surfaces.
process.exit(0);
