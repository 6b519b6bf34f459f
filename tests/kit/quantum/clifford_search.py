"""Compares shots of random Clifford circuits with exact density matrices, until it is stopped.

    python -m kit.quantum.clifford_search 1000      seeds from 1000 on

The one argument is the first seed. Each case that is wrong is printed with its seed.
"""

import itertools
import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import kstest

from kit.quantum.clifford_circuits import CliffordCase, clifford_case
from kit.quantum.exact_noise import Errors
from kit.quantum.exact_reference import distribution
from kit.quantum.goodness_of_fit import impossible, p_value, too_often
from qiskit_runtime_server.simulation.clifford.frames import Frames
from qiskit_runtime_server.simulation.clifford.lowering import Lowering, is_exact
from qiskit_runtime_server.simulation.noise import DeviceNoise

SHOTS = 100_000
MOST_EXCESS = 0.005
"""Total variation beyond shot noise."""
LEAST_P = 1e-6

# The exact reference takes ten seconds for ten qubits, and a twentieth of a second for up to six.
_WIDE_EVERY = 32
_WIDEST_EVERY = 100
_TOLD_EVERY = 100


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What shots of a case have to do with its exact distribution.

    Attributes:
        num_qubits: Of the circuit.
        p_value: Uniform if the shots are right; None if there is but one bin.
        rare: A bound of the p-value that rare outcomes come too often.
        excess: The total variation distance, less what shot noise alone makes on average.
        impossible: Outcomes that were seen and cannot be.
    """

    num_qubits: int
    p_value: float | None
    rare: float
    excess: float
    impossible: Mapping[int, int]

    @property
    def wrong(self) -> bool:
        """Whether shots of this distribution would not look like this."""
        unlikely = min(self.rare, 1.0 if self.p_value is None else self.p_value) < LEAST_P
        return bool(self.impossible) or unlikely or self.excess > MOST_EXCESS


def case_of(seed: int) -> CliffordCase:
    """Return a noisy case of 2 to 6 qubits, for some seeds of 7 and 8, and for a few of 9 and 10."""
    rng = np.random.default_rng((20261129, seed))
    if seed % _WIDEST_EVERY == _WIDEST_EVERY // 2:
        return clifford_case(rng, least=9 + seed // _WIDEST_EVERY % 2, most=9 + seed // _WIDEST_EVERY % 2, bits=3)
    if seed % _WIDE_EVERY == 0:
        return clifford_case(rng, least=7, most=8, bits=4)
    return clifford_case(rng, most=6)


def compared(seed: int) -> Comparison:
    """Return how shots of the seed's case compare with its exact distribution."""
    case = case_of(seed)
    assert case.model is not None
    size = case.circuit.num_qubits
    noise = DeviceNoise.from_model(case.model, size).restricted_to(range(size))
    assert is_exact(case.circuit, noise)
    lowering = Lowering(case.circuit, noise)
    bits = Frames(lowering.program(case.values.tolist()), SHOTS).sample(seed)
    outcomes, numbers = np.unique(bits @ (1 << np.arange(bits.shape[1])), return_counts=True)
    counts = dict(zip(outcomes.tolist(), numbers.tolist(), strict=True))
    exact = distribution(case.bound, Errors.of_model(case.model))
    seen = sum(abs(counts.get(outcome, 0) / SHOTS - exact.get(outcome, 0)) for outcome in counts.keys() | exact) / 2
    return Comparison(
        num_qubits=size,
        p_value=p_value(counts, exact),
        rare=too_often(counts, exact),
        excess=seen - _shot_noise(exact),
        impossible=impossible(counts, exact),
    )


def _shot_noise(exact: Mapping[int, float]) -> float:
    """Return about the mean total variation of `SHOTS` shots, whose counts are normal: sqrt(2/pi) deviations each."""
    return sum(math.sqrt(2 * p * (1 - p) / (math.pi * SHOTS)) for p in exact.values() if 0 < p < 1) / 2


def search(first: int) -> None:
    """Try all seeds from `first` on."""
    found: list[float] = []
    for seed in itertools.count(first):
        comparison = compared(seed)
        if comparison.wrong:
            print(f"=== seed {seed}: {comparison}\n{case_of(seed).circuit}", flush=True)
        if comparison.p_value is not None:
            found.append(comparison.p_value)
        if seed % _TOLD_EVERY == 0 and found:
            print(
                f"seed {seed}: {len(found)} p-values, uniform with p = {kstest(found, 'uniform').pvalue:.3g}",
                flush=True,
            )


if __name__ == "__main__":
    search(int(sys.argv[1]))
