"""The tool as a Python MCP server, written the way the SDK's manual does."""

from mcp.server import MCPServer
from pydantic import BaseModel

server = MCPServer("count")


class Counts(BaseModel):
    lines: int
    words: int
    bytes: int


@server.tool()
def count(text: str) -> Counts:
    """Counts the lines, words and bytes of a text."""
    # A last line without its end is a line.
    lines = text.count("\n") + (text != "" and not text.endswith("\n"))
    return Counts(lines=lines, words=len(text.split()), bytes=len(text.encode()))


server.run()
