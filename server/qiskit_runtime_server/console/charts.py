"""Charts of outcomes: where bars, points and their errors are, for templates that draw them as SVG."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from qiskit_runtime_server.console import words

_ROW: Final = 21
_BARS: Final = 420
_LETTER: Final = 7.4
_LEAST_START: Final = 60
_TEXT: Final = 130
# So many are said to who hears a chart.
_SAID: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """A bar, as long as its count."""

    label: str
    count: str
    share: str
    y: int
    width: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Histogram:
    """Bars from `start` on to the right."""

    title: str
    start: int
    width: int
    height: int
    bars: Sequence[Bar]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """An expectation value, and how far its error reaches; None without one."""

    label: str
    text: str
    x: float
    y: int
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Values:
    """Points between `start` and `end`."""

    title: str
    start: int
    end: int
    width: int
    height: int
    ticks: Sequence[tuple[float, str]]
    points: Sequence[Point]


def rates(learned: Sequence[tuple[str, float | None, float | None]]) -> Values | None:
    """Return the points of some rates with their standard errors, as the API has them; None if there are none."""
    known = [(name, rate, error) for name, rate, error in learned if rate is not None]
    if not known:
        return None
    reach = max(rate + (error or 0.0) for _, rate, error in known) or 1.0
    start = _start(name for name, _, _ in known)

    def at(rate: float) -> float:
        return round(start + _BARS * max(0.0, rate) / reach, 1)

    points = [
        Point(
            label=name,
            text=_with_error(rate, error),
            x=at(rate),
            y=_ROW * index + _ROW // 2,
            low=None if error is None else at(rate - error),
            high=None if error is None else at(rate + error),
        )
        for index, (name, rate, error) in enumerate(known)
    ]
    ticks = [(at(part * reach), words.number(part * reach)) for part in (0, 0.5, 1)]
    return _chart("Rates", points, start, ticks, rows=len(known), labelled=True)


def histogram(counts: Mapping[str, Any]) -> Histogram:
    """Return the bars of some counts, as the API has them."""
    bars: Sequence[tuple[str, int]] = counts["bars"]
    start = _start(label for label, _ in bars)
    most, shots = max((count for _, count in bars), default=1), max(1, counts["shots"])
    said = ", ".join(f"{label}: {count}" for label, count in bars[:_SAID])
    return Histogram(
        title=f"Counts of {counts['name']}: {said}{', …' if len(bars) > _SAID else ''}",
        start=start,
        width=start + _BARS + _TEXT,
        height=_ROW * len(bars),
        bars=[
            Bar(
                label=label,
                count=f"{count:,}",
                share=f"{100 * count / shots:.1f} %",
                y=_ROW * index,
                width=round(_BARS * count / most, 1),
            )
            for index, (label, count) in enumerate(bars)
        ],
    )


def expectation_values(values: Sequence[tuple[float | None, float | None]], shape: Sequence[int] = ()) -> Values | None:
    """Return the points of some values with their standard errors, as the API has them; None if there are none.

    Each is called by its place in the array of `shape` that they are the beginning of.
    """
    known = [(value, error or 0.0) for value, error in values if value is not None]
    if not known:
        return None
    reach = max(1.0, *(abs(value) + error for value, error in known))
    labels = [_place(index, shape) for index in range(len(values))]
    start = _start(labels)

    def at(value: float) -> float:
        return round(start + _BARS * (value / reach + 1) / 2, 1)

    points = [
        Point(
            label=labels[index],
            text=_with_error(value, error),
            x=at(value),
            y=_ROW * index + _ROW // 2,
            low=None if error is None else at(max(-reach, value - error)),
            high=None if error is None else at(min(reach, value + error)),
        )
        for index, (value, error) in enumerate(values)
        if value is not None
    ]
    ticks = [(at(part * reach), words.number(part * reach)) for part in (-1, -0.5, 0, 0.5, 1)]
    return _chart("Expectation values", points, start, ticks, rows=len(values))


def _chart(  # noqa: PLR0913 - what a chart is made of
    what: str,
    points: Sequence[Point],
    start: int,
    ticks: Sequence[tuple[float, str]],
    *,
    rows: int,
    labelled: bool = False,
) -> Values:
    said = ", ".join(f"{point.label}: {point.text}" if labelled else point.text for point in points[:_SAID])
    return Values(
        title=f"{what}: {said}{', …' if len(points) > _SAID else ''}",
        start=start,
        end=start + _BARS,
        width=start + _BARS + _TEXT + 40,
        height=_ROW * rows + 24,
        ticks=ticks,
        points=points,
    )


def _place(index: int, shape: Sequence[int]) -> str:
    """Return where a number is in an array, of which the last axis changes first."""
    places = []
    for size in shape[:0:-1]:
        index, place = divmod(index, max(1, size))
        places.append(place)
    return ", ".join(map(str, [index, *reversed(places)]))


def _start(labels: Iterable[str]) -> int:
    """Return where bars begin behind their labels."""
    return round(max(_LEAST_START, 16 + _LETTER * max(map(len, labels), default=0)))


def _with_error(value: float, error: float | None) -> str:
    return words.number(value) + ("" if error is None else f" ± {words.number(error)}")
