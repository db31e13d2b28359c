import assert from "node:assert/strict";
import { test } from "node:test";
import { tools } from "../src/plugin.js";

const call = (name, args) => tools.call(name, JSON.stringify(args))[0].val;

test("markdown becomes HTML", () => {
  assert.equal(call("to-html", { text: "# A *b*\n\n| x |\n|---|\n| ~~1~~ |" }), "<h1>A <em>b</em></h1>\n<table>\n<thead>\n<tr>\n<th>x</th>\n</tr>\n</thead>\n<tbody>\n<tr>\n<td><s>1</s></td>\n</tr>\n</tbody>\n</table>\n");
  assert.equal(call("to-html", { text: "a\nb", breaks: true }), "<p>a<br>\nb</p>\n");
});

const OURS = /^<(\/?(p|pre|code)|code class="language-[^"<]*"|img src="x" alt="a" title="[^"<]*")>$/;

test("nothing of the input is markup of its own", () => {
  for (const text of ['<script>alert(1)</script>', "a <img src=x onerror=alert(1)> b", "[a](javascript:alert(1))", "[a](JaVaScRiPt&colon;alert(1))", '![a](x "\"><script>")',
    "[a](data:text/html,<script>alert(1)</script>)", "<a href='javascript:alert(1)'>x</a>", "```<script>\n</code><script>\n```", "<javascript:alert(1)>"]) {
    const html = call("to-html", { text });
    for (const [tag] of html.matchAll(/<[^>]*>/g)) assert.match(tag, OURS, html);
  }
});

test("markdown becomes plain text", () => {
  const text = "# Title\n\nSee [the *page*](https://a.example/) and <https://b.example/>.\n\n1. one\n2. two\n   - inner `code`\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n```\nx <b>\n```\n> quoted <b>\n";
  assert.equal(
    call("to-text", { text }),
    "Title\n\nSee the page (https://a.example/) and https://b.example/.\n\n1. one\n2. two\n  - inner code\n\na | b\n\n1 | 2\n\nx <b>\n\nquoted <b>",
  );
});
