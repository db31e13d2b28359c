"""Lists and calls the example tools through the Python MCP client: interop_client.py MODE COMMAND [ARG ...]"""

import asyncio
import json
import os
import sys

from mcp import Client, StdioServerParameters


async def main() -> None:
    mode, command, *args = sys.argv[1:]
    server = StdioServerParameters(command=command, args=args, env={"PALISADE_HOME": os.environ["PALISADE_HOME"]})
    async with Client(server, mode=mode) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert "text-stats__count" in names and "search__grep" in names, names
        assert "shell__bash" not in names, names
        counted = await client.call_tool("text-stats__count", {"text": "one two three"})
        assert json.loads(counted.content[0].text)["words"] == 3, counted
        denied = await client.call_tool("shell__bash", {"command": "ls"})
        assert denied.is_error and "shell-gate" in denied.content[0].text, denied
        print(mode, "listed", len(names), "tools;", denied.content[0].text)


asyncio.run(main())
