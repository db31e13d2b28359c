"""The types of arguments and results: from annotations to JSON Schema, and from JSON to their values."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from enum import Enum
from typing import Annotated, Any, Callable, Literal, Union, get_args, get_origin


class More(dict[str, Any]):
    """More of a schema: `Annotated[int, "How many.", More(minimum=1)]`, or `More({"x-palisade-prompt": True})`."""

    # A union compares its parts by their hashes, and a plain dict has none.
    def __hash__(self) -> int:  # type: ignore[override]
        return hash(repr(self))


# `int` alone is any integer the host takes.
I64 = Annotated[int, More(minimum=-(2**63), maximum=2**63 - 1)]
"""A signed integer of 64 bits."""
U64 = Annotated[int, More(minimum=0, maximum=2**64 - 1)]
"""An unsigned integer of 64 bits."""

_PLAIN = {str: "string", int: "integer", float: "number", bool: "boolean", type(None): "null"}
_ABSENT = dataclasses.MISSING


def schema_of(hint: Any) -> dict[str, Any]:
    """The JSON Schema of an annotation."""
    if get_origin(hint) is Annotated:
        inner, *notes = get_args(hint)
        schema = schema_of(inner)
        for note in notes:
            schema |= {"description": note} if isinstance(note, str) else note
        return schema
    if hint in (Any, object):
        return {}
    if isinstance(hint, type) and hint in _PLAIN:
        return {"type": _PLAIN[hint]}
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return {"enum": list(args)}
    if origin in (Union, types.UnionType):
        return {"anyOf": [schema_of(arg) for arg in args]}
    if hint is list or origin is list:
        return {"type": "array", **({"items": schema_of(args[0])} if args else {})}
    if hint is dict or origin is dict:
        if args and args[0] is not str:
            raise TypeError(f"the keys of a JSON object are strings, not {args[0]}")
        return {"type": "object", **({"additionalProperties": schema_of(args[1])} if args else {})}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return {"enum": [member.value for member in hint]}
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        fields = fields_of(hint)
        return closed({name: (inner, _ABSENT if required else default) for name, (inner, required, default) in fields.items()})
    raise TypeError(f"there is no JSON Schema for {hint!r}; use str, int, float, bool, None, Literal, an Enum, list, dict, a union or a dataclass")


def closed(properties: dict[str, tuple[Any, Any]]) -> dict[str, Any]:
    """The schema of an object of these properties: each with its annotation, and its default where it has one."""
    required = [name for name, (_, default) in properties.items() if default is _ABSENT]
    schemas = {}
    for name, (hint, default) in properties.items():
        schemas[name] = schema_of(hint)
        # None is how Python says that nothing was given; it is said in the schema only where null is a value.
        if default is not _ABSENT and default is not None:
            schemas[name]["default"] = plain(default)
    return {"type": "object", "properties": schemas, **({"required": required} if required else {}), "additionalProperties": False}


# Filled while the component is made, since the schema asks first.
@functools.cache
def fields_of(cls: Any) -> dict[str, tuple[Any, bool, Any]]:
    """The fields of a dataclass: annotation, whether it is required, default."""
    hints = typing.get_type_hints(cls, include_extras=True)
    fields = {}
    for field in dataclasses.fields(cls):
        default = field.default if field.default is not _ABSENT else field.default_factory() if field.default_factory is not _ABSENT else _ABSENT
        fields[field.name] = (hints[field.name], default is _ABSENT, default)
    return fields


Reader = Callable[[Any], Any]


def reader(hint: Any) -> Reader:
    """What makes of a value of JSON what its annotation says. The host validated it, so only what JSON has no type for is made.

    It is made with the tool, so that a call reads no annotation.
    """
    if get_origin(hint) is Annotated:
        return reader(get_args(hint)[0])
    # 1 is a number, and 1.0 an integer, in JSON.
    if hint is float or hint is int:
        return hint
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        alternatives = [(test(arg), reader(arg)) for arg in args]
        return lambda value: next((read(value) for fits, read in alternatives if fits(value)), value)
    if origin is list and args and (item := reader(args[0])) is not same:
        return lambda value: [item(one) for one in value]
    if origin is dict and args and (item := reader(args[1])) is not same:
        return lambda value: {key: item(one) for key, one in value.items()}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        readers = {name: reader(inner) for name, (inner, _, _) in fields_of(hint).items()}
        return lambda value: hint(**{name: readers[name](one) for name, one in value.items()})
    return same


def same(value: Any) -> Any:
    return value


def test(hint: Any) -> Callable[[Any], bool]:
    """What tells whether a value is this alternative of a union."""
    if get_origin(hint) is Annotated:
        return test(get_args(hint)[0])
    origin, args = get_origin(hint), get_args(hint)
    if hint in (Any, object):
        return lambda value: True
    if hint is int:
        return lambda value: not isinstance(value, bool) and (isinstance(value, int) or (isinstance(value, float) and value.is_integer()))
    if hint is float:
        return lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)
    if isinstance(hint, type) and hint in _PLAIN:
        return lambda value: isinstance(value, hint)
    if origin is Literal or (isinstance(hint, type) and issubclass(hint, Enum)):
        # 1 equals True, and is another value.
        values = [(type(one), one) for one in (args or (member.value for member in hint))]
        return lambda value: (type(value), value) in values
    if origin in (Union, types.UnionType):
        tests = [test(arg) for arg in args]
        return lambda value: any(fits(value) for fits in tests)
    if hint is list or origin is list:
        item = test(args[0]) if args else lambda value: True
        return lambda value: isinstance(value, list) and all(map(item, value))
    if hint is dict or origin is dict:
        item = test(args[1]) if args else lambda value: True
        return lambda value: isinstance(value, dict) and all(map(item, value.values()))
    fields = fields_of(hint)
    required = [name for name, (_, needed, _) in fields.items() if needed]
    tests_of = {name: test(inner) for name, (inner, _, _) in fields.items()}

    def is_object(value: Any) -> bool:
        there = isinstance(value, dict) and all(name in value for name in required)
        return there and all(name in tests_of and tests_of[name](one) for name, one in value.items())

    return is_object


# Most of a result is of these, and each call of a function costs more than to look.
_AS_IT_IS = frozenset(_PLAIN)


def plain(value: Any) -> Any:
    """A value as JSON has it: dataclasses as objects, members of an Enum as their values."""
    kind = type(value)
    if kind in _AS_IT_IS:
        return value
    if kind is not list and kind is not dict and hasattr(value, "__dataclass_fields__"):
        return {name: one if type(one := getattr(value, name)) in _AS_IT_IS else plain(one) for name in value.__dataclass_fields__}
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
