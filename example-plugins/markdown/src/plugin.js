// Turns Markdown into HTML or plain text, and reaches nothing.

import MarkdownIt from "markdown-it";
import { boolean, optional, plugin, string, tool } from "palisade-sdk";
import { plain } from "./plain.js";

// Raw HTML in the input is text: it comes out escaped, and so is no script. Links to `javascript:` and the like are none.
const parser = (breaks) => new MarkdownIt("default", { html: false, breaks });
const [joined, broken] = [parser(false), parser(true)];

// What runs while the component is made is compiled in it: a first document costs what a second would.
const sample = "# a *b* **c** `d` ~~e~~ [f](https://g.h \"i\") ![j](k) <https://l.m>\\\n&amp;\\*\n\n> 1. n\n   - o\n\n| p |\n|---|\n| q |\n\n```r\ns\n```\n\n    t\n\n---\n\nu\n===\n\n[v]\n\n[v]: w\n<x>";
for (const parser of [joined, broken]) plain(parser.parse(sample, {})) + parser.render(sample);

const markdown = string("The Markdown.");

const toHtml = tool({
  name: "to-html",
  title: "Markdown to HTML",
  description: "Turns Markdown (CommonMark, with tables and strikethrough) into HTML. Raw HTML in it is escaped.",
  arguments: { text: markdown, breaks: optional(boolean("Whether each line break in a paragraph is one in the HTML."), false) },
  readOnly: true,
  idempotent: true,
  run: ({ text, breaks }) => (breaks ? broken : joined).render(text),
});

const toText = tool({
  name: "to-text",
  title: "Markdown to plain text",
  description: "Turns Markdown into plain text: without its marks, links as `text (address)`, a blank line between blocks.",
  arguments: { text: markdown },
  readOnly: true,
  idempotent: true,
  run: ({ text }) => plain(joined.parse(text, {})),
});

export const tools = plugin(toHtml, toText);
