// Checked by the compiler alone: what a tool's function is given follows from its types.
import { choice, int64, integer, json, list, map, nullable, oneOf, optional, plugin, store, string, tool } from "palisade-sdk";

const typed = tool({
  name: "typed",
  description: "Is checked.",
  arguments: {
    name: string("A name."),
    word: choice(["a", "b"], "A word."),
    big: int64("Large."),
    some: optional(integer("Some.")),
    more: optional(integer("More."), 1),
    maybe: nullable(string("Maybe.")),
    tree: map(list(string()), "Many."),
    either: oneOf([string(), list(integer())], "Either."),
  },
  run(args) {
    const word: "a" | "b" = args.word;
    const big: bigint = args.big;
    const some: number | undefined = args.some;
    const more: number = args.more;
    const maybe: string | null = args.maybe;
    const tree: Map<string, string[]> = args.tree;
    const either: string | number[] = args.either;
    // @ts-expect-error: it may be left out.
    const must: number = args.some;
    // @ts-expect-error: there is no such argument.
    args.missing;
    const found: Uint8Array | undefined = store.get(args.name);
    return json([word, big, some, more, maybe, tree, either, must, found, store.delete("k")]);
  },
});

export const tools = plugin(typed);
// @ts-expect-error: a result is text, json or blob.
tool({ name: "wrong", description: "Is wrong.", run: () => 5 });
