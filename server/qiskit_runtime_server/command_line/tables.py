"""What commands print for people: tables in which nothing that somebody has sent steers the terminal."""

import json
import os
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

_COLOURS: Final = {
    "Queued": "yellow",
    "Running": "cyan",
    "Completed": "green",
    "Failed": "red",
    "Cancelled": "magenta",
}
_UNITS: Final = (("d", 86400.0), ("h", 3600.0), ("m", 60.0))
_HIDDEN: Final = "\N{REPLACEMENT CHARACTER}"
# What people copy, and bars, are in one piece, however narrow the terminal is.
_WHOLE: Final = {"id", "progress"}
# Of what is no terminal, as a file or `grep`, which take lines one by one.
_ANY_WIDTH: Final = 10_000


def plain(value: object) -> str:
    """Return a text without characters that a terminal would obey."""
    return "".join(character if character.isprintable() else _HIDDEN for character in str(value))


def cell(value: object) -> Text:
    """Return a cell, which is not taken for markup either; None is a dash."""
    return Text("-" if value is None else plain(value))


def status(name: str) -> Text:
    """Return the state of a job in its colour."""
    return Text(plain(name), style=_COLOURS.get(name, ""))


def duration(seconds: float | None) -> str:
    """Return a duration with one or two units, as in `2m 05s`."""
    if seconds is None:
        return "-"
    for (unit, size), (smaller, part) in zip(_UNITS, (*_UNITS[1:], ("s", 1.0)), strict=True):
        if seconds >= size:
            return f"{int(seconds // size)}{unit} {int(seconds % size // part):02d}{smaller}"
    return f"{seconds:.1f}s"


def since(time: str | None) -> str:
    """Return how long ago it was; `time` is spelled as in ISO 8601."""
    if time is None:
        return "-"
    return duration(max(0.0, (datetime.now(UTC) - datetime.fromisoformat(time)).total_seconds()))


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], title: str | None = None) -> Table:
    """Return a table; cells that are texts already are taken as they are. In a narrow terminal, cells are broken."""
    made = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        made.add_column(column, no_wrap=column in _WHOLE, overflow="fold")
    for row in rows:
        made.add_row(*(value if isinstance(value, Text) else cell(value) for value in row))
    return made


def show(*parts: object) -> None:
    """Print tables and texts."""
    console = Console()
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = _ANY_WIDTH
    for part in parts:
        console.print(part)


def show_json(document: Any) -> None:  # noqa: ANN401 - any JSON document
    """Print a document for programs: every character that is not ASCII is escaped."""
    print(json.dumps(document, indent=2))  # noqa: T201 - not for people
