"""Twirls measurements without simulating a circuit twice.

A random flip right before a measurement, undone in the bit that was read, changes nothing but which way the bit is
misread. So the circuit is simulated once, with nothing misread, and the flips and the misreading are done to its bits.
The flips themselves are taken to be free of errors.

On average over flips, both values are misread with the mean p of a qubit's two errors, which shrinks a Pauli term by
``1 - 2p`` for each of its qubits. TREX measures p and divides by that (van den Berg, Minev, Temme, 2022,
https://doi.org/10.1103/PhysRevA.105.032620):

    0 read as 1: 2 %, 1 read as 0: 8 %     p = 5 %
    <Z> = -1                               is read as -0.84 untwirled, as -0.9 twirled
    TREX                                   -0.9 / (1 - 2 * 0.05) = -1
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.simulation.contract import BitTensor


def apply_readout_errors(
    bits: BitTensor, readouts: Mapping[int, NDArray[np.float64]], randomizations: int, seeds: NDArray[np.uint64]
) -> None:
    """Make of bits as they are such as are read with random flips that are undone, in place.

    Args:
        bits: Shape ``(rows, randomizations * shots, bits)``, first all shots of the first randomization.
        readouts: For each bit that may be misread, the probabilities to read the one of the column when it is that of
            the row.
        randomizations: How many flips are drawn for each row and bit.
        seeds: One for each row.
    """
    for row, seed in zip(bits, seeds.tolist(), strict=True):
        rng = np.random.default_rng(seed)
        for column, matrix in readouts.items():
            values = row[:, column].reshape(randomizations, -1)
            prepared = values ^ (rng.random((randomizations, 1)) < 0.5)  # noqa: PLR2004 - a fair coin
            chances = np.where(prepared, matrix[1, 0], matrix[0, 1])
            row[:, column] = (values ^ (rng.random(values.shape) < chances)).ravel()


def flip_rates(
    readouts: Mapping[int, NDArray[np.float64]], qubits: list[int], randomizations: int, shots: int, seed: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the share of bits that were misread when qubits in their ground states were measured, twirled.

    Args:
        readouts: As above, for qubits.
        qubits: Which to measure.
        randomizations: How many flips are drawn for each of them.
        shots: For each randomization.
        seed: Fixes them.

    Returns:
        The rates and their variances, one for each qubit; qubits are misread independently of each other. Variances
        come from the spread over randomizations, as a flip decides which of a qubit's two errors is seen; with a single
        randomization, from its shots, as p (1 - p) / (shots - 1).
    """
    rng = np.random.default_rng(seed)
    rates, variances = np.zeros(len(qubits)), np.zeros(len(qubits))
    for place, qubit in enumerate(qubits):
        matrix = readouts.get(qubit)
        if matrix is not None:
            flipped = rng.random(randomizations) < 0.5  # noqa: PLR2004 - a fair coin
            shares = rng.binomial(shots, np.where(flipped, matrix[1, 0], matrix[0, 1])) / shots
            rates[place] = shares.mean()
            variances[place] = (
                shares.var(ddof=1) / randomizations
                if randomizations > 1
                else rates[place] * (1 - rates[place]) / max(1, shots - 1)
            )
    return rates, variances


def trex_factors(rates: NDArray[np.float64], shots: int) -> NDArray[np.float64]:
    """Return what undoes twirled misreading in expectation values of single qubits; `rates` are shares of `shots`.

    It is ``1 / (1 - 2p)`` of the rate p (van den Berg, Minev, Temme, 2022,
    https://doi.org/10.1103/PhysRevA.105.032620, for independent qubits).

    A qubit whose bits are pure chance has no such factor; it gets that of the smallest value the shots can tell from 0.
    """
    left = 1 - 2 * rates
    return 1 / np.where(np.abs(left) < 1 / shots, 1 / shots, left)
