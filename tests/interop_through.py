"""Calls tools of external servers through `palisade serve`: interop_through.py MODE COMMAND [ARG ...]"""

import asyncio
import os
import sys
import time

import anyio
from mcp import Client, StdioServerParameters


async def main() -> None:
    mode, command, *args = sys.argv[1:]
    server = StdioServerParameters(command=command, args=args, env={"PALISADE_HOME": os.environ["PALISADE_HOME"]})
    async with Client(server, mode=mode) as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
        assert "everything__echo" in names and "files__read_text_file" in names, names
        assert "tries__run-shell" not in names, names
        echoed = await client.call_tool("everything__echo", {"message": "through"})
        assert echoed.content[0].text == "Echo: through", echoed
        structured = await client.call_tool("everything__get-structured-content", {"location": "Chicago"})
        assert structured.structured_content, structured
        denied = await client.call_tool("tries__run-shell", {})
        assert denied.is_error and "shell-gate" in denied.content[0].text, denied

        reports: list[float] = []

        async def progress(done: float, total: float | None, message: str | None) -> None:
            reports.append(done)

        await client.call_tool("everything__trigger-long-running-operation", {"duration": 1, "steps": 4}, progress_callback=progress)
        assert reports and reports == sorted(reports), reports
        # A long call is given up; the server behind it goes on.
        started = time.monotonic()
        with anyio.move_on_after(0.5):
            await client.call_tool("everything__trigger-long-running-operation", {"duration": 20, "steps": 4})
        echoed = await client.call_tool("everything__echo", {"message": "still here"})
        assert echoed.content[0].text == "Echo: still here", echoed
        assert time.monotonic() - started < 10, "a cancelled call held up the next one"


asyncio.run(main())
