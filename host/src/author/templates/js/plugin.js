// Greets somebody by name.

import { Failure, plugin, string, tool } from "palisade-sdk";

const greet = tool({
  name: "greet",
  title: "Greet",
  description: "Greets somebody by name.",
  arguments: { name: string("The name of whom to greet.") },
  readOnly: true,
  run: ({ name }) => {
    if (!name) throw new Failure("`name` is empty; say who is greeted");
    return `Hello, ${name}!`;
  },
});

export const tools = plugin(greet);
