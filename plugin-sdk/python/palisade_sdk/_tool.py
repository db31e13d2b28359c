"""A tool, what it returns, and what a plugin exports."""

from __future__ import annotations

import inspect
import re
import traceback
import typing
from dataclasses import dataclass
from typing import Annotated, Any, Callable, Generic, ParamSpec, TypeVar, Union, get_args, get_origin, overload

from . import _json, _preload as _preload, _types
from ._host import Level, log, well_formed

try:
    from componentize_py_types import Err
    from wit_world.imports import types
except ImportError:
    types = None

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


class Failure(Exception):
    """Why a tool could not do what it was asked: a sentence for the agent."""


@dataclass
class Text:
    """Plain text. A function may as well return a `str`."""

    text: str


@dataclass
class Json(Generic[T]):
    """A JSON document. A function that returns `Json[T]` has the schema of `T` as its output schema."""

    value: T


@dataclass
class Blob:
    """Bytes with their media type, for instance `image/png`."""

    mime: str
    data: bytes


Content = Union[Text, Json[Any], Blob]
"""A piece of a result."""

_NAME = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")


class Tool(Generic[P, R]):
    """A tool, as `@tool` makes it. It is called as the function was."""

    def __init__(self, function: Callable[P, R], name: str | None, title: str | None, hints: dict[str, bool]) -> None:
        # What is wrong with a tool is an error of the build: this runs there, before the component is made.
        self.function = function
        self.name = name or function.__name__.replace("_", "-")
        self.title = title
        self.hints = hints
        self.description = " ".join((function.__doc__ or "").split())
        self.__doc__ = function.__doc__
        if not _NAME.fullmatch(self.name) or len(self.name) > 64:
            raise self._wrong("a name is lower-case words with - or _ between, at most 64 bytes")
        if not self.description:
            raise self._wrong("it needs a docstring: it is the description an agent chooses by")
        annotations = typing.get_type_hints(function, include_extras=True)
        properties = {}
        for parameter in inspect.signature(function).parameters.values():
            if parameter.kind not in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                raise self._wrong(f"{parameter} is no named argument")
            hint = annotations.get(parameter.name)
            described = get_origin(hint) is Annotated and any(isinstance(note, str) for note in get_args(hint)[1:])
            if not described:
                raise self._wrong(f'the argument {parameter.name} needs a description: {parameter.name}: Annotated[str, "…"]')
            default = _types._ABSENT if parameter.default is parameter.empty else parameter.default
            properties[parameter.name] = (hint, default)
        self.readers = {name: _types.reader(hint) for name, (hint, _) in properties.items()}
        self.input_schema = _json.dumps(_types.closed(properties))
        returns = annotations.get("return")
        has_output = get_origin(returns) is Json and get_args(returns) != (Any,)
        self.output_schema = _json.dumps(_types.schema_of(get_args(returns)[0])) if has_output else None

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        return self.function(*args, **kwargs)

    def _wrong(self, why: str) -> TypeError:
        return TypeError(f"the tool {self.name}: {why}")

    def warm_up(self, arguments: str) -> None:
        """Runs it a few times with a JSON object, in the plugin's module, which runs while the component is made: what ran then is
        ready in it, and the first thing a call does costs what it would cost a second time."""
        for _ in range(10):
            for one in self.run(arguments):
                _content(one) if types else isinstance(one, Json) and _document(one)

    def run(self, arguments: str) -> list[Text | Json[Any] | Blob]:
        """Runs it with a JSON object, as the host does."""
        given: Any = {name: self.readers[name](value) for name, value in _json.loads(arguments).items()}
        function: Callable[..., Any] = self.function
        returned = function(**given)
        contents = returned if isinstance(returned, list) else [returned]
        contents = [Text(one) if isinstance(one, str) else one for one in contents]
        if not all(isinstance(one, (Text, Json, Blob)) for one in contents):
            raise self._wrong("it returned neither a str nor Text, Json or Blob")
        return contents


@overload
def tool(function: Callable[P, R], /) -> Tool[P, R]: ...
@overload
def tool(
    *, name: str | None = ..., title: str | None = ..., read_only: bool = ..., destructive: bool = ..., idempotent: bool = ..., open_world: bool = ...
) -> Callable[[Callable[P, R]], Tool[P, R]]: ...
def tool(
    function: Callable[..., Any] | None = None,
    /,
    *,
    name: str | None = None,
    title: str | None = None,
    read_only: bool = False,
    destructive: bool = False,
    idempotent: bool = False,
    open_world: bool = False,
) -> Any:
    """Turns a function into a tool, with `@tool` or `@tool(title="…", read_only=True)`.

    Its name, with `-` for `_`, is the tool's; its docstring is the description an agent chooses by. Each parameter is an argument,
    `Annotated` with a description. What it raises becomes the tool's error, with its message.
    """
    hints = {"read_only": read_only, "destructive": destructive, "idempotent": idempotent, "open_world": open_world}

    def make(function: Callable[..., Any]) -> Tool[..., Any]:
        return Tool(function, name, title, hints)

    return make if function is None else make(function)


def export(*tools: Tool[..., Any]) -> type:
    """Exports the plugin's tools. Once in its module, as `Tools = export(…)`."""
    by_name = {tool.name: tool for tool in tools}
    if len(by_name) < len(tools):
        raise TypeError("two tools have one name")

    class Tools:
        def definitions(self) -> list[Any]:
            return [
                types.ToolDefinition(tool.name, tool.title, tool.description, tool.input_schema, tool.output_schema, types.Annotations(**tool.hints))
                for tool in tools
            ]

        def call(self, name: str, arguments: str) -> list[Any]:
            try:
                if name not in by_name:
                    raise Failure(f"there is no tool {name}")
                return [_content(one) for one in by_name[name].run(arguments)]
            except BaseException as error:
                raise Err(types.ToolError(well_formed(_sentence(error)))) from None

    return Tools


def _document(one: Json[Any]) -> str:
    return _json.dumps(_types.plain(one.value))


def _content(one: Text | Json[Any] | Blob) -> Any:
    if isinstance(one, Text):
        return types.Content_Text(well_formed(one.text))
    if isinstance(one, Json):
        return types.Content_Json(_document(one))
    return types.Content_Blob(types.Blob(one.mime, bytes(one.data)))


def _sentence(error: BaseException) -> str:
    if not isinstance(error, Failure):
        # It was not foreseen, so the author finds where it came from.
        log(Level.DEBUG, "".join(traceback.format_exception(error)))
    if isinstance(error, ModuleNotFoundError):
        return f"{error}; import it at the top of the plugin's module: a component holds what was imported while it was made"
    # The message of a KeyError is the bare key.
    return f"KeyError: {error}" if isinstance(error, KeyError) else str(error) or type(error).__name__
