"""The types of arguments and results: from annotations to JSON Schema, and from JSON to their values."""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from enum import Enum
from typing import Annotated, Any, Literal, Union, get_args, get_origin


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


def read(value: Any, hint: Any) -> Any:
    """A value of JSON as its annotation says. The host validated it, so only what JSON has no type for is made here."""
    if get_origin(hint) is Annotated:
        return read(value, get_args(hint)[0])
    # 1 is a number, and 1.0 an integer, in JSON.
    if hint is float and isinstance(value, int):
        return float(value)
    if hint is int and isinstance(value, float):
        return int(value)
    if value is None:
        return None
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        fitting = next((arg for arg in args if fits(value, arg)), None)
        return value if fitting is None else read(value, fitting)
    if origin is list and args:
        return [read(item, args[0]) for item in value]
    if origin is dict and args:
        return {key: read(item, args[1]) for key, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        fields = fields_of(hint)
        return hint(**{name: read(item, fields[name][0]) for name, item in value.items()})
    return value


def fits(value: Any, hint: Any) -> bool:
    """Which alternative of a union a value is."""
    if get_origin(hint) is Annotated:
        return fits(value, get_args(hint)[0])
    origin, args = get_origin(hint), get_args(hint)
    if hint in (Any, object):
        return True
    if hint is bool or isinstance(value, bool):
        return isinstance(value, bool) and (hint is bool or (origin is Literal and any(value is arg for arg in args)))
    if hint is int:
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    if hint is float:
        return isinstance(value, (int, float))
    if isinstance(hint, type) and hint in _PLAIN:
        return isinstance(value, hint)
    if origin is Literal:
        return value in args
    if origin in (Union, types.UnionType):
        return any(fits(value, arg) for arg in args)
    if hint is list or origin is list:
        return isinstance(value, list) and (not args or all(fits(item, args[0]) for item in value))
    if hint is dict or origin is dict:
        return isinstance(value, dict) and (not args or all(fits(item, args[1]) for item in value.values()))
    if isinstance(hint, type) and issubclass(hint, Enum):
        return any(value == member.value for member in hint)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint) and isinstance(value, dict):
        fields = fields_of(hint)
        there = all(name in value for name, (_, required, _) in fields.items() if required)
        return there and all(name in fields and fits(item, fields[name][0]) for name, item in value.items())
    return False


def plain(value: Any) -> Any:
    """A value as JSON has it: dataclasses as objects, members of an Enum as their values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return plain(value.value)
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return value
