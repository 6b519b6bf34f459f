"""The contract of a simulator: what it is given, and what it returns.

Two questions can be asked of a circuit. *Sampling* (weak simulation) draws outcomes from their distribution, as a
device does; *expectation values* (strong simulation, as far as it goes here) are computed without drawing anything
(Van den Nest, 2009, https://arxiv.org/abs/0811.0898):

    h q0; measure q0 -> c0, 4 shots     SampleTask:        bits like [[[1], [0], [0], [1]]]
    h q0, observable X                  ExpectationTask:   [[1.0]]
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.errors import CircuitTooLargeError, UnsupportedOptionError
from qiskit_runtime_server.machine import qubits_in, usable_bytes
from qiskit_runtime_server.messages.messages import Capabilities
from qiskit_runtime_server.simulation.wish import GivenWish

BitTensor = NDArray[np.bool_]

Parities = Sequence[Sequence[int]]
"""Numbers of classical bits, of each of which only the parity is asked for."""

# Of one core.
_SECONDS_PER_INSTRUCTION: Final = 1e-6
_SECONDS_PER_BYTE: Final = 4e-10


def tell_nobody(_said: object) -> None:
    """Be told something, and do nothing; it can be pickled, as tasks are that have it."""


TimeLimit = Callable[[float], AbstractContextManager[None]]
"""Takes the seconds for which a simulation may run, which answers no signal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Truncation:
    """How states are truncated.

    Attributes:
        bond: The most Schmidt coefficients that are kept of a cut.
        weight: The most that the squares of those that are left out may add up to, where no more than `bond` are left.
    """

    bond: int
    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleTask:
    """One circuit to be sampled for many parameter values.

    Attributes:
        circuit: Has no idle qubits and is as small as compaction can make it; gates of a device, measurements, resets,
            delays, control flow. Angles are numbers or bare parameters.
        parameter_values: Shape ``(n, k)``, dtype float64, columns as in ``circuit.parameters``.
        shots: For every row.
        noise: Errors for the circuit's own qubit numbers, or None for an ideal device. Includes what delays do.
        seeds: Shape ``(n,)``, dtype uint64: a row's bits depend on its own seed only, so rows may be run in any
            batches.
        truncation: As in the simulator's own `Offer`; None for an exact simulation.
        parities: For each row, if they are all that is made of its bits; None if the bits themselves count. A simulator
            need not look at them.
        advance: Told which share of the task is done, from 0 to 1, by simulators that know it meanwhile, as after each
            of many trajectories.
    """

    circuit: QuantumCircuit
    parameter_values: NDArray[np.float64]
    shots: int
    noise: NoiseModel | None
    seeds: NDArray[np.uint64]
    truncation: Truncation | None = None
    parities: Sequence[Parities] | None = None
    advance: Callable[[float], None] = tell_nobody

    def advance_of(self, row: int) -> Callable[[float], None]:
        """Return what is to be told which share of a row is done, after those before it."""
        return lambda share: self.advance((row + share) / len(self.seeds))

    def of_rows(self, rows: NDArray[np.intp]) -> Self:
        """Return the same task for some of its rows."""
        parities = None if self.parities is None else [self.parities[row] for row in rows.tolist()]
        return replace(self, parameter_values=self.parameter_values[rows], seeds=self.seeds[rows], parities=parities)


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectationTask:
    """Observables to be evaluated exactly, on an ideal device.

    Attributes:
        circuit: Has gates only. Angles are numbers or parameters.
        parameter_values: Shape ``(n, k)``, dtype float64, columns as in ``circuit.parameters``.
        observables: Of the circuit's qubits, with real coefficients.
    """

    circuit: QuantumCircuit
    parameter_values: NDArray[np.float64]
    observables: Sequence[SparsePauliOp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """How a simulator would run a task.

    Attributes:
        method: As results call it.
        seconds: About how long one row takes.
        memory_bytes: What it takes beside the bits.
        truncation: To be given back with the task; None if the simulation is exact.
        truncation_error: The total variation by which truncation may change the outcomes' distribution.
        simulator: Which one of several it is that a simulator chooses from, as results call it; empty if it is the one.
    """

    method: str
    seconds: float
    memory_bytes: int
    truncation: Truncation | None = None
    truncation_error: float = 0.0
    simulator: str = ""


class Simulator:
    """A simulator.

    Instances are created in, or sent by pickle to, the worker process that uses them.

    Attributes:
        catalog: Where programs find the device that a backend's name names.
        time_limit: To be entered around calls into a simulator that might never return. In a worker process the job
            fails once the time is over, and the process ends; elsewhere nothing happens.
        default_wish: How jobs are simulated that do not say it themselves.
        truncates: Whether `offer_truncated` has anything to offer.
    """

    catalog: Catalog = Catalog()
    default_wish: GivenWish = GivenWish()
    truncates: bool = False
    time_limit: TimeLimit = staticmethod(lambda _seconds: nullcontext())

    def fitted(self, *, memory_bytes: int | None, threads: int) -> Self:  # noqa: ARG002 - for those that need it
        """Return an executor for a slot with `memory_bytes` for jobs (None: no limit) and `threads` cores.

        Here it is the executor itself.
        """
        return self

    def use_cores(self, number: int) -> None:
        """Use so many cores from now on, unless it was made for a number of them; the results are the same.

        Called before each job: where other slots are idle, their cores are its own. Here nothing happens.
        """

    def stand_in(self, capabilities: Capabilities) -> Self:  # noqa: ARG002 - for those with a device
        """Return an executor that makes the offers of one like this elsewhere, which has these capabilities.

        It need not be able to run anything. Here it is the executor itself.
        """
        return self

    def capabilities(self) -> Capabilities:
        """Return what fits into this executor; cheap, and constant for a process.

        Here it is a state vector in all of the machine's memory.
        """
        return Capabilities(num_qubits=qubits_in(usable_bytes()))

    def offer(self, task: SampleTask) -> Offer:
        """Return how `sample` would run a task, in a time that does not depend on its shots.

        Here it is a trajectory of a state vector for each shot, and nothing is too large.

        Raises:
            CircuitTooLargeError: If it cannot; the planner looks for another way then.
        """
        state = 16 << task.circuit.num_qubits
        seconds = task.shots * len(task.circuit.data) * (_SECONDS_PER_INSTRUCTION + _SECONDS_PER_BYTE * state)
        return Offer(method="statevector", seconds=seconds, memory_bytes=state)

    def expected_truncated(self, task: SampleTask, most_error: float) -> Offer | None:  # noqa: ARG002
        """Return what `offer_truncated` and `sample` take together at most, before any of it is run.

        Here nothing has to be run for an offer, so there is None.

        Args:
            task: As in `offer_truncated`.
            most_error: As there.

        Raises:
            CircuitTooLargeError: As there, if that is known without running anything.
        """
        return None

    def offer_truncated(self, task: SampleTask, most_error: float) -> Offer:  # noqa: ARG002
        """Return how `sample` would run a task that is too large for it, if it may leave out parts of the state.

        Here it cannot.

        Args:
            task: As in `offer`.
            most_error: The total variation by which the outcomes' distribution may change.

        Raises:
            CircuitTooLargeError: If it cannot either; the message says why.
        """
        raise CircuitTooLargeError(f"{type(self).__name__} has no method that truncates states.")

    def sample(self, task: SampleTask) -> BitTensor:  # noqa: ARG002 - for those that can
        """Run `task.circuit` for every row of `task.parameter_values`.

        Returns:
            Bits of shape ``(n, shots, num_clbits)``, dtype bool; the last axis is little-endian, as in Qiskit.

        Raises:
            CircuitTooLargeError: If the state does not fit into this executor's memory.
        """
        raise UnsupportedOptionError(f"{type(self).__name__} runs only the sampler and estimator programs.")

    def expectation_values(self, task: ExpectationTask) -> NDArray[np.float64]:  # noqa: ARG002 - for those that can
        """Return the exact value of each observable for every row of `task.parameter_values`.

        Returns:
            Shape ``(n, len(task.observables))``.

        Raises:
            CircuitTooLargeError: If the state does not fit into this executor's memory.
        """
        raise UnsupportedOptionError(f"{type(self).__name__} does not give exact expectation values.")


def sampled(simulator: Simulator, task: SampleTask) -> BitTensor:
    """Return what a simulator samples.

    Raises:
        ValueError: If that does not have the shape that `Simulator.sample` promises.
    """
    bits = simulator.sample(task)
    wanted = (len(task.parameter_values), task.shots, task.circuit.num_clbits)
    if np.shape(bits) != wanted:
        raise ValueError(
            f"{type(simulator).__name__}.sample() returned bits of shape {np.shape(bits)}, wanted {wanted}."
        )
    return bits
