"""Says how long a job would take on a simulator: its program is run up to where shots would be taken, and none are."""

import math
import time
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit

from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.programs.device.dry_run import DryRun, coins
from qiskit_runtime_server.programs.device.shots import Report
from qiskit_runtime_server.simulation import engine
from qiskit_runtime_server.simulation.contract import BitTensor, Parities, Simulator
from qiskit_runtime_server.simulation.noise import DeviceNoise
from qiskit_runtime_server.simulation.plan import Plan
from qiskit_runtime_server.simulation.seeds import SeedPath
from qiskit_runtime_server.simulation.wish import Wish

_MOST_SECONDS: Final = 1.0
"""How long circuits are looked at; what is left by then takes as long as what was seen, circuit for circuit."""


class PredictedError(Exception):
    """Enough is known: the program need not go on."""


class _TriedError(Exception):
    """A plan would have to be tried before it is known."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self.seconds = seconds


class Predictor(DryRun):
    """A source of shots that adds up how long a simulator says that it takes for them.

    Args:
        simulator: Whose time it is.
        limit_seconds: How long the job may run.
        ideal_qubits: How large an ideal device is; None for as large as the simulator has it.
        clock: Returns seconds.
    """

    def __init__(
        self,
        simulator: Simulator,
        *,
        limit_seconds: float,
        ideal_qubits: int | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(simulator, ideal_qubits=ideal_qubits)
        self._limit_seconds = limit_seconds
        self._clock = clock
        self._end = clock() + _MOST_SECONDS
        self._known_seconds = 0.0
        self._done = 0

    @property
    def predicted_seconds(self) -> float | None:
        """About how long the job takes; None if that is not known of a circuit of it."""
        share = max(1.0, self.progress.planned / self._done) if self._done else 1.0
        seconds = self._known_seconds * share
        return seconds if math.isfinite(seconds) else None

    def sample(  # noqa: PLR0913 - as in `ShotSource`
        self,
        circuit: QuantumCircuit,
        parameter_values: NDArray[np.float64],
        shots: int,
        *,
        device: Device,  # noqa: ARG002 - its noise is given
        rep_delay: float | None,  # noqa: ARG002 - takes no time of a simulator
        noise: DeviceNoise | None,
        seeds: SeedPath,
        first: int,
        wish: Wish,
        parities: Sequence[Parities] | None,
        report: Report,  # noqa: ARG002 - nothing is simulated
    ) -> BitTensor:
        """Note how long the shots would take, and draw coins in their place.

        Raises:
            PredictedError: If no more need be known.
            CircuitTooLargeError: If the simulator cannot take them.
        """
        plans = engine.plans(
            self._simulator,
            circuit,
            parameter_values,
            shots,
            noise=noise,
            wish=wish,
            parities=parities,
            limit_seconds=self._limit_seconds,
            report=_not_tried,
        )
        try:
            for plan in plans:
                self._known_seconds += plan.seconds
        except _TriedError as error:
            self._known_seconds += error.seconds
        self._done += len(parameter_values)
        if self._done >= self.progress.planned or self._clock() >= self._end:
            raise PredictedError
        return coins(seeds, slice(first, first + len(parameter_values)), shots, circuit.num_clbits)


def _not_tried(plan: Plan) -> None:
    raise _TriedError(plan.seconds)
