"""Sizes, durations and lists as people write them: `50Gi`, `1h30m`, `one two`; plain numbers are bytes and seconds."""

import re
from contextlib import suppress
from datetime import timedelta
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic_settings import NoDecode

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?) ?(?:([kKMGTPE])(i?))?B?")
_POWERS: Final = "kMGTPE"

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


def _bytes(value: object) -> object:
    if not isinstance(value, str):
        return value
    match = _SIZE.fullmatch(value.strip())
    if match is None:
        raise ValueError(f"{value!r} is not a size, as in 512Mi, 50Gi or 20G; a plain number is bytes")
    number, power, binary = match.groups()
    return int(
        float(number) * (1024 if binary else 1000) ** (_POWERS.index(power.replace("K", "k")) + 1 if power else 0)
    )


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


def spelled(duration: timedelta) -> str:
    """Return a duration in its largest unit that leaves no rest, as in `3h`; what `Duration` reads as the same."""
    units = ((unit, duration / _UNITS[unit]) for unit in ("d", "h", "m") if duration)
    return next(
        (f"{number:g}{unit}" for unit, number in units if number.is_integer()), f"{duration.total_seconds():g}s"
    )


def _whole_seconds(value: object) -> object:
    read = _duration(value)
    return int(read.total_seconds()) if isinstance(read, timedelta) else read


def words_in(text: str) -> list[str]:
    """Return the words of a text."""
    return text.replace(",", " ").split()


def _words(value: object) -> object:
    parts = [value] if isinstance(value, str) else value
    if not isinstance(parts, list | tuple):
        return value
    return tuple(word for part in parts for word in words_in(str(part)))


Bytes = Annotated[int, Field(gt=0), BeforeValidator(_bytes)]
"""A size of at least one byte; `Ki`, `Mi` and so on are powers of 1024, `k`, `M` and so on of 1000."""

Duration = Annotated[timedelta, Field(ge=timedelta()), BeforeValidator(_duration)]
"""A time, or none at all."""

Period = Annotated[timedelta, Field(gt=timedelta()), BeforeValidator(_duration)]
"""A time that is longer than none."""

WholeSeconds = Annotated[int, Field(gt=0), BeforeValidator(_whole_seconds)]
"""A duration as a number of seconds, at least one."""

Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
"""Separated by blanks or commas."""
