"""Modules that the standard library imports only when they are needed.

A component holds what was imported while it was made, and has no other modules; so these are imported then.
"""

import _strptime
import bisect
import calendar
import heapq
import linecache
import locale
import tokenize
import traceback
import unicodedata
from encodings import ascii, cp1252, idna, latin_1, utf_8_sig, utf_16, utf_16_be, utf_16_le, utf_32, utf_32_be, utf_32_le

__all__ = [
    "_strptime", "ascii", "bisect", "calendar", "cp1252", "heapq", "idna", "latin_1", "linecache", "locale", "tokenize", "traceback",
    "unicodedata", "utf_8_sig", "utf_16", "utf_16_be", "utf_16_le", "utf_32", "utf_32_be", "utf_32_le",
]
