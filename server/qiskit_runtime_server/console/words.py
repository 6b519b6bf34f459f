"""Times, durations and sizes as people read them."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from math import floor
from typing import Any, Final

NONE: Final = "\N{EN DASH}"
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400


def moment(text: str | None) -> str:
    """Return a time of the API's, in UTC and to the second; a dash for none."""
    return NONE if text is None else datetime.fromisoformat(text).strftime("%Y-%m-%d %H:%M:%S")


def soon(text: str) -> str:
    """Return a time that is mostly one of today, of which it has no day then."""
    is_today = datetime.fromisoformat(text).date() == datetime.now(UTC).date()
    return moment(text)[-len("00:00:00") :] if is_today else moment(text)


def seconds(value: float | None) -> str:
    """Return a duration, to about three digits."""
    if value is None:
        return NONE
    if value < 10:  # noqa: PLR2004 - below that, tenths matter
        return f"{value:.2f} s"
    if value < _MINUTE:
        return f"{value:.1f} s"
    if value < _HOUR:
        return f"{int(value // _MINUTE)} min {int(value % _MINUTE)} s"
    if value < _DAY:
        return f"{int(value // _HOUR)} h {int(value % _HOUR // _MINUTE)} min"
    return f"{int(value // _DAY)} d {int(value % _DAY // _HOUR)} h"


def percent(fraction: float) -> int:
    """Return a fraction in percent, not more than it is: 100 only of what is done."""
    return floor(100 * fraction)


def number(value: float | None) -> str:
    """Return a number with four digits, as calibrations have them; a dash for none."""
    return NONE if value is None else f"{value:.4g}"


def routing(predicted: Mapping[str, Any]) -> str:
    """Return what a job would take on each of the executors among which one was chosen."""
    return ", ".join(f"{name} {_predicted(each)}" for name, each in predicted.items())


def _predicted(each: Mapping[str, Any]) -> str:
    if each["refusal"]:
        return "cannot run it"
    return "for a time that is not known" if each["seconds"] is None else f"about {seconds(each['seconds'])}"


def extent(numbers: Sequence[int]) -> str:
    """Return the least and the largest of some numbers, as in `2 to 5`."""
    least, largest = min(numbers), max(numbers)
    return f"{least}" if least == largest else f"{least} to {largest}"
