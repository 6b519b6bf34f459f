"""What a process says once it listens: a banner for people, or a line of a JSON log."""

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import Final

from rich.console import Console

from qiskit_runtime_server.log.lines import is_json
from qiskit_runtime_server.machine import in_words
from qiskit_runtime_server.worker.slots import Slots

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


async def words_about(slots: Slots) -> str:
    """Return how many slots there are, and what fits into each; their workers have been started."""
    qubits = (await slots.capabilities()).num_qubits
    memory = f" in {in_words(slots.memory_bytes)}" if slots.memory_bytes else ""
    return f"{slots.size} slot{'s' * (slots.size != 1)}, each for {qubits} entangled qubits without errors{memory}"


def how_to_stop(drain: timedelta) -> str:
    """Return how the process is ended, and what becomes of running jobs."""
    return f"Ctrl-C: running jobs may go on for {drain.total_seconds():g} s; a second Ctrl-C stops at once"
