// Tries to reach what is not its own, and prints what came of each attempt: reach.mjs FOLDER.
import * as os from "qjs:os";
import * as std from "qjs:std";

const folder = scriptArgs[1];
const open = (path, mode) => {
  const error = {};
  const file = std.open(path, mode, error);
  if (file) file.close();
  return -error.errno;
};
const attempts = {
  "write its own": () => open("own.txt", "w"),
  "read its own": () => open("own.txt", "r"),
  "read": () => open(`${folder}/secret.txt`, "r"),
  "read above": () => open("../secret.txt", "r"),
  "read below itself": () => open("below/../../secret.txt", "r"),
  "write": () => open(`${folder}/written.txt`, "w"),
  "write above": () => open("../written.txt", "w"),
  "move out": () => os.rename("own.txt", "../moved.txt"),
  "remove above": () => os.remove("../victim.txt"),
  "list above": () => -os.readdir("..")[1],
};
os.mkdir("below");
const came = {};
for (const [name, attempt] of Object.entries(attempts)) came[name] = attempt() === 0 ? "reached" : "refused";
const start = ["exec", "popen", "system", "fork", "Worker"].filter((name) => (os[name] ?? std[name]) !== undefined);
const root = os.readdir("/")[0].filter((name) => !name.startsWith(".")).sort();
console.log(JSON.stringify({ root, environment: std.getenviron(), start, came }));
