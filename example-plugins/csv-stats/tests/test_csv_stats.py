"""python3 -m unittest discover -s tests, with the SDK in PYTHONPATH."""

import sys
import tempfile
import unittest
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[3] / "plugin-sdk" / "python")]

from csv_stats import FILE_MAX, Column, Numbers, Table, Value, describe, describe_file  # noqa: E402
from palisade_sdk import Failure  # noqa: E402


class Describes(unittest.TestCase):
    def test_numbers_words_and_gaps(self) -> None:
        table = describe('city,"height, m",note\r\nBern,542,\r\nChur,543,"a ""b""\r\nc"\r\nBern,,x\r\n\r\n').value
        self.assertEqual(table, Table(3, [
            Column("city", 3, 0, 2, None, [Value("Bern", 2), Value("Chur", 1)]),
            Column("height, m", 2, 1, 2, Numbers(542.0, 543.0, 542.5, 542.5, 0.5**0.5), []),
            Column("note", 2, 1, 2, None, [Value('a "b"\r\nc', 1), Value("x", 1)]),
        ]))

    def test_the_delimiter_is_the_one_the_first_row_has_most_of(self) -> None:
        for delimiter in ",;\t|":
            self.assertEqual([c.name for c in describe(f"\ufeffa{delimiter}b\n1{delimiter}2").value.columns], ["a", "b"])
        self.assertEqual([c.name for c in describe("a;b\n1;2", ",").value.columns], ["a;b"])

    def test_what_only_looks_like_a_number_is_a_word(self) -> None:
        for word in ["1_000", "nan", "inf", "0x10", "1,5"]:
            self.assertIsNone(describe(f"a;b\n{word};1").value.columns[0].numbers, word)
        self.assertEqual(describe("a\n7").value.columns[0].numbers, Numbers(7, 7, 7, 7, None))

    def test_what_is_no_table_is_an_error_that_says_where(self) -> None:
        for text, why in [("", "empty"), ("a,b\n1,2\n1,2,3", "line 3 has 3 values"), ('a,b\n"x', "line 2"), ('a\n"x"y', "line 2")]:
            with self.assertRaisesRegex(Failure, why):
                describe(text)

    def test_a_file_is_described_or_named(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, "t.csv")
            file.write_text("\ufeffa|b\n1|2\n", encoding="utf-8")
            self.assertEqual([c.name for c in describe_file(str(file)).value.columns], ["a", "b"])
            file.write_bytes(b"a\n\xff")
            with self.assertRaisesRegex(Failure, "not UTF-8"):
                describe_file(str(file))
            file.write_bytes(b"a" * (FILE_MAX + 1))
            with self.assertRaisesRegex(Failure, "at most"):
                describe_file(str(file))
        with self.assertRaisesRegex(Failure, "^/no/such: No such file"):
            describe_file("/no/such")


if __name__ == "__main__":
    unittest.main()
