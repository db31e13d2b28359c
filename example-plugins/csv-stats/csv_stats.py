"""Describes the columns of a CSV table: how full they are, and what their numbers or words are."""

import csv
import io
import math
import os
import statistics
from array import array
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Literal

from palisade_sdk import Failure, Json, export, guest_path, tool

FILE_MAX = 2 * 1024 * 1024
"""Largest table, in bytes: its numbers as Python holds them are a quarter of the memory a call has."""
KEPT = 10_000
"""Most different values of a column that are told apart."""
COMMON = 5
"""Most values of a column that are named."""

Delimiter = Literal[",", ";", "\t", "|"]


@dataclass
class Numbers:
    """A column whose values are all numbers."""

    min: float
    max: float
    mean: float
    median: float
    stdev: Annotated[float | None, "Of a sample; there is none of a single value."]


@dataclass
class Value:
    value: str
    count: int


@dataclass
class Column:
    name: Annotated[str, "From the first row."]
    filled: Annotated[int, "Rows in which it has a value."]
    empty: Annotated[int, "Rows in which it has none."]
    distinct: Annotated[int, "Different values; at most 10 000 are told apart."]
    numbers: Annotated[Numbers | None, "Where all its values are numbers."]
    common: Annotated[list[Value], "Its most common values, at most five; none where all are numbers."]


@dataclass
class Table:
    rows: Annotated[int, "Without the first, which names the columns."]
    columns: list[Column]


class Seen:
    """What was seen of one column."""

    def __init__(self) -> None:
        self.filled = 0
        self.values: dict[str, int] = {}
        self.numbers: array[float] | None = array("d")

    def add(self, value: str) -> None:
        self.filled += 1
        if len(self.values) < KEPT or value in self.values:
            self.values[value] = self.values.get(value, 0) + 1
        if self.numbers is not None:
            number = number_of(value)
            if number is None:
                self.numbers = None
            else:
                self.numbers.append(number)


def number_of(value: str) -> float | None:
    # Python takes `1_000` and `nan` for numbers too.
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) and "_" not in value else None


def describe_lines(lines: Iterable[str], delimiter: str) -> Table:
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    try:
        names = next(reader, [])
        if not names:
            raise Failure("the table is empty: its first row names the columns")
        seen = [Seen() for _ in names]
        rows = 0
        for row in reader:
            if not row:
                continue
            if len(row) > len(names):
                raise Failure(f"line {reader.line_num} has {len(row)} values, and the first row names {len(names)} columns")
            rows += 1
            for column, cell in zip(seen, row):
                if value := cell.strip():
                    column.add(value)
    except csv.Error as error:
        raise Failure(f"line {reader.line_num}: {error}") from error
    return Table(rows, [column_of(name.strip(), one, rows) for name, one in zip(names, seen)])


def column_of(name: str, seen: Seen, rows: int) -> Column:
    numbers = numbers_of(seen.numbers) if seen.numbers else None
    most = sorted(seen.values.items(), key=lambda one: -one[1])[:COMMON]
    common = [] if numbers else [Value(value, count) for value, count in most]
    return Column(name, seen.filled, rows - seen.filled, len(seen.values), numbers, common)


def numbers_of(numbers: "array[float]") -> Numbers:
    mean = statistics.fmean(numbers)
    # `statistics.stdev` counts in fractions, which takes several times as long for digits that nobody reads.
    squares = math.fsum((number - mean) ** 2 for number in numbers)
    stdev = math.sqrt(squares / (len(numbers) - 1)) if len(numbers) > 1 else None
    return Numbers(min(numbers), max(numbers), mean, statistics.median(numbers), stdev)


def guess(start: str) -> str:
    """The delimiter that the first row has most of."""
    first = start.split("\n", 1)[0]
    return max(",;\t|", key=first.count)


@tool(title="Describe a CSV text", read_only=True, idempotent=True)
def describe(
    text: Annotated[str, "The table as CSV; its first row names the columns."],
    delimiter: Annotated[Delimiter | None, "What separates values; without it, what the first row has most of."] = None,
) -> Json[Table]:
    """Describes each column of a CSV table: filled and empty rows, distinct values, and its numbers or most common words."""
    text = text.removeprefix("\ufeff")
    return Json(describe_lines(io.StringIO(text, newline=""), delimiter or guess(text)))


@tool(title="Describe a CSV file", read_only=True, idempotent=True)
def describe_file(
    path: Annotated[str, "The file: relative to the workspace, or an absolute guest path."],
    delimiter: Annotated[Delimiter | None, "What separates values; without it, what the first row has most of."] = None,
) -> Json[Table]:
    """Describes each column of a CSV file in the workspace, as `describe` does."""
    full = guest_path(path)
    try:
        size = os.path.getsize(full)
        if size > FILE_MAX:
            raise Failure(f"{full} has {size} bytes; at most {FILE_MAX} are described")
        with open(full, encoding="utf-8-sig", newline="") as file:
            separator = delimiter or guess(file.readline())
            file.seek(0)
            return Json(describe_lines(file, separator))
    except OSError as error:
        raise Failure(f"{full}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise Failure(f"{full} is not UTF-8 text") from error


describe.warm_up('{"text": "a,b,c\\n1,x,\\n2.5,\\"y\\",z\\n"}')

Tools = export(describe, describe_file)
