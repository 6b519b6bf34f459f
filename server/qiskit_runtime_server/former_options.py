"""Options of the command line that were called otherwise before: the former names are still read, with a warning."""

from collections.abc import Iterable, Iterator
from typing import Final

import typer

_FORMER: Final = {"--drain-seconds": "--drain", "--executor": "--executors"}


def renamed(arguments: Iterable[str]) -> Iterator[str]:
    """Yield arguments with today's names of their options, and warn of each former one once."""
    warned = set()
    for argument in arguments:
        former, equals, value = argument.partition("=")
        name = _FORMER.get(former)
        if name is None:
            yield argument
            continue
        if former not in warned:
            typer.echo(f"warning: {former} is now called {name}.", err=True)
            warned.add(former)
        yield name + equals + value
