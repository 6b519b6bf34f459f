"""Dry runs: everything is checked, nothing is simulated, all bits are fair coins."""

import sys
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit_ibm_runtime.decoders.executor_sampler.utils import TWIRLING_PREFIX
from qiskit_ibm_runtime.results import QuantumProgramResult

from qiskit_runtime_server.errors import CircuitTooLargeError
from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.programs.device.progress import ProgressMeter
from qiskit_runtime_server.programs.device.shots import Journal, Report
from qiskit_runtime_server.programs.device.timing import schedule
from qiskit_runtime_server.simulation import engine
from qiskit_runtime_server.simulation.contract import BitTensor, Parities, Simulator
from qiskit_runtime_server.simulation.noise import DeviceNoise
from qiskit_runtime_server.simulation.seeds import SeedPath
from qiskit_runtime_server.simulation.wish import Wish

_REPETITION_SECONDS: Final = 250e-6
"""Between shots, where the device does not say."""

_FLIP_RATE: Final = 0.02
"""How often a measurement goes wrong that errors are learned from."""


class DryRun:
    """A source of shots that only draws random bits, and counts what a device would need for them.

    Attributes:
        catalog: As in `ShotSource`.
        ideal_qubits: As in `ShotSource`.
        default_wish: That of the simulator.
        progress: Of nothing: nothing is simulated, so nothing takes long.
        seconds: What a device would have needed so far: for each shot its circuit and the delay before the next one.
    """

    def __init__(
        self, simulator: Simulator, journal: Journal | None = None, *, ideal_qubits: int | None = None
    ) -> None:
        """Stand in for `simulator`, and tell `journal` how it would run circuits; `ideal_qubits` is how large is ideal.

        By default an ideal device is as large as fits into the simulator.
        """
        self._simulator = simulator
        self._journal = journal or Journal()
        self.catalog = simulator.catalog
        self.progress = ProgressMeter()
        self.default_wish = simulator.default_wish
        self.ideal_qubits = ideal_qubits or simulator.capabilities().num_qubits
        self.seconds = 0.0

    def sample(  # noqa: PLR0913 - as in `ShotSource`
        self,
        circuit: QuantumCircuit,
        parameter_values: NDArray[np.float64],
        shots: int,
        *,
        device: Device,
        rep_delay: float | None,
        noise: DeviceNoise | None,
        seeds: SeedPath,
        first: int,
        wish: Wish,
        parities: Sequence[Parities] | None,
        report: Report,  # noqa: ARG002 - nothing is simulated
    ) -> BitTensor:
        """Draw bits for every row, shape ``(rows, shots, circuit.num_clbits)``."""
        number = len(parameter_values)
        if noise is not None:
            self._journal.look_at(circuit, device)
        try:
            for plan in engine.plans(
                self._simulator,
                circuit,
                parameter_values,
                shots,
                noise=noise,
                wish=wish,
                parities=parities,
                limit_seconds=self._journal.limit_seconds,
                report=self._journal.add,
            ):
                self._journal.add(plan)
        except CircuitTooLargeError as error:
            # A device could run it.
            self._journal.warn(f"This would be refused: {error}")
        pause = _rep_delay(device.configuration) if rep_delay is None else rep_delay
        dt = device.target.dt
        duration = 0.0 if dt is None else schedule(circuit, device.target).duration * dt
        # Infinity is no number in JSON.
        pass_seconds = min(duration + pause, sys.float_info.max)
        self.seconds = min(self.seconds + number * shots * pass_seconds, sys.float_info.max)
        return coins(seeds, slice(first, first + number), shots, circuit.num_clbits)

    def prepare_for_learning(self, result: QuantumProgramResult, seeds: SeedPath) -> None:
        """Put bits into `result` of which few are wrong: fair coins tell of no layer at all."""
        rng = seeds.generator()
        for item in result:
            for name in [name for name in item if f"{TWIRLING_PREFIX}{name}" in item]:
                item[name] = (rng.random(item[name].shape) < _FLIP_RATE) ^ item[f"{TWIRLING_PREFIX}{name}"]


def coins(seeds: SeedPath, rows: slice, shots: int, num_clbits: int) -> BitTensor:
    """Return fair coins for some rows, shape ``(rows, shots, num_clbits)``."""
    size = (shots, num_clbits)
    row_seeds = seeds.coins.rows(rows).tolist()
    drawn = [np.random.default_rng(seed).integers(2, size=size, dtype=np.bool_) for seed in row_seeds]
    return np.array(drawn, dtype=np.bool_).reshape(len(row_seeds), *size)


def _rep_delay(configuration: Mapping[str, object]) -> float:
    microseconds = configuration.get("default_rep_delay")
    return microseconds * 1e-6 if isinstance(microseconds, int | float) else _REPETITION_SECONDS
