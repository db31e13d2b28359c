"""JSON as the Rust SDK reads and writes it."""

from __future__ import annotations

import json
import math
from typing import Any

from ._host import well_formed

_decoder = json.JSONDecoder()
# Python reads -0 as the integer 0, which has no sign.
_signing = json.JSONDecoder(parse_int=lambda digits: -0.0 if digits == "-0" else int(digits))


def loads(text: str) -> Any:
    # The host checked that it is one document of JSON, and nothing but white space around it.
    return (_signing if "-0" in text else _decoder).raw_decode(text.lstrip())[0]


_encoder = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def dumps(value: Any) -> str:
    try:
        text = _encoder.encode(value)
    except ValueError:
        text = "e-0"  # Not finite, which is null; or it holds itself, which the slow way refuses too.
    # An exponent has two digits in Python; a string that looks so only takes the slow way.
    return well_formed(_slowly(value) if "e-0" in text else text)


def _slowly(value: Any) -> str:
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(str(key), ensure_ascii=False)}:{_slowly(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_slowly, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


def _float(value: float) -> str:
    if not math.isfinite(value):
        return "null"
    mantissa, mark, exponent = repr(value).partition("e-0")
    if not mark:
        return mantissa
    if exponent != "5":
        return f"{mantissa}e-{exponent}"
    sign, digits = ("-", mantissa[1:]) if mantissa[0] == "-" else ("", mantissa)
    return f"{sign}0.0000{digits.replace('.', '')}"
