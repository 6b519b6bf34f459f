"""Takes shots of near-Clifford circuits (Chase, Labib, 2026, https://arxiv.org/abs/2604.27058).

Each row of parameter values is compiled for itself.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.errors import CircuitTooLargeError
from qiskit_runtime_server.simulation.near_clifford.library import compiled, is_installed
from qiskit_runtime_server.simulation.near_clifford.lowering import Lowering

_BLOCK_SHOTS: Final = 2**16
"""Taken at a time: an outcome takes a byte."""

_MOST_ROTATIONS: Final = 200
"""More are not tried: with errors between them, most of them double the state."""

_FEW_ROTATIONS: Final = 20
"""So many run, in any circuit."""


def check_rotations(number: int) -> None:
    """See whether circuits of so many gates that are no Clifford gates may be tried.

    Raises:
        CircuitTooLargeError: If not; the message says what would help, or nothing.
    """
    if number > (_MOST_ROTATIONS if is_installed() else _FEW_ROTATIONS):
        raise CircuitTooLargeError("")
    if not is_installed():
        raise CircuitTooLargeError(
            f"All of its gates but {number} are Clifford gates: an executor on Python 3.12 or later that has the extra"
            " near-clifford would run it."
        )


def sample(
    lowering: Lowering, values: NDArray[np.float64], shots: int, seeds: NDArray[np.uint64], *, most_bytes: int
) -> NDArray[np.bool_]:
    """Take shots of a circuit.

    Args:
        lowering: The circuit.
        values: Shape ``(n, k)``, columns in the order of the circuit's parameters.
        shots: For every row.
        seeds: Shape ``(n,)``.
        most_bytes: For a state.

    Returns:
        Shape ``(n, shots, num_clbits)``.

    Raises:
        CircuitTooLargeError: If the state of a row takes more.
    """
    bits = np.zeros((len(seeds), shots, lowering.num_clbits), dtype=np.bool_)
    rows, places = np.unique(values, axis=0, return_inverse=True)
    for number, row in enumerate(rows.tolist()):
        circuit = compiled(lowering.text(row))
        circuit.check(most_bytes)
        for user in np.flatnonzero(places.ravel() == number).tolist():
            for block, start in enumerate(range(0, shots, _BLOCK_SHOTS)):
                part = bits[user, start : start + _BLOCK_SHOTS]
                outcomes, misreadings = np.random.SeedSequence(int(seeds[user]), spawn_key=(block,)).spawn(2)
                (seed,) = outcomes.generate_state(1, np.uint64).tolist()
                part[:] = lowering.bits(circuit.sample(len(part), seed), np.random.default_rng(misreadings))
    return bits
