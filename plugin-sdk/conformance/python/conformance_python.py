"""The tools of the conformance table, in Python."""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Literal

from palisade_sdk import I64, U64, Blob, Content, Failure, Json, Level, More, Text, cancelled, export, log, progress, store, tool

SomeText = Annotated[str, "A text."]
Count = Annotated[int, "How many.", More(minimum=0, maximum=1_000_000)]
SAFE = More(minimum=-(2**53 - 1), maximum=2**53 - 1)


# Text in and out.


@tool
def echo(text: SomeText) -> str:
    """Returns the text."""
    return text


@tool
def echo_json(text: SomeText) -> Json[str]:
    """Returns the text as JSON."""
    return Json(text)


@dataclass
class Lengths:
    bytes: int
    characters: int
    utf16: int


@tool
def lengths(text: SomeText) -> Json[Lengths]:
    """Counts in three units."""
    return Json(Lengths(len(text.encode()), len(text), len(text.encode("utf-16-le")) // 2))


@tool
def reverse(text: SomeText) -> str:
    """Reverses the characters."""
    return text[::-1]


@tool
def repeat(text: SomeText, times: Annotated[int, "How often.", More(minimum=0, maximum=100_000)]) -> str:
    """Repeats the text."""
    return text * times


@tool
def join(parts: Annotated[list[str], "The parts."], separator: Annotated[str, "What stands between."] = ", ") -> str:
    """Joins the parts."""
    return separator.join(parts)


@tool
def lines(text: SomeText) -> Json[list[str]]:
    """Splits at line ends."""
    return Json(text.split("\n"))


@tool
def sort(values: Annotated[list[str], "The values."]) -> Json[list[str]]:
    """Sorts by the bytes of the values."""
    return Json(sorted(values))


# Numbers.


@tool
def echo_i64(value: Annotated[I64, "A value."]) -> Json[I64]:
    """Returns the value."""
    return Json(value)


@tool
def echo_u64(value: Annotated[U64, "A value."]) -> Json[U64]:
    """Returns the value."""
    return Json(value)


@tool
def echo_safe(value: Annotated[int, "A value.", SAFE]) -> Json[int]:
    """Returns a value that each language holds."""
    return Json(value)


def added(values: list[int]) -> int:
    if not -(2**63) <= sum(values) < 2**63:
        raise Failure("the sum does not fit")
    return sum(values)


@tool
def add(a: Annotated[I64, "One."], b: Annotated[I64, "Another."]) -> Json[I64]:
    """Adds two values."""
    return Json(added([a, b]))


@tool(name="sum")
def sum_all(values: Annotated[list[I64], "The values."]) -> Json[I64]:
    """Adds all values."""
    return Json(added(values))


@tool
def percent(value: Annotated[int, "From 0 to 100.", More(minimum=0, maximum=100)]) -> Json[str]:
    """Writes a percentage."""
    return Json(f"{value} %")


@tool
def echo_number(value: Annotated[float, "A value."]) -> Json[float]:
    """Returns the value."""
    return Json(value)


@dataclass
class Quotient:
    quotient: float | None


@tool
def divide(a: Annotated[float, "What is divided."], b: Annotated[float, "By what."]) -> Json[Quotient]:
    """Divides; what is no number is null."""
    return Json(Quotient(a / b if b else math.nan))


@tool
def mean(values: Annotated[list[float], "The values."]) -> Json[float]:
    """The mean of the values."""
    if not values:
        raise Failure("there are no values")
    return Json(sum(values) / len(values))


@dataclass
class Many:
    whole: int
    number: float
    third: float
    tiny: float
    small: float
    large: float
    max: U64
    min: I64
    negative_zero: float
    list: list[float]


@tool
def numbers() -> Json[Many]:
    """Returns numbers of all kinds."""
    return Json(Many(1, 1.0, 1 / 3, 1e-7, 1e-5, 1e21, 2**64 - 1, -(2**63), -0.0, [1.0, 2.5]))


# Everything that has parts.


@tool(name="not")
def other(value: Annotated[bool, "A flag."]) -> Json[bool]:
    """The other one."""
    return Json(not value)


@tool
def nothing(value: Annotated[None, "Null."]) -> Json[None]:
    """Returns null."""
    return Json(value)


@dataclass
class Given:
    given: bool
    value: str | None


@tool
def maybe(value: Annotated[str | None, "Perhaps a text."] = None) -> Json[Given]:
    """Whether a text was given."""
    return Json(Given(value is not None, value))


@tool
def maybe_number(value: Annotated[I64 | None, "Perhaps an integer."] = None) -> Json[I64 | None]:
    """Returns the integer, if there is one."""
    return Json(value)


@dataclass
class Defaulted:
    text: str
    count: int
    flag: bool
    ratio: float
    list: list[str]


@tool
def defaults(
    text: Annotated[str, "A text."] = "hello",
    count: Annotated[int, "A count."] = 3,
    flag: Annotated[bool, "A flag."] = True,
    ratio: Annotated[float, "A ratio."] = 0.5,
    list: Annotated[list[str], "A list."] = ["a"],
) -> Json[Defaulted]:
    """Returns what was given or stands for it."""
    return Json(Defaulted(text, count, flag, ratio, list))


class Color(Enum):
    RED = "red"
    GREEN = "green"
    BLUE = "blue"


@dataclass
class Indexed:
    color: Color
    index: int


@tool
def color(color: Annotated[Color, "A color."]) -> Json[Indexed]:
    """The place of a color."""
    return Json(Indexed(color, list(Color).index(color)))


@tool
def count_colors(colors: Annotated[list[Color], "Colors."]) -> Json[dict[str, int]]:
    """Counts colors, in the order of their names."""
    return Json({name: sum(one.value == name for one in colors) for name in sorted({one.value for one in colors})})


@dataclass
class Address:
    street: str
    city: str
    zip: str | None = None


@dataclass
class Human:
    name: str
    address: Address


@tool
def person(person: Annotated[Human, "A person."]) -> Json[Human]:
    """Returns the person."""
    return Json(person)


@dataclass
class D:
    d: int


@dataclass
class C:
    c: D


@dataclass
class B:
    b: C


@dataclass
class Deep:
    d: int
    back: C


@tool
def deep(a: Annotated[B, "Far down."]) -> Json[Deep]:
    """Returns what lies deep."""
    return Json(Deep(a.b.c.d, a.b))


@dataclass
class Keys:
    b: int
    a: int
    c: int


@tool
def key_order(b: Annotated[int, "First."], a: Annotated[int, "Second."], c: Annotated[int, "Third."]) -> Json[Keys]:
    """Returns the keys in the order of the schema."""
    return Json(Keys(b, a, c))


@tool
def sorted_map(values: Annotated[dict[str, int], "By name."]) -> Json[dict[str, int]]:
    """Returns the map in the order of the bytes of its keys."""
    return Json(dict(sorted(values.items())))


@tool
def map_sizes(values: Annotated[dict[str, list[str]], "By name."]) -> Json[dict[str, int]]:
    """The lengths of lists, in the order of the bytes of their names."""
    return Json({name: len(values[name]) for name in sorted(values)})


@dataclass
class Point:
    x: float
    y: float


@tool
def map_of_points(points: Annotated[dict[str, Point], "By name."]) -> Json[dict[str, Point]]:
    """Returns the points in the order of the bytes of their names."""
    return Json({name: points[name] for name in sorted(points)})


@tool
def transpose(rows: Annotated[list[list[float]], "The rows."]) -> Json[list[list[float]]]:
    """Turns rows into columns."""
    if len({len(row) for row in rows}) > 1:
        raise Failure("the rows have different lengths")
    return Json([list(column) for column in zip(*rows)])


@dataclass
class Bounds:
    min: Point
    max: Point


@tool
def bounds(points: Annotated[list[Point], "The points."]) -> Json[Bounds | None]:
    """The box around points."""
    xs, ys = [point.x for point in points], [point.y for point in points]
    return Json(Bounds(Point(min(xs), min(ys)), Point(max(xs), max(ys))) if points else None)


@dataclass
class Told:
    kind: str
    value: str | I64


@tool
def text_or_integer(value: Annotated[str | I64, "A text or an integer."]) -> Json[Told]:
    """Which of the two it is."""
    return Json(Told("text" if isinstance(value, str) else "integer", value))


@tool
def one_or_many(value: Annotated[str | list[str], "One text or many."]) -> Json[list[str]]:
    """Always many."""
    return Json([value] if isinstance(value, str) else value)


@dataclass
class Circle:
    kind: Literal["circle"]
    radius: float


@dataclass
class Rectangle:
    kind: Literal["rectangle"]
    width: float
    height: float


@tool
def area(shape: Annotated[Circle | Rectangle, "A shape."]) -> Json[float]:
    """The area of a shape."""
    return Json(math.pi * shape.radius * shape.radius if isinstance(shape, Circle) else shape.width * shape.height)


@tool
def grown(shape: Annotated[Circle | Rectangle, "A shape."], by: Annotated[float, "By how much."]) -> Json[Circle | Rectangle]:
    """A larger shape."""
    if isinstance(shape, Circle):
        return Json(Circle("circle", shape.radius * by))
    return Json(Rectangle("rectangle", shape.width * by, shape.height * by))


@tool
def kind_of(value: Annotated[Any, "Anything."]) -> str:
    """The kind of a value."""
    kinds: dict[type, str] = {type(None): "null", bool: "boolean", int: "number", float: "number", str: "string", list: "array", dict: "object"}
    return kinds[type(value)]


@dataclass
class Umlaut:
    größe: float


@tool
def umlaut(größe: Annotated[float, "A size."]) -> Json[Umlaut]:
    """Has a name that is not ASCII."""
    return Json(Umlaut(größe))


# Contents of all kinds, and errors.


@tool
def no_arguments() -> str:
    """Takes nothing."""
    return "done"


@tool
def empty_result() -> list[Content]:
    """Returns nothing."""
    return []


@tool
def empty_text() -> str:
    """Returns a text without characters."""
    return ""


@tool
def text_and_json(text: SomeText) -> list[Content]:
    """Returns the text in two ways."""
    return [Text(text), Json({"text": text})]


@tool
def many_texts(count: Count) -> list[Content]:
    """Returns many texts."""
    return [Text(str(i)) for i in range(count)]


@tool
def blob(mime: Annotated[str, "Their media type."], bytes: Annotated[list[Annotated[int, More(minimum=0, maximum=255)]], "The bytes."]) -> Blob:
    """Returns the bytes."""
    return Blob(mime, bytearray(bytes))


@tool
def mixed() -> list[Content]:
    """Returns contents of all kinds."""
    return [Text("first"), Blob("a/b", b"\x01\x02"), Json([1, 2.5, None]), Text("last")]


@tool
def big_list(count: Count) -> Json[list[int]]:
    """Counts up."""
    return Json(list(range(count)))


@tool
def big_blob(size: Annotated[int, "How many bytes.", More(minimum=0, maximum=1_000_000)]) -> Blob:
    """Returns many bytes."""
    return Blob("application/octet-stream", bytes(i % 251 for i in range(size)))


@tool
def escapes() -> Json[str]:
    """Returns what JSON has to escape, and what it need not."""
    return Json('"\\/\b\f\n\r\t\x01\x1f\x7f\u2028</script>')


@dataclass
class Nulls:
    a: str | None
    b: list[int | None]
    c: dict[str, str]


@tool
def nulls() -> Json[Nulls]:
    """Returns nulls."""
    return Json(Nulls(None, [None, 1, None], {}))


@tool
def fail(message: Annotated[str, "What it says."]) -> str:
    """Fails."""
    raise Failure(message)


@tool
def fail_if_negative(value: Annotated[I64, "A value."]) -> str:
    """Fails where the value is negative."""
    if value < 0:
        raise Failure(f"`value` is {value}; it is 0 or more")
    return "fine"


# What the host gives.


@tool(name="log")
def log_line(level: Annotated[Level, "How much it matters."], message: Annotated[str, "What it says."]) -> str:
    """Logs a line."""
    log(level, message)
    return "logged"


@tool(name="progress")
def report(steps: Annotated[int, "How many.", More(minimum=0, maximum=100)]) -> str:
    """Reports its steps."""
    for step in range(1, steps + 1):
        progress(step, steps, f"step {step}")
    return f"{steps} steps"


@tool(name="cancelled")
def gave_up() -> Json[bool]:
    """Whether the caller gave up."""
    return Json(cancelled())


Key = Annotated[str, "The key."]


@tool
def store_set(key: Key, value: Annotated[str, "Its value."]) -> str:
    """Keeps a value."""
    store.set(key, value.encode())
    return "kept"


@tool
def store_get(key: Key) -> Json[str | None]:
    """Reads a value."""
    value = store.get(key)
    return Json(None if value is None else value.decode())


@tool
def store_keys(
    prefix: Annotated[str, "How they begin."] = "",
    after: Annotated[str | None, "What they come after."] = None,
    most: Annotated[int, "At most so many.", More(minimum=0, maximum=1000)] = 1000,
) -> Json[list[str]]:
    """Lists keys."""
    return Json(store.keys(prefix, after, most))


@tool
def store_swap(key: Key, expected: Annotated[str | None, "What it has."] = None, value: Annotated[str | None, "What it shall have."] = None) -> Json[bool]:
    """Swaps a value."""
    return Json(store.swap(key, None if expected is None else expected.encode(), None if value is None else value.encode()))


@tool
def store_delete(key: Key) -> Json[bool]:
    """Removes a value."""
    return Json(store.delete(key))


Tools = export(
    echo, echo_json, lengths, reverse, repeat, join, lines, sort, echo_i64, echo_u64, echo_safe, add, sum_all, percent, echo_number, divide, mean,
    numbers, other, nothing, maybe, maybe_number, defaults, color, count_colors, person, deep, key_order, sorted_map, map_sizes, map_of_points,
    transpose, bounds, text_or_integer, one_or_many, area, grown, kind_of, umlaut, no_arguments, empty_result, empty_text, text_and_json, many_texts,
    blob, mixed, big_list, big_blob, escapes, nulls, fail, fail_if_negative, log_line, report, gave_up, store_set, store_get, store_keys, store_swap,
    store_delete,
)
