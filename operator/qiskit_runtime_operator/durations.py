"""Durations as people write them: `30d`, `1h30m`, `90s`; plain numbers are seconds."""

import re
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError

_UNITS: Final = {
    "w": timedelta(weeks=1),
    "d": timedelta(days=1),
    "h": timedelta(hours=1),
    "m": timedelta(minutes=1),
    "s": timedelta(seconds=1),
    "ms": timedelta(milliseconds=1),
}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?) ?(ms|[wdhms])")
_STANDARD: Final = re.compile(r"P.+|\d+:\d\d:\d\d(\.\d+)?")
_STANDARD_READER: Final = TypeAdapter(timedelta)
"""Of ISO 8601, and of hours:minutes:seconds."""


def _duration(value: object) -> object:
    if not isinstance(value, str):
        return value
    text = value.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return timedelta(seconds=float(text))
    if _STANDARD.fullmatch(text):
        with suppress(ValidationError):
            return _STANDARD_READER.validate_python(text)
    parts = _PART.findall(text)
    if not parts or _PART.sub("", text).strip():
        raise ValueError(f"{value!r} is not a duration, as in 90s, 2h, 1h30m or 30d; a plain number is seconds")
    return sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta())


Duration = Annotated[timedelta, Field(gt=timedelta()), BeforeValidator(_duration)]
"""A time that is longer than none."""
