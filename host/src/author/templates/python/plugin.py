"""Greets somebody by name."""

from typing import Annotated

from palisade_sdk import Failure, export, tool


@tool(title="Greet", read_only=True)
def greet(name: Annotated[str, "The name of whom to greet."]) -> str:
    """Greets somebody by name."""
    if not name:
        raise Failure("`name` is empty; say who is greeted")
    return f"Hello, {name}!"


Tools = export(greet)
