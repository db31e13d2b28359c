"""python3 -m unittest discover -s tests, in the SDK's folder."""

import json
import sys
import unittest
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal

sys.path.insert(0, str(Path(__file__).parents[1]))

import palisade_sdk  # noqa: E402
from palisade_sdk import I64, U64, Blob, Failure, Json, More, Text, guest_path, store, tool  # noqa: E402
from palisade_sdk import _json, _types  # noqa: E402
from palisade_sdk.__main__ import uses_store  # noqa: E402


class Color(Enum):
    RED = "red"
    BLUE = "blue"


@dataclass
class Point:
    x: Annotated[float, "Right."]
    y: Annotated[float, "Up."] = 0.0
    tags: list[str] = field(default_factory=list)


@dataclass
class Circle:
    kind: Literal["circle"]
    r: float


@dataclass
class Line:
    kind: Literal["line"]
    to: Point


class Schemas(unittest.TestCase):
    def test_the_schema_is_closed_and_says_what_is_required_and_what_it_is_otherwise(self) -> None:
        @tool
        def made(a: Annotated[str, "An a."], b: Annotated[int, "A b.", More(minimum=1)] = 3, c: Annotated[bool | None, "A c."] = None) -> str:
            """Does."""
            return a

        self.assertEqual(json.loads(made.input_schema), {
            "type": "object",
            "properties": {
                "a": {"type": "string", "description": "An a."},
                "b": {"type": "integer", "description": "A b.", "minimum": 1, "default": 3},
                "c": {"anyOf": [{"type": "boolean"}, {"type": "null"}], "description": "A c."},
            },
            "required": ["a"],
            "additionalProperties": False,
        })
        self.assertIsNone(made.output_schema)
        self.assertEqual(made("x"), "x")

    def test_every_annotation_has_its_schema_or_is_refused(self) -> None:
        for hint, schema in [
            (I64, {"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}),
            (I64 | None, {"anyOf": [{"type": "integer", "minimum": -(2**63), "maximum": 2**63 - 1}, {"type": "null"}]}),
            (list[int], {"type": "array", "items": {"type": "integer"}}),
            (dict[str, U64], {"type": "object", "additionalProperties": {"type": "integer", "minimum": 0, "maximum": 2**64 - 1}}),
            (Color, {"enum": ["red", "blue"]}),
            (Literal["a", 1], {"enum": ["a", 1]}),
            (Any, {}),
        ]:
            self.assertEqual(_types.schema_of(hint), schema)
        for hint in [bytes, set[str], dict[int, str], complex]:
            with self.assertRaises(TypeError):
                _types.schema_of(hint)

    def test_what_is_wrong_with_a_tool_is_said_when_it_is_made(self) -> None:
        def undescribed(a: str) -> str:
            """Does."""
            return a

        def undocumented() -> str:
            return ""

        def many(*a: Annotated[str, "Some."]) -> str:
            """Does."""
            return ""

        for function, why in [(undescribed, "the argument a needs a description"), (undocumented, "docstring"), (many, "no named argument")]:
            with self.assertRaisesRegex(TypeError, why):
                tool(function)
        with self.assertRaisesRegex(TypeError, "lower-case"):
            tool(name="No")(made_named)
        with self.assertRaisesRegex(TypeError, "one name"):
            palisade_sdk.export(tool(made_named), tool(made_named))


def made_named() -> str:
    """Does."""
    return ""


class Values(unittest.TestCase):
    def test_values_are_what_their_annotations_say(self) -> None:
        self.assertEqual(_types.reader(Point)({"x": 1, "tags": ["a"]}), Point(1.0, 0.0, ["a"]))
        self.assertIs(type(_types.reader(float)(1)), float)
        self.assertIs(type(_types.reader(int)(1.0)), int)
        self.assertEqual(_types.reader(Color)("red"), Color.RED)
        self.assertEqual(_types.reader(Circle | Line)({"kind": "line", "to": {"x": 1}}), Line("line", Point(1.0)))
        self.assertEqual(_types.reader(list[int | None | str | bool])([1, None, "a", True]), [1, None, "a", True])
        self.assertIs(_types.reader(int | bool)(True), True)
        self.assertIs(_types.reader(Literal[1] | bool)(True), True)
        self.assertEqual(_types.reader(dict[str, Color | None])({"a": "red", "b": None}), {"a": Color.RED, "b": None})

    def test_numbers_are_written_as_in_rust(self) -> None:
        for value, written in [
            (1.0, "1.0"), (-0.0, "-0.0"), (1e15, "1000000000000000.0"), (1e16, "1e+16"), (1.5e-5, "0.000015"), (-1e-5, "-0.00001"), (1e-6, "1e-6"),
            (5e-324, "5e-324"), (2**64 - 1, "18446744073709551615"), (float("nan"), "null"), ([float("inf"), 1.25e-9], "[null,1.25e-9]"),
        ]:
            self.assertEqual(_json.dumps(value), written)
        self.assertEqual(_json.dumps({"like e-07": "e-07", "é\n\x1f\x7f\u2028": None}), '{"like e-07":"e-07","é\\n\\u001f\x7f\u2028":null}')
        self.assertEqual(_json.dumps(_types.reader(list[float])(_json.loads("[-0, 0, -0.0]"))), "[-0.0,0.0,-0.0]")

    def test_half_a_character_becomes_a_mark(self) -> None:
        self.assertEqual(_json.dumps("a\ud83db"), '"a\ufffdb"')

    def test_what_holds_itself_is_an_error(self) -> None:
        endless: list[Any] = []
        endless.append(endless)
        with self.assertRaises((ValueError, RecursionError)):
            _json.dumps(endless)


class Calls(unittest.TestCase):
    def test_a_call_returns_contents(self) -> None:
        @tool
        def many(who: Annotated[str, "Who."], times: Annotated[int, "How often."] = 2) -> list[Any]:
            """Does."""
            return [who * times, Text("x"), Json({"who": who}), Blob("a/b", b"\x01")]

        @tool
        def point(x: Annotated[float, "Right."]) -> Json[Point]:
            """Does."""
            return Json(Point(x))

        @tool
        def fails() -> str:
            """Does."""
            raise Failure("no such thing")

        self.assertEqual(many.run('{"who":"ab"}'), [Text("abab"), Text("x"), Json({"who": "ab"}), Blob("a/b", b"\x01")])
        self.assertEqual(_json.dumps(_types.plain(point.run('{"x":2}')[0].value)), '{"x":2.0,"y":0.0,"tags":[]}')
        self.assertEqual(json.loads(point.output_schema or "")["required"], ["x"])
        with self.assertRaisesRegex(Failure, "no such thing"):
            fails.run("{}")

    def test_a_tool_that_is_warmed_up_ran_and_what_it_raises_is_an_error_of_the_build(self) -> None:
        told: list[str] = []

        @tool
        def tells(who: Annotated[str, "Who."]) -> list[Any]:
            """Does."""
            told.append(who)
            return [Json(Point(1.0)), Json({"to": Line("line", Point(2.0))}), Blob("a/b", b"")]

        tells.warm_up('{"who":"you"}')
        self.assertEqual(set(told), {"you"})
        with self.assertRaises(TypeError):
            tells.warm_up("{}")

    def test_a_path_is_in_the_workspace_or_absolute(self) -> None:
        for path, guest in [("src/lib.rs", "/workspace/src/lib.rs"), ("/data/a.txt", "/data/a.txt"), (".", "/workspace"), ("./a//b", "/workspace/a/b"), ("../x", "/workspace/../x")]:
            self.assertEqual(guest_path(path), guest)

    def test_outside_a_component_the_store_is_a_map_whose_keys_are_in_the_order_of_their_bytes(self) -> None:
        for key in ["k/\U0001f600", "k/\uffff", "k/a", "l"]:
            store.set(key, key.encode())
        self.assertEqual(store.keys("k/"), ["k/a", "k/\uffff", "k/\U0001f600"])
        self.assertEqual(store.keys("k/", "k/a", 1), ["k/\uffff"])
        self.assertFalse(store.swap("k/a", None, b"again"))
        self.assertTrue(store.swap("k/a", b"k/a", b"again"))
        self.assertEqual(store.get("k/a"), b"again")
        self.assertTrue(store.delete("k/a"))
        self.assertIsNone(store.get("k/a"))
        with self.assertRaises(store.StoreError) as raised:
            store.get("")
        self.assertEqual((raised.exception.kind, str(raised.exception)), ("key", "the key is empty or too long for the store"))

    def test_only_a_plugin_that_names_the_store_imports_it(self) -> None:
        import tempfile

        here = Path(palisade_sdk.__file__).parent
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder, "plugin.py")
            for text, uses in [("from palisade_sdk import tool, export", False), ("from palisade_sdk import store", True), ("import palisade_sdk.store as kept", True)]:
                source.write_text(text)
                self.assertEqual(uses_store(source, here), uses, text)


if __name__ == "__main__":
    unittest.main()
