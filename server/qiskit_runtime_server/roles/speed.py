"""Measures how fast an executor simulates on this machine, for `doctor --speed` and for the page on it."""

from collections.abc import Iterator
from typing import Final

from rich.console import Console

from qiskit_runtime_server.executors.ready import ready
from qiskit_runtime_server.machine import in_words, usable_bytes, usable_cores
from qiskit_runtime_server.settings import Settings
from qiskit_runtime_server.worker.speed import Measured, measure

HEADER: Final = ("circuit", "qubits", "shots", "method", "memory", "expected", "took")
_WIDTHS: Final = (30, 6, 6, 20, 9, 9, 9)


def machine(settings: Settings) -> str:
    """Return what simulations may use here, for people."""
    return f"{usable_cores()} cores, {in_words(settings.memory or usable_bytes())} for simulations"


def measured(name: str, settings: Settings) -> Iterator[Measured]:
    """Yield what each circuit takes on the executor called `name`, in this process and with all of the machine.

    Raises:
        StartupError: If there is no such executor, or it does not take its options.
    """
    executor = ready(
        name,
        settings.executor_options.get(name, {}),
        memory_bytes=settings.memory or usable_bytes(),
        threads=usable_cores(),
        snapshots=settings.snapshots,
    )
    yield from measure(executor)


def row(found: Measured) -> tuple[str, ...]:
    """Return what the table says of one circuit, by the columns of `HEADER`."""
    return (
        found.what,
        str(found.qubits),
        f"{found.shots:,}",
        found.method,
        found.memory,
        f"{found.expected_seconds:.2g} s",
        f"{found.seconds:.2g} s",
    )


def show(name: str, settings: Settings) -> None:
    """Print the table, line by line as it is measured; errors as those of `measured`."""
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"[bold]Speed of executor {name}[/bold] on {machine(settings)}; this takes up to a minute.")
    console.print(_line(HEADER))
    for found in measured(name, settings):
        console.print(_line(row(found)))


def _line(cells: tuple[str, ...]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, _WIDTHS, strict=True)).rstrip()
