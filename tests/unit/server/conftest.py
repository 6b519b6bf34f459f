"""Devices, an executor, and how to compare distributions."""

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from scipy.stats import chi2_contingency, chisquare

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.programs.device.device import Device, load_device
from qiskit_runtime_server.simulation import engine
from qiskit_runtime_server.simulation.noise import DeviceNoise
from qiskit_runtime_server.simulation.seeds import SeedPath

FALSE_ALARM = 1e-6
"""How likely a comparison fails by chance, for a seed taken at random; the seeds are fixed."""

DeviceOf = Callable[[str], Device]
Shots = Callable[..., NDArray[np.int64]]
Agree = Callable[[NDArray[np.int64], NDArray[np.int64]], None]
Expect = Callable[[NDArray[np.int64], Mapping[int, float]], None]


@pytest.fixture(scope="session")
def device() -> DeviceOf:
    catalog = Catalog()
    return lambda name: load_device(catalog, name, ideal_qubits=20)


@pytest.fixture
def shots_of() -> Shots:
    """Return a function that runs a circuit and returns each shot as a number, clbit 0 the lowest bit."""

    def run(
        circuit: QuantumCircuit,
        *,
        noise: DeviceNoise | None = None,
        values: tuple[float, ...] = (),
        shots: int = 4000,
        seed: int = 1,
        executor: AerExecutor | None = None,
    ) -> NDArray[np.int64]:
        bits = engine.sample(
            executor or AerExecutor(threads=1),
            circuit,
            np.array([values], dtype=np.float64),
            shots,
            noise=noise,
            seeds=SeedPath((seed,)),
        )
        assert bits.shape == (1, shots, circuit.num_clbits)
        numbers: NDArray[np.int64] = bits[0] @ (1 << np.arange(circuit.num_clbits))
        return numbers

    return run


@pytest.fixture
def agree() -> Agree:
    """Return a function that fails if two samples come from different distributions (chi-square test)."""

    def check(one: NDArray[np.int64], other: NDArray[np.int64]) -> None:
        _, numbers = np.unique(np.concatenate([one, other]), return_inverse=True)
        table = np.array([np.bincount(part, minlength=numbers.max() + 1) for part in np.split(numbers, [len(one)])])
        rare = table.sum(axis=0) < 10
        merged = np.column_stack([table[:, ~rare], table[:, rare].sum(axis=1)])
        merged = merged[:, merged.sum(axis=0) > 0]
        assert merged.shape[1] > 1, f"all shots are alike: {table}"
        probability = chi2_contingency(merged).pvalue
        assert probability > FALSE_ALARM, f"different distributions, p = {probability}: {table.tolist()}"

    return check


@pytest.fixture
def expect() -> Expect:
    """Return a function that fails if a sample does not come from a distribution (chi-square test)."""

    def check(shots: NDArray[np.int64], distribution: Mapping[int, float]) -> None:
        assert sum(distribution.values()) == pytest.approx(1)
        values, counts = np.unique(shots, return_counts=True)
        assert set(values.tolist()) <= distribution.keys()
        seen = dict(zip(values.tolist(), counts.tolist(), strict=True))
        if len(distribution) > 1:
            expected = [share * len(shots) for share in distribution.values()]
            assert min(expected) >= 5, "too few shots for the test"
            probability = chisquare([seen.get(value, 0) for value in distribution], expected).pvalue
            assert probability > FALSE_ALARM, f"p = {probability}: {seen}"

    return check
