"""Lists and calls the example tools through the Python MCP client, gets progress, cancels a call, sees the list change.

interop_client.py MODE stdio COMMAND [ARG ...]
interop_client.py MODE http URL TOKEN_FILE

The workspace of the server is the one that interop.sh makes: 600 files, a needle in one, a credential in another. The
variable COMES_AND_GOES names the manifest of a plugin that the server was given and that is withdrawn on the way.
"""

import asyncio
import contextlib
import json
import os
import sys
import time
import uuid

import anyio
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client


CHANGED = "notifications/tools/list_changed"
# A server looks at its files once a second; a machine that is busy takes longer.
PATIENCE = 60


@contextlib.asynccontextmanager
async def connected(mode: str, transport: str, rest: list[str], heard):
    if transport == "stdio":
        command, *args = rest
        server = StdioServerParameters(command=command, args=args, env={"PALISADE_HOME": os.environ["PALISADE_HOME"]})
        async with Client(server, mode=mode, message_handler=heard) as client:
            yield client
        return
    url, token_file = rest
    with open(token_file, encoding="utf-8") as file:
        token = file.read().strip()
    async with create_mcp_http_client(headers={"Authorization": f"Bearer {token}"}) as http:
        async with Client(streamable_http_client(url, http_client=http), mode=mode, message_handler=heard) as client:
            yield client


async def changes(client: Client, mode: str, told: anyio.Event) -> None:
    """A plugin is withdrawn while it is served: the client is told, by whatever way its era has, and lists it no more."""
    name = "comes-and-goes__count"

    async def listed() -> bool:
        return name in [tool.name for tool in (await client.list_tools()).tools]

    assert await listed()
    manifest = os.environ["COMES_AND_GOES"]
    with anyio.fail_after(PATIENCE):
        if mode == "legacy":
            os.rename(manifest, manifest + ".away")
            await told.wait()
        else:
            async with client.listen(tools_list_changed=True) as subscription:
                os.rename(manifest, manifest + ".away")
                assert type(await anext(subscription)).__name__ == "ToolsListChanged"
    assert not await listed()
    gone = await client.call_tool(name, {"text": "a"})
    assert gone.is_error, gone


async def main() -> None:
    mode, transport, *rest = sys.argv[1:]
    told = anyio.Event()

    async def heard(message: object) -> None:
        if getattr(message, "method", None) == CHANGED:
            told.set()

    async with connected(mode, transport, rest, heard) as client:

        async def said(tool: str, **arguments: object) -> str:
            result = await client.call_tool(tool, arguments)
            assert not result.is_error, (tool, result)
            return "\n".join(block.text for block in result.content)

        names = [tool.name for tool in (await client.list_tools()).tools]
        assert "text-stats__count" in names and "search__grep" in names, names
        assert "shell__bash" not in names, names

        # Every example plugin that needs no network.
        assert json.loads(await said("text-stats__count", text="one two three"))["words"] == 3
        assert json.loads(await said("text-stats__count-file", path="f1"))["words"] == 2
        assert json.loads(await said("json-query__query", filter=".a[1]", json='{"a": [1, 2]}'))["results"] == [2]
        assert "needle.txt" in await said("search__grep", pattern="a needle lies here")
        assert "credential.txt" in await said("secrets__scan")
        title = str(uuid.uuid4())
        await said("notes__add", title=title, text="kept")
        assert title in await said("notes__list") and await said("notes__read", title=title) == "kept"
        assert '"succeeded":true' not in (await said("intruder__probe")).replace(" ", "")

        # What is denied, what is wrong, what is not there.
        denied = await client.call_tool("shell__bash", {"command": "ls"})
        assert denied.is_error and "shell-gate" in denied.content[0].text, denied
        wrong = await client.call_tool("text-stats__count", {"text": 7})
        assert wrong.is_error and "arguments" in wrong.content[0].text, wrong

        reports: list[float] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            reports.append(done)

        await client.call_tool("search__grep", {"pattern": "nothing holds this"}, progress_callback=progress)
        assert reports and reports == sorted(reports), reports

        # A call that is given up is not waited for, and the connection goes on. interop.sh looks whether the server noticed.
        started = time.monotonic()
        with anyio.move_on_after(0.4):
            await client.call_tool("intruder__spin", {})
        assert time.monotonic() - started < 1.5, "the client waited for a call that it cancelled"
        assert json.loads(await said("text-stats__count", text="still here"))["words"] == 2
        await changes(client, mode, told)
        print(mode, transport, "listed", len(names), "tools,", len(reports), "reports;", denied.content[0].text)


asyncio.run(main())
