"""Measures how fast this machine simulates: each method at sizes that grow until one takes seconds.

Circuits go the way that jobs go, through `execute_sampler`, so that what is measured is what jobs will see, checks
included. Each is a brickwork: layers of random rotations of every qubit, and entangling gates between neighbours.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qiskit_runtime_server.backends.ideal import IDEAL_NAMES
from qiskit_runtime_server.errors import CircuitTooLargeError
from qiskit_runtime_server.executors.base import BaseExecutor
from qiskit_runtime_server.machine import in_words
from qiskit_runtime_server.programs.device.shots import Journal, SimulatedShots
from qiskit_runtime_server.programs.options.options import sampler_options, with_seed
from qiskit_runtime_server.programs.sampler import execute
from qiskit_runtime_server.simulation.plan import Plan

DEVICE: Final = "fake_torino"
"""Its first row of qubits is a line, and it has the gates of today's processors."""

_LAYERS: Final = 10
_ENOUGH_SECONDS: Final = 2.5
_TWIRLED: Final = {"experimental": {"simulator": {"approximation": "twirled-noise"}}}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Circuits of one kind that grow.

    Attributes:
        what: The kind, for people.
        backend: What they run on.
        sizes: Numbers of qubits.
        circuit: Makes one for so many qubits.
        options: Of the job, beside the seed.
    """

    what: str
    backend: str
    sizes: Sequence[int]
    shots: int
    circuit: Callable[[int], QuantumCircuit]
    options: dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """One circuit that was run.

    Attributes:
        method: How, as results call it.
        expected_seconds: What the planner expected.
        memory: What the planner says that it takes, for people.
        seconds: What it took.
    """

    what: str
    qubits: int
    shots: int
    method: str
    expected_seconds: float
    memory: str
    seconds: float


class _Plans(Journal):
    """Keeps the plans in place of telling a log of them."""

    def __init__(self) -> None:
        super().__init__()
        self.plans: list[Plan] = []

    def add(self, plan: Plan) -> None:
        """Keep a plan."""
        self.plans.append(plan)


def brickwork(qubits: int, *, clifford: bool = False, midway: bool = False) -> QuantumCircuit:
    """Return a circuit in the gates of `DEVICE` whose qubits are all entangled, measured at its end.

    Args:
        qubits: On a line.
        clifford: Rotations are by multiples of a quarter turn.
        midway: The first qubit is measured in the middle, too, so that every shot takes a way of its own.
    """
    circuit = QuantumCircuit(qubits, qubits + midway)
    random = np.random.default_rng(qubits)
    for layer in range(_LAYERS):
        for qubit in range(qubits):
            angle = random.integers(4) * np.pi / 2 if clifford else random.uniform(0, 2 * np.pi)
            circuit.rz(float(angle), qubit)
            circuit.sx(qubit)
        for qubit in range(layer % 2, qubits - 1, 2):
            circuit.cz(qubit, qubit + 1)
        if midway and layer == _LAYERS // 2:
            circuit.measure(0, qubits)
    circuit.measure(range(qubits), range(qubits))
    return circuit


ALL: Final = (
    Series(
        what="no errors",
        backend=IDEAL_NAMES[0],
        sizes=(12, 16, 18, 20, 22, 24, 26),
        shots=1000,
        circuit=brickwork,
        options={},
    ),
    Series(
        what="errors of a device",
        backend=DEVICE,
        sizes=(4, 6, 8, 10, 12),
        shots=1000,
        circuit=brickwork,
        options={},
    ),
    Series(
        what="errors, a measurement midway",
        backend=DEVICE,
        sizes=(4, 8, 10, 12, 14),
        shots=100,
        circuit=lambda qubits: brickwork(qubits, midway=True),
        options={},
    ),
    Series(
        what="Clifford gates, errors twirled",
        backend=DEVICE,
        sizes=(5, 10, 15),
        shots=10_000,
        circuit=lambda qubits: brickwork(qubits, clifford=True),
        options=_TWIRLED,
    ),
)


def measure(executor: BaseExecutor, series: Sequence[Series] = ALL) -> Iterator[Measured]:
    """Run the series on `executor`, and yield what each circuit took, as soon as it is known.

    A series ends with the first circuit that takes seconds, or that does not fit.
    """
    most = executor.capabilities().num_qubits
    for one in series:
        # The first circuit on a device waits for its documents to be read, which is no matter of speed.
        _measured(executor, one, one.sizes[0])
        for qubits in one.sizes:
            # The ideal device has no more qubits than fit.
            if one.backend in IDEAL_NAMES and qubits > most:
                break
            try:
                found = _measured(executor, one, qubits)
            except CircuitTooLargeError:
                break
            yield found
            if found.seconds > _ENOUGH_SECONDS:
                break


def _measured(executor: BaseExecutor, series: Series, qubits: int) -> Measured:
    pub = SamplerPub.coerce((series.circuit(qubits), None, series.shots))
    journal = _Plans()
    begin = time.perf_counter()
    execute(SimulatedShots(executor, journal), [pub], sampler_options(with_seed(series.options, 1)), series.backend)
    seconds = time.perf_counter() - begin
    largest = max(journal.plans, key=lambda plan: len(plan.qubits))
    return Measured(
        what=series.what,
        qubits=qubits,
        shots=series.shots,
        method=largest.method,
        expected_seconds=sum(plan.seconds for plan in journal.plans),
        memory=in_words(sum(plan.memory_bytes for plan in journal.plans)),
        seconds=seconds,
    )
