"""Chooses how each part of a circuit is simulated: exactly, as cheaply as that can be done, else by what is left.

There is no method for all circuits: a state vector takes 2^n numbers, a matrix product state as many as there is
entanglement (Vidal, 2003, https://doi.org/10.1103/PhysRevLett.91.147902), and Clifford circuits take n^2 bits, however
entangled they are (Aaronson, Gottesman, 2004, https://doi.org/10.1103/PhysRevA.70.052328). In this order:

    one qubit                                          product, exact
    Clifford gates, Pauli errors, 12 qubits or more    Clifford frames, exact, if they take less time
    what the executor can hold                         whatever it takes, exact
    Clifford gates, other errors                       Clifford frames, the errors twirled over the Pauli operators
    parities only, gates of up to 3 qubits             Pauli propagation, exact if it fits, else truncated if the
                                                       options ask for that
    anything else, if truncation is asked for          truncated states, if the executor has them

What is approximate says so in `Plan.noise` or `Plan.truncation_error`; nothing is approximate that some method above
does exactly, unless the options ask for it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Instruction, QuantumCircuit

from qiskit_runtime_server.errors import CircuitTooLargeError, CircuitTooLongError, UnsupportedOptionError
from qiskit_runtime_server.machine import in_words
from qiskit_runtime_server.messages.messages import PATIENCE
from qiskit_runtime_server.simulation import advice
from qiskit_runtime_server.simulation.clifford.feed_forward import is_carried
from qiskit_runtime_server.simulation.clifford.frames import BLOCK_SHOTS, block_bytes, sample
from qiskit_runtime_server.simulation.clifford.lowering import Lowering
from qiskit_runtime_server.simulation.clifford.recognition import clifford_rows
from qiskit_runtime_server.simulation.contract import BitTensor, Offer, SampleTask, Simulator, Truncation, sampled
from qiskit_runtime_server.simulation.pauli_propagation import propagation
from qiskit_runtime_server.simulation.pauli_propagation.lowering import Lowering as Propagation
from qiskit_runtime_server.simulation.pauli_propagation.parities import TooManyParitiesError, check
from qiskit_runtime_server.simulation.pauli_propagation.values import TruncationError
from qiskit_runtime_server.simulation.wish import Approximation, Method, Wish

FRAMES: Final = "clifford-frames"
PROPAGATION: Final = "pauli-propagation"
PRODUCT: Final = "product"

# For fewer qubits, exact probabilities cost less.
_LEAST_QUBITS: Final = 12

# What a gate or an error takes to be written, and in a block of shots.
_SECONDS_TO_WRITE: Final = 2e-5
_SECONDS_PER_BLOCK: Final = 1e-5


class Noise(StrEnum):
    """What becomes of a device's errors, as results call it."""

    NONE = "none"
    DEVICE = "device"
    TWIRLED = "pauli-twirled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a part of a circuit is simulated.

    Attributes:
        qubits: Of the device.
        method: As results call it.
        noise: What becomes of the errors.
        seconds: About how long all rows and shots take.
        memory_bytes: What they take beside their bits.
        truncation_error: By how much truncation may change results: the distribution of the outcomes in total variation
            or, of Pauli propagation, each expectation value of a Pauli operator.
        bounded: Whether that is a bound, and no estimate.
    """

    qubits: tuple[int, ...]
    method: str
    noise: Noise
    seconds: float = 0.0
    memory_bytes: int = 0
    truncation_error: float = 0.0
    bounded: bool = True

    @property
    def approximates(self) -> bool:
        """Whether the distribution of the outcomes is not the one that was asked for."""
        return self.noise is Noise.TWIRLED or self.truncation_error > 0

    def document(self) -> dict[str, object]:
        """Return what a result's metadata say of it."""
        return {
            "qubits": list(self.qubits),
            "method": self.method,
            "noise": str(self.noise),
            "truncation_error": self.truncation_error,
            **({} if self.bounded else {"truncation_error_is": "estimate"}),
        }

    def __str__(self) -> str:
        """Return the plan as a line of a job's log has it."""
        count = len(self.qubits)
        what = f"{count} qubit{'s' * (count != 1)} by {self.method}"
        errors = ", errors twirled over the Pauli operators" if self.noise is Noise.TWIRLED else ""
        if self.truncation_error > 0:
            kind = "at most" if self.bounded else "about"
            errors += f", truncated, which may change results by {kind} {self.truncation_error:.2g}"
        most = "at most" if self.method == PROPAGATION else "about"
        time = "for a time that is not known" if math.isinf(self.seconds) else f"{most} {self.seconds:.2g} s"
        return f"{what}{errors}: {time}, {in_words(self.memory_bytes)}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some rows of a task.

    Attributes:
        rows: Their numbers in the task.
        lowering: For frames; None for the executor.
        truncation: For the executor.
    """

    rows: NDArray[np.intp]
    plan: Plan
    lowering: Lowering | None = None
    truncation: Truncation | None = None

    def sample(self, task: SampleTask, executor: Simulator, report: Callable[[Plan], None]) -> BitTensor:
        """Return the bits of the part's rows; `report` is told the plan before."""
        report(self.plan)
        part = task.of_rows(self.rows)
        if self.lowering is None:
            return sampled(executor, replace(part, truncation=self.truncation))
        return sample(self.lowering, part.parameter_values, part.shots, part.seeds)


@dataclass(frozen=True, slots=True, kw_only=True)
class PropagatedPart:
    """Some rows of a task, whose parities are found by Pauli propagation.

    Attributes:
        rows: As in `Part`; so is the next one.
        lowering: Of the task's circuit.
        error: By how much expectation values may be off; 0 if nothing may be left out.
        limit_seconds: For these rows.
        refusal: Why nothing exact can run them; None if this was asked for.
        otherwise: Returns what may run them if the error is too large, or says that nothing does; None if nothing may.
    """

    rows: NDArray[np.intp]
    plan: Plan
    lowering: Propagation
    error: float
    limit_seconds: float
    refusal: CircuitTooLargeError | None
    otherwise: Callable[[], Part] | None

    def sample(self, task: SampleTask, executor: Simulator, report: Callable[[Plan], None]) -> BitTensor:
        """Return bits with the parities of the part's rows; `report` is told the plan before, and the error afterwards.

        Raises:
            CircuitTooLargeError: If the error is too large, or what may not be left out too much.
        """
        report(self.plan)
        try:
            shots = propagation.sample(self.lowering, task.of_rows(self.rows), self.error, self.limit_seconds)
        except TruncationError as error:
            return self._other(error).sample(task, executor, report)
        if shots.error:
            report(replace(self.plan, truncation_error=shots.error, bounded=shots.bounded))
        return shots.bits

    def _other(self, error: TruncationError) -> Part:
        if self.otherwise is None:
            raise self._refused(error.reached) from error
        try:
            return self.otherwise()
        except CircuitTooLargeError:
            raise self._refused(error.reached) from error

    def _refused(self, reached: float) -> CircuitTooLargeError:
        before = f"{self.refusal} " if self.refusal else ""
        if not self.error:
            what = (
                "too many operators to leave none out. It may run with simulator.approximation: truncated, whose error"
                " is told."
            )
        elif reached >= 1:
            what = "too many operators to say anything of an expectation value."
        else:
            what = (
                f"an error of {reached:.2g}, and simulator.max_truncation_error is {self.error:g}. With that error, or"
                " with fewer gates, it would run."
            )
        kind = CircuitTooLargeError if self.refusal is None else type(self.refusal)
        return kind(f"{before}Pauli propagation of {len(self.plan.qubits)} qubits has {what}")


Parts = Sequence[Part | PropagatedPart]


def planned(  # noqa: PLR0913, PLR0917 - what is planned, and within what
    task: SampleTask,
    qubits: Sequence[int],
    executor: Simulator,
    wish: Wish,
    limit_seconds: float = math.inf,
    report: Callable[[Plan], None] = lambda _plan: None,
) -> Parts:
    """Return how a task of several qubits is run, its rows in parts.

    Args:
        task: One component of a circuit.
        qubits: Its qubits' numbers on the device.
        executor: Runs what is not done here.
        wish: What the options say.
        limit_seconds: How long the job may run. A method that takes `PATIENCE` times longer counts as none; one whose
            time is not known does not.
        report: Told of a plan that has to be tried before it is known how much it truncates, before it is; that it
            truncates is told later.

    Raises:
        CircuitTooLargeError: If there is no method; the message says what would run.
        UnsupportedOptionError: If the options want one that cannot run the circuit.
    """
    limited = _Limited(executor, limit_seconds, report)
    everything = np.arange(len(task.seeds))
    if wish.method is Method.PROPAGATION:
        return [_asked_for(task, qubits, everything, limited, wish)]
    if wish.method is Method.EXECUTOR:
        looked_at = _is_looked_at(task, wish)
        return [(_without_frames if looked_at else _by_executor)(task, qubits, everything, limited, wish)]
    if not _is_looked_at(task, wish):
        return [_exact_or_propagated(task, qubits, everything, limited, wish)]
    clifford = clifford_rows(_gates(task.circuit), task.circuit, task.parameter_values)
    if wish.method is Method.CLIFFORD and not clifford.all():
        raise UnsupportedOptionError(
            f"Option simulator.method: clifford cannot run {len(qubits)} entangled qubits of the circuit, which have"
            " gates other than Clifford gates."
        )
    found: list[Part | PropagatedPart] = []
    if clifford.any():
        found.append(_of_clifford(task, qubits, np.flatnonzero(clifford), limited, wish))
    if not clifford.all():
        found.append(_exact_or_propagated(task, qubits, np.flatnonzero(~clifford), limited, wish))
    return found


@dataclass(frozen=True, slots=True)
class _Limited:
    """An executor, how long the job may run, and who is told of what is tried."""

    executor: Simulator
    limit_seconds: float
    report: Callable[[Plan], None]

    @property
    def most_seconds(self) -> float:
        """What is estimated to take longer is refused."""
        return PATIENCE * self.limit_seconds

    def offer(self, task: SampleTask) -> Offer:
        """Return how the executor would run all rows of a task exactly.

        Raises:
            CircuitTooLargeError: If it cannot.
            CircuitTooLongError: If it cannot in time.
        """
        return self._in_time(task, self.executor.offer(task))

    def expected_truncated(self, task: SampleTask, most_error: float) -> Offer | None:
        """Return what trying and running them truncated takes at most; errors as in `offer`."""
        expected = self.executor.expected_truncated(task, most_error)
        return None if expected is None else self._in_time(task, expected)

    def offer_truncated(self, task: SampleTask, most_error: float) -> Offer:
        """Return how it would run them if it may truncate states; errors as in `offer`."""
        return self._in_time(task, self.executor.offer_truncated(task, most_error))

    def _in_time(self, task: SampleTask, offer: Offer) -> Offer:
        seconds = offer.seconds * len(task.seeds)
        if math.isfinite(seconds) and seconds > self.most_seconds:
            fewer = advice.fewer_shots(task, offer, self.executor, self.most_seconds)
            raise CircuitTooLongError(
                f"{task.circuit.num_qubits} qubits of the circuit are entangled: by {offer.method} their simulation"
                f" would take about {seconds:.2g} s with a limit of {self.limit_seconds:g} s, far longer than"
                f" the job may run. {fewer}"
            )
        return replace(offer, seconds=seconds)


def _is_looked_at(task: SampleTask, wish: Wish) -> bool:
    """Return whether frames are worth a look."""
    parts = task.circuit.data
    if any(part.name == "store" or (part.is_control_flow() and not is_carried(part.operation)) for part in parts):
        return False
    asked = wish.method is Method.CLIFFORD or wish.approximation is Approximation.TWIRLED_NOISE
    return asked or task.circuit.num_qubits >= _LEAST_QUBITS


def _gates(circuit: QuantumCircuit) -> Sequence[Instruction]:
    """Return the gates of a circuit, and those under conditions."""
    found: list[Instruction] = []
    for part in circuit.data:
        blocks = part.operation.blocks if part.is_control_flow() else ()
        found += [inner.operation for block in blocks for inner in block.data] if blocks else [part.operation]
    return found


def _of_clifford(
    task: SampleTask, qubits: Sequence[int], rows: NDArray[np.intp], executor: _Limited, wish: Wish
) -> Part | PropagatedPart:
    """Return how rows with Clifford gates only are run."""
    lowering = Lowering(task.circuit, task.noise)
    frames = Part(rows=rows, plan=_frames(task, qubits, len(rows), lowering), lowering=lowering)
    if frames.plan.approximates and wish.approximation is Approximation.NONE:
        return _without_frames(task, qubits, rows, executor, wish)
    if wish.method is Method.CLIFFORD or (
        frames.plan.approximates and wish.approximation is Approximation.TWIRLED_NOISE
    ):
        return frames
    try:
        exact = _exactly(task, qubits, rows, executor)
    except CircuitTooLargeError as error:
        # Whoever asks for truncation wants the errors as they are.
        truncated = frames.plan.approximates and wish.approximation is Approximation.TRUNCATED
        return (_propagated(task, qubits, rows, executor, wish, error) if truncated else None) or frames
    if frames.plan.approximates or exact.plan.seconds <= frames.plan.seconds:
        return exact
    return frames


def _without_frames(
    task: SampleTask, qubits: Sequence[int], rows: NDArray[np.intp], executor: _Limited, wish: Wish
) -> Part | PropagatedPart:
    """Return how the executor runs rows that frames might, or say that they would."""
    if wish.method is Method.CLIFFORD:
        raise UnsupportedOptionError(
            "Option simulator.method: clifford is exact for Pauli errors only, and simulator.approximation is none:"
            " twirled-noise would run the circuit."
        )
    try:
        return _by_executor(task, qubits, rows, executor, wish)
    except CircuitTooLargeError as error:
        if not clifford_rows(_gates(task.circuit), task.circuit, task.parameter_values).all():
            raise
        option = "simulator.method: automatic" if wish.method is Method.EXECUTOR else advice.TWIRLED
        refusal = type(error)(f"{error} Its gates are Clifford gates: it would run with {option}.")
        found = None if wish.method is Method.EXECUTOR else _propagated(task, qubits, rows, executor, wish, refusal)
        if found is None:
            raise refusal from error
        return found


def _by_executor(
    task: SampleTask, qubits: Sequence[int], rows: NDArray[np.intp], executor: _Limited, wish: Wish
) -> Part:
    """Return how the executor runs rows: exactly, or truncated where it cannot and the options allow that.

    Raises:
        CircuitTooLargeError: If it cannot; the message says what would run.
    """
    try:
        return _exactly(task, qubits, rows, executor)
    except CircuitTooLargeError as error:
        if wish.approximation is not Approximation.TRUNCATED:
            hints = advice.other_ways(task, executor.executor)
            raise type(error)(" ".join([str(error), *hints])) from error
        try:
            return _truncated(task, qubits, rows, executor, wish)
        except CircuitTooLargeError as other:
            raise type(other)(f"{error} {other}") from other


def _exactly(task: SampleTask, qubits: Sequence[int], rows: NDArray[np.intp], executor: _Limited) -> Part:
    return _part(task, qubits, rows, executor.offer(task.of_rows(rows)))


def _truncated(task: SampleTask, qubits: Sequence[int], rows: NDArray[np.intp], executor: _Limited, wish: Wish) -> Part:
    part, most_error = task.of_rows(rows), wish.max_truncation_error
    expected = executor.expected_truncated(part, most_error)
    if expected is not None:
        executor.report(_part(task, qubits, rows, replace(expected, truncation_error=0.0)).plan)
    return _part(task, qubits, rows, executor.offer_truncated(part, most_error))


def _exact_or_propagated(
    task: SampleTask, qubits: Sequence[int], rows: NDArray[np.intp], executor: _Limited, wish: Wish
) -> Part | PropagatedPart:
    """Return how rows are run exactly, or by propagation, or otherwise; errors as in `_by_executor`."""
    try:
        return _exactly(task, qubits, rows, executor)
    except CircuitTooLargeError as error:
        found = _propagated(task, qubits, rows, executor, wish, error)
        return _by_executor(task, qubits, rows, executor, wish) if found is None else found


def _asked_for(
    task: SampleTask, qubits: Sequence[int], rows: NDArray[np.intp], executor: _Limited, wish: Wish
) -> PropagatedPart:
    found = _propagated(task, qubits, rows, executor, wish, None)
    if found is None:
        raise UnsupportedOptionError(
            "Option simulator.method: pauli-propagation is for expectation values, of circuits whose gates have at most"
            " 3 qubits each and whose measurements all come last."
        )
    return found


def _propagated(  # noqa: PLR0913, PLR0917 - as its callers, and why it is called
    task: SampleTask,
    qubits: Sequence[int],
    rows: NDArray[np.intp],
    executor: _Limited,
    wish: Wish,
    refusal: CircuitTooLargeError | None,
) -> PropagatedPart | None:
    """Return how rows are run by Pauli propagation; None if they cannot be.

    Raises:
        CircuitTooLargeError: If fewer parities at a time could be, and nothing else is left to try.
    """
    if task.parities is None:
        return None
    lowering = Propagation.of(task.circuit, task.noise)
    if lowering is None:
        return None
    truncated = wish.approximation is Approximation.TRUNCATED
    try:
        for parities in {id(task.parities[row]): task.parities[row] for row in rows.tolist()}.values():
            check(parities)
    except TooManyParitiesError as error:
        if refusal is None:
            raise
        if truncated:
            return None
        raise type(refusal)(f"{refusal} {error}") from error
    most_error = wish.max_truncation_error if truncated else 0.0
    seconds, memory = propagation.limits(len(rows), exact=not truncated)
    plan = Plan(
        qubits=tuple(qubits),
        method=PROPAGATION,
        noise=Noise.NONE if task.noise is None else Noise.DEVICE,
        seconds=min(seconds, executor.limit_seconds),
        memory_bytes=memory,
    )
    return PropagatedPart(
        rows=rows,
        plan=plan,
        lowering=lowering,
        error=most_error,
        limit_seconds=executor.limit_seconds,
        refusal=refusal,
        otherwise=partial(_truncated, task, qubits, rows, executor, wish) if truncated and refusal else None,
    )


def _part(task: SampleTask, qubits: Sequence[int], rows: NDArray[np.intp], offer: Offer) -> Part:
    plan = Plan(
        qubits=tuple(qubits),
        method=offer.method,
        noise=Noise.NONE if task.noise is None else Noise.DEVICE,
        seconds=offer.seconds,
        memory_bytes=offer.memory_bytes,
        truncation_error=offer.truncation_error,
    )
    return Part(rows=rows, plan=plan, truncation=offer.truncation)


def _frames(task: SampleTask, qubits: Sequence[int], rows: int, lowering: Lowering) -> Plan:
    blocks = -(-task.shots // BLOCK_SHOTS)
    noise = Noise.DEVICE if lowering.exact else Noise.TWIRLED
    return Plan(
        qubits=tuple(qubits),
        method=FRAMES,
        noise=Noise.NONE if task.noise is None else noise,
        seconds=len(task.circuit.data) * (_SECONDS_TO_WRITE + blocks * _SECONDS_PER_BLOCK) * rows,
        memory_bytes=block_bytes(len(qubits), task.shots),
    )
