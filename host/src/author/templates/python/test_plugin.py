"""python3 -m unittest"""

import unittest

from palisade_sdk import Failure
from plugin import greet


class Greets(unittest.TestCase):
    def test_somebody_is_greeted_by_name(self) -> None:
        self.assertEqual(greet("Ada"), "Hello, Ada!")

    def test_nobody_is_an_error_that_says_what_to_do(self) -> None:
        with self.assertRaisesRegex(Failure, "`name` is empty; say who is greeted"):
            greet("")
