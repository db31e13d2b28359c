// The tool as a Node MCP server, written the way the SDK's manual does.
import { McpServer } from "@modelcontextprotocol/sdk/server/mcp.js";
import { StdioServerTransport } from "@modelcontextprotocol/sdk/server/stdio.js";
import { z } from "zod";

const server = new McpServer({ name: "count", version: "0.1.0" });
const n = z.number().int();
server.registerTool(
  "count",
  {
    description: "Counts the lines, words and bytes of a text.",
    inputSchema: { text: z.string() },
    outputSchema: { lines: n, words: n, bytes: n },
  },
  ({ text }) => {
    // A last line without its end is a line.
    const lines = text.split("\n").length - (text === "" || text.endsWith("\n") ? 1 : 0);
    const words = text.split(/\s+/).filter(Boolean).length;
    const counts = { lines, words, bytes: Buffer.byteLength(text) };
    return { content: [{ type: "text", text: JSON.stringify(counts) }], structuredContent: counts };
  },
);
await server.connect(new StdioServerTransport());
