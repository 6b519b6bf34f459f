"""Measures how fast this machine simulates and writes docs/reference/speed.md: `make speed`."""

from collections.abc import Iterator
from pathlib import Path

from qiskit_runtime_server.roles.speed import HEADER, machine, measured, row
from qiskit_runtime_server.settings import Settings

PAGE = Path(__file__).parent / "reference" / "speed.md"


def page(settings: Settings) -> Iterator[str]:
    """Yield the lines of the page."""
    yield "# Speed"
    yield ""
    yield f"Made by `make speed` on {machine(settings)}."
    yield "`qiskit-runtime-server doctor --speed` measures your machine."
    yield "[What fits, and how long it takes](../explanation/what-fits.md) says what the methods are."
    yield ""
    yield "Each circuit has ten layers: random rotations of all qubits, and entangling gates between neighbours."
    yield "A series ends with the first circuit that takes seconds. `memory` is that of states. `expected` is the"
    yield "server's estimate before the circuit runs, by which it refuses circuits that would take far longer than"
    yield "their jobs may."
    yield ""
    yield f"| {' | '.join(HEADER)} |"
    yield "|---" * len(HEADER) + "|"
    for found in measured("aer", settings):
        yield f"| {' | '.join(row(found))} |"
    yield ""


def main() -> None:
    """Write the page."""
    PAGE.write_text("\n".join(page(Settings.load())))


if __name__ == "__main__":
    main()
