"""Stands in for a simulator in dry runs: everything is checked, nothing is simulated, all bits are fair coins."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit

from qiskit_runtime_server.messages.messages import Capabilities
from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.programs.device.timing import schedule
from qiskit_runtime_server.simulation.contract import BitTensor, Simulator

_REPETITION_SECONDS: Final = 250e-6
"""Between shots, where the device does not say."""


class DryRun(Simulator):
    """An executor that only draws random bits, and counts what a device would need for them.

    Attributes:
        seconds: What a device would have needed so far: for each shot its circuit and the delay before the next one.
    """

    def __init__(self, executor: Simulator) -> None:
        """Stand in for `executor`."""
        self.catalog = executor.catalog
        self.seconds = 0.0
        self._executor = executor

    def capabilities(self) -> Capabilities:
        """Return those of the executor that it stands in for."""
        return self._executor.capabilities()

    def bits(
        self,
        circuit: QuantumCircuit,
        shots: int,
        seeds: NDArray[np.uint64],
        device: Device,
        rep_delay: float | None,
    ) -> BitTensor:
        """Return random bits for a row for each of `seeds`, shape ``(rows, shots, circuit.num_clbits)``."""
        pause = _rep_delay(device.configuration) if rep_delay is None else rep_delay
        dt = device.target.dt
        duration = 0.0 if dt is None else schedule(circuit, device.target).duration * dt
        self.seconds += len(seeds) * shots * (duration + pause)
        size = (shots, circuit.num_clbits)
        drawn = [np.random.default_rng(seed).integers(2, size=size, dtype=np.bool_) for seed in seeds.tolist()]
        return np.array(drawn, dtype=np.bool_).reshape(len(seeds), *size)


def _rep_delay(configuration: Mapping[str, object]) -> float:
    microseconds = configuration.get("default_rep_delay")
    return microseconds * 1e-6 if isinstance(microseconds, int | float) else _REPETITION_SECONDS
