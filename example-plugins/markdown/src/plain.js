// Plain text of the tokens of a document.

/** One block a paragraph, list items with their marks and indented, cells of a row between bars. */
export function plain(tokens) {
  const blocks = [];
  const lists = []; // The lists around: the next number, or none where they have marks.
  let mark = "";
  let row;
  const add = (text) => {
    const indent = "  ".repeat(Math.max(lists.length - 1, 0));
    const lines = text.split("\n").map((line, i) => indent + (i === 0 ? mark : " ".repeat(mark.length)) + line);
    // A list's items follow each other without a blank line.
    if (mark && blocks.at(-1)?.item) blocks.at(-1).text += `\n${lines.join("\n")}`;
    else blocks.push({ text: lines.join("\n"), item: mark !== "" });
    mark = "";
  };
  for (const token of tokens) {
    switch (token.type) {
      case "bullet_list_open":
        lists.push(undefined);
        break;
      case "ordered_list_open":
        lists.push(Number(token.attrGet("start") ?? 1));
        break;
      case "bullet_list_close":
      case "ordered_list_close":
        lists.pop();
        break;
      case "list_item_open":
        mark = lists.at(-1) === undefined ? "- " : `${lists[lists.length - 1]++}. `;
        break;
      case "tr_open":
        row = [];
        break;
      case "tr_close":
        add(row.join(" | "));
        row = undefined;
        break;
      case "inline":
        if (row) row.push(inline(token.children));
        else add(inline(token.children));
        break;
      case "fence":
      case "code_block":
        add(token.content.replace(/\n$/, ""));
        break;
      case "hr":
        add("---");
        break;
      default:
    }
  }
  return blocks.map(({ text }) => text).join("\n\n");
}

function inline(children) {
  const addresses = [];
  let text = "";
  for (const child of children) {
    switch (child.type) {
      case "softbreak":
      case "hardbreak":
        text += "\n";
        break;
      case "link_open":
        addresses.push({ address: child.attrGet("href"), from: text.length });
        break;
      case "link_close": {
        const { address, from } = addresses.pop();
        if (text.slice(from) !== address) text += ` (${address})`;
        break;
      }
      case "image":
        text += `${inline(child.children)} (${child.attrGet("src")})`;
        break;
      default:
        text += child.content;
    }
  }
  return text;
}
