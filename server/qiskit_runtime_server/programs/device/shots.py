"""Where a job's bits come from: a simulator, or coins in a dry run."""

import logging
import math
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit_ibm_runtime.results import QuantumProgramResult

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.programs.device.progress import ProgressMeter
from qiskit_runtime_server.simulation import engine
from qiskit_runtime_server.simulation.contract import BitTensor, Parities, Simulator
from qiskit_runtime_server.simulation.noise import DeviceNoise
from qiskit_runtime_server.simulation.plan import Noise, Plan
from qiskit_runtime_server.simulation.seeds import SeedPath
from qiskit_runtime_server.simulation.wish import GivenWish, Wish

Log = Callable[[int, str], None]
"""Takes a level, as of `logging`, and a line for people."""

Report = Callable[[Plan], None]


LONG_SECONDS: Final = 60.0
"""What takes longer is told of in the log of a job that asks for warnings only, too."""


class Journal:
    """Tells a job's log how its circuits are simulated: each way once, before it is begun.

    Attributes:
        limit_seconds: How long the job may run.
    """

    def __init__(
        self,
        log: Log = lambda _level, _line: None,
        seconds: float = math.inf,
        expect: Callable[[float], None] = lambda _seconds: None,
    ) -> None:
        """Take where lines go, how long the job may run, and who is told how long a simulation will take."""
        self._log = log
        self._expect = expect
        self.limit_seconds = seconds
        self._told: set[tuple[tuple[int, ...], str, Noise, bool]] = set()
        self._broken: set[tuple[int, ...]] = set()

    @property
    def methods(self) -> tuple[str, ...]:
        """By which circuits have been simulated so far, as results call them."""
        return tuple(sorted({method for _qubits, method, *_ in self._told}))

    def warn(self, line: str) -> None:
        """Tell of something else."""
        self._log(logging.WARNING, line)

    def announce(self, line: str) -> None:
        """Tell what the job will do."""
        self._log(logging.INFO, line)

    def look_at(self, circuit: QuantumCircuit, device: Device) -> None:
        """Tell of gates of a circuit that the device's calibration says are broken; once for each pair of qubits."""
        found = device.broken_pairs and _pairs(circuit) & device.broken_pairs
        new = sorted({(min(pair), max(pair)) for pair in found} - self._broken) if found else []
        if new:
            self._broken.update(new)
            names = ", ".join(f"{one}-{other}" for one, other in new)
            self.warn(
                f"The circuit uses couplers of {device.name} whose calibrated error is 1, behind which nothing is left"
                f" of the state: {names}. Choose another layout."
            )

    def add(self, plan: Plan) -> None:
        """Tell of a plan."""
        if math.isfinite(plan.seconds):
            self._expect(plan.seconds)
        key = (plan.qubits, plan.method, plan.noise, plan.truncation_error > 0)
        if key not in self._told:
            self._told.add(key)
            is_long = math.isfinite(plan.seconds) and plan.seconds >= LONG_SECONDS
            grave = plan.approximates or is_long
            self._log(logging.WARNING if grave else logging.INFO, f"Simulates {plan}.")


def _pairs(circuit: QuantumCircuit) -> set[tuple[int, ...]]:
    """Return the pairs of qubits that gates of a circuit join, those in blocks left out."""
    places = {qubit: place for place, qubit in enumerate(circuit.qubits)}
    pairs = (instruction.qubits for instruction in circuit.data if len(instruction.qubits) == 2)  # noqa: PLR2004
    return {tuple(places[qubit] for qubit in pair) for pair in pairs}


class ShotSource(Protocol):
    """Takes the shots of one job."""

    @property
    def catalog(self) -> Catalog:
        """Has the device that the job's backend names."""

    @property
    def ideal_qubits(self) -> int:
        """How large an ideal device is."""

    @property
    def default_wish(self) -> GivenWish:
        """How jobs are simulated that do not say it themselves."""

    @property
    def seconds(self) -> float:
        """What the job has used so far."""

    @property
    def progress(self) -> ProgressMeter:
        """Counts the circuits that shots are taken of, and is told of those to come."""

    def sample(  # noqa: PLR0913 - all of them fix the bits, or how long they take
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
        report: Report,
    ) -> BitTensor:
        """Take `shots` of `circuit` for every row of `parameter_values`; arguments, result and errors as in `engine`.

        Args:
            circuit: Its qubits are the first ones of the device.
            parameter_values: Shape ``(n, k)``, columns in the order of ``circuit.parameters``.
            shots: For every row.
            device: What the circuit is for.
            rep_delay: Seconds between shots, or None for those of the device.
            noise: Of the device, or None if nothing goes wrong.
            seeds: Of the circuit.
            first: The number of the first row.
            wish: How circuits are to be simulated.
            parities: For each row, if they are all that is made of its bits; see `SampleTask`.
            report: Told how they are.
        """

    def prepare_for_learning(self, result: QuantumProgramResult, seeds: SeedPath) -> None:
        """Make the bits that errors are to be learned from such as a device could have, in place."""


class SimulatedShots:
    """Shots that a simulator takes.

    Attributes:
        catalog: As in `ShotSource`.
        default_wish: That of the simulator.
        progress: See `ShotSource`.
    """

    def __init__(
        self,
        simulator: Simulator,
        journal: Journal | None = None,
        progress: ProgressMeter | None = None,
        *,
        ideal_qubits: int | None = None,
    ) -> None:
        """Take shots with a simulator.

        Args:
            simulator: Takes them.
            journal: Told how.
            progress: Told how far it has come.
            ideal_qubits: How large an ideal device is; by default as large as fits into the simulator.
        """
        self._ideal_qubits = ideal_qubits
        self._journal = journal or Journal()
        self.progress = progress or ProgressMeter()
        self.catalog = simulator.catalog
        self.default_wish = simulator.default_wish
        self._simulator = simulator
        self._begin = time.monotonic()

    @property
    def ideal_qubits(self) -> int:
        """As many as fit into the simulator, if nothing else was said."""
        return self._ideal_qubits or self._simulator.capabilities().num_qubits

    @property
    def seconds(self) -> float:
        """The time since this object was made."""
        return time.monotonic() - self._begin

    def sample(  # noqa: PLR0913 - as in the protocol
        self,
        circuit: QuantumCircuit,
        parameter_values: NDArray[np.float64],
        shots: int,
        *,
        device: Device,
        rep_delay: float | None,  # noqa: ARG002 - every shot starts in the ground state
        noise: DeviceNoise | None,
        seeds: SeedPath,
        first: int,
        wish: Wish,
        parities: Sequence[Parities] | None,
        report: Report,
    ) -> BitTensor:
        """Simulate `circuit`.

        Raises:
            CircuitTooLargeError: If a part of it would take longer than the job may.
        """
        if noise is not None:
            self._journal.look_at(circuit, device)

        def begin(plan: Plan) -> None:
            self._journal.add(plan)
            report(plan)

        self.progress.begin(len(parameter_values))

        bits = engine.sample(
            self._simulator,
            circuit,
            parameter_values,
            shots,
            noise=noise,
            seeds=seeds,
            first=first,
            wish=wish,
            parities=parities,
            report=begin,
            limit_seconds=self._journal.limit_seconds,
            expect=self.progress.expect,
            advance=self.progress.advance,
        )
        self.progress.end()
        return bits

    def prepare_for_learning(self, result: QuantumProgramResult, seeds: SeedPath) -> None:
        """Leave the bits as they are: they show the errors of the device."""
