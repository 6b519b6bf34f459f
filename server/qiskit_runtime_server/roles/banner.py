"""What a process says once it listens: a banner for people, or a line of a JSON log."""

import logging
from collections.abc import Mapping
from typing import Final

from rich.console import Console

from qiskit_runtime_server.log.lines import is_json

logger = logging.getLogger(__name__)

_WIDTH: Final = 10


def announce(title: str, version: str, about: Mapping[str, str], url: str) -> None:
    """Say that the process listens.

    Args:
        title: What it is.
        version: Of it, if that is worth saying.
        about: What else there is to know.
        url: Where it listens.
    """
    if is_json():
        logger.info("Listening on %s", url, extra={"title": title, "version": version, "url": url, **about})
        return
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]{title}[/bold] {version}".rstrip())
    for name, value in about.items():
        console.print(f"  {name:<{_WIDTH}} {value}")
    console.print(f"Listening on {url}")
