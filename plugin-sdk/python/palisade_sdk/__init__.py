"""Write a Palisade tool as a Python function.

    from typing import Annotated
    import palisade_sdk
    from palisade_sdk import tool

    @tool(title="Greet", read_only=True)
    def greet(name: Annotated[str, "Who is greeted."]) -> str:
        \"\"\"Greets somebody by name.\"\"\"
        return f"Hello, {name}!"

    Tools = palisade_sdk.export(greet)

The words are those of the Rust SDK. The schema an agent sees comes from the function's annotations; unknown arguments are
refused before the component runs. Every call gets a fresh instance: what a module keeps in a variable is never seen twice.
"""

from ._host import Level, cancelled, log, progress
from ._paths import WORKSPACE, guest_path
from ._tool import Blob, Content, Failure, Json, Text, Tool, export, tool
from ._types import I64, U64, More

__all__ = [
    "I64", "U64", "WORKSPACE", "Blob", "Content", "Failure", "Json", "Level", "More", "Text", "Tool", "cancelled", "export", "guest_path",
    "log", "progress", "tool",
]
