"""How each method would run some rows of a task: what it takes, and why it cannot. What is chosen, `planner` says.

Frames take a time that grows with gates and shots only (Gidney, 2021, https://doi.org/10.22331/q-2021-07-06-497). Of
propagation, which has to be tried, only its limits are known (Rudolph et al., 2025, https://arxiv.org/abs/2505.21606).
An executor says itself what it takes, exactly or truncated.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.errors import CircuitTooLargeError, CircuitTooLongError
from qiskit_runtime_server.machine import usable_bytes
from qiskit_runtime_server.messages.messages import PATIENCE
from qiskit_runtime_server.simulation import advice
from qiskit_runtime_server.simulation.clifford.frames import BLOCK_SHOTS, block_bytes, sample
from qiskit_runtime_server.simulation.clifford.lowering import Lowering, is_exact
from qiskit_runtime_server.simulation.contract import Offer, SampleTask, Simulator
from qiskit_runtime_server.simulation.near_clifford.library import AMPLITUDE_BYTES, compiled
from qiskit_runtime_server.simulation.near_clifford.lowering import Lowering as NearClifford
from qiskit_runtime_server.simulation.near_clifford.lowering import rotations
from qiskit_runtime_server.simulation.near_clifford.sampling import check_rotations
from qiskit_runtime_server.simulation.near_clifford.sampling import sample as sample_near_clifford
from qiskit_runtime_server.simulation.parts import Part, PropagatedPart
from qiskit_runtime_server.simulation.pauli_propagation import propagation
from qiskit_runtime_server.simulation.pauli_propagation.lowering import Lowering as Propagation
from qiskit_runtime_server.simulation.pauli_propagation.parities import TooManyParitiesError, check
from qiskit_runtime_server.simulation.plan import FRAMES, NEAR_CLIFFORD, PROPAGATION, Noise, Plan
from qiskit_runtime_server.simulation.wish import Approximation, Method, Wish

# What a gate or an error takes to be written, and in a block of shots.
_SECONDS_TO_WRITE: Final = 2e-5
_SECONDS_PER_BLOCK: Final = 1e-5

_LOOKED_AT: Final = 8
"""Sets of values by which near-Clifford circuits are planned, if there are more."""

Rows = NDArray[np.intp]
"""Numbers of rows in a task."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Methods:
    """The methods that may run a task of several qubits.

    Attributes:
        task: One component of a circuit.
        qubits: Its qubits' numbers on the device.
        executor: Runs what is not done here.
        wish: What the options say.
        limit_seconds: How long the job may run.
        report: Told of a plan that has to be tried, before it is.
    """

    task: SampleTask
    qubits: Sequence[int]
    executor: Simulator
    wish: Wish
    limit_seconds: float = math.inf
    report: Callable[[Plan], None] = lambda _plan: None

    def exactly(self, rows: Rows) -> Part:
        """Return how the executor runs rows exactly.

        Raises:
            CircuitTooLargeError: If it cannot.
            CircuitTooLongError: If it cannot in time.
        """
        return self._part(rows, self._in_time(rows, self.executor.offer(self.task.of_rows(rows))))

    def truncated(self, rows: Rows) -> Part:
        """Return how it runs them if it may truncate states; errors as in `exactly`."""
        part, most_error = self.task.of_rows(rows), self.wish.max_truncation_error
        expected = self.executor.expected_truncated(part, most_error)
        if expected is not None:
            expected = self._in_time(rows, replace(expected, truncation_error=0.0))
            self.report(self._part(rows, expected).plan)
        return self._part(rows, self._in_time(rows, self.executor.offer_truncated(part, most_error)))

    def frames(self, rows: Rows) -> Part:
        """Return how rows with Clifford gates only run as Clifford frames."""
        circuit, noise = self.task.circuit, self.task.noise
        blocks = -(-self.task.shots // BLOCK_SHOTS)
        plan = Plan(
            qubits=tuple(self.qubits),
            method=FRAMES,
            noise=self._noise if is_exact(circuit, noise) else Noise.TWIRLED,
            seconds=len(circuit.data) * (_SECONDS_TO_WRITE + blocks * _SECONDS_PER_BLOCK) * len(rows),
            memory_bytes=block_bytes(len(self.qubits), self.task.shots),
        )
        # It takes most of what a plan takes, and another method may be chosen.
        lowering = cache(partial(Lowering, circuit, noise))
        return Part(
            rows=rows,
            plan=plan,
            run=lambda part: sample(lowering(), part.parameter_values, part.shots, part.seeds),
        )

    def near_clifford(self, rows: Rows) -> Part:
        """Return how rows run as near-Clifford circuits, by the one of them with the most rotations.

        Raises:
            CircuitTooLargeError: If they cannot; the message says what would help, or nothing.
            CircuitTooLongError: If they cannot in time.
        """
        circuit, noise = self.task.circuit, self.task.noise
        ideal = NearClifford.of(circuit, None)
        if ideal is None:
            raise CircuitTooLargeError("")
        looked_at = np.unique(self.task.parameter_values[rows], axis=0)
        looked_at = looked_at[:: -(-len(looked_at) // _LOOKED_AT)]
        number, row = max((rotations(ideal.text(row)), row) for row in looked_at.tolist())
        check_rotations(number)
        exact = is_exact(circuit, noise)
        if not exact and self.wish.approximation is Approximation.NONE:
            raise CircuitTooLargeError(
                f"All of its gates but {number} are Clifford gates: it may run with {advice.TWIRLED}."
            )
        lowering = NearClifford(circuit, noise)
        found = compiled(lowering.text(row))
        # It runs on a processor, also where the executor has a GPU.
        most_bytes = min(AMPLITUDE_BYTES << self.executor.capabilities().num_qubits, usable_bytes())
        found.check(most_bytes)
        seconds, most_seconds = found.seconds * self.task.shots * len(rows), PATIENCE * self.limit_seconds
        if seconds > most_seconds:
            shots = int(self.task.shots * most_seconds / seconds)
            raise CircuitTooLongError(
                f"As a near-Clifford circuit its simulation would take about {seconds:.2g} s with a limit of"
                f" {self.limit_seconds:g} s, far longer than the job may run: {shots} shots would run."
            )
        plan = Plan(
            qubits=tuple(self.qubits),
            method=NEAR_CLIFFORD,
            noise=self._noise if exact else Noise.TWIRLED,
            seconds=seconds,
            memory_bytes=found.memory_bytes,
        )
        return Part(
            rows=rows,
            plan=plan,
            run=lambda part: sample_near_clifford(
                lowering, part.parameter_values, part.shots, part.seeds, most_bytes=most_bytes
            ),
        )

    def propagated(self, rows: Rows, refusal: CircuitTooLargeError | None) -> PropagatedPart | None:
        """Return how rows are run by Pauli propagation; None if they cannot be.

        Args:
            rows: Which.
            refusal: Why nothing exact can run them; None if propagation was asked for.

        Raises:
            TooManyParitiesError: If fewer parities at a time could be, and nothing else is left to try.
        """
        lowering = None if self.task.parities is None else Propagation.of(self.task.circuit, self.task.noise)
        if lowering is None:
            return None
        truncated = self.wish.approximation is Approximation.TRUNCATED
        too_many = self._too_many_parities(rows)
        if too_many is not None:
            if refusal is not None and truncated:
                return None
            raise TooManyParitiesError(f"{refusal or ''} {too_many}".lstrip())
        seconds, memory = propagation.limits(len(rows), exact=not truncated)
        plan = Plan(
            qubits=tuple(self.qubits),
            method=PROPAGATION,
            noise=self._noise,
            seconds=min(seconds, self.limit_seconds),
            memory_bytes=memory,
        )
        return PropagatedPart(
            rows=rows,
            plan=plan,
            lowering=lowering,
            error=self.wish.max_truncation_error if truncated else 0.0,
            limit_seconds=self.limit_seconds,
            refusal=refusal,
            otherwise=partial(self._truncated_or_near_clifford, rows) if refusal else None,
        )

    def _truncated_or_near_clifford(self, rows: Rows) -> Part:
        """Return what is left where propagation is not enough; errors as in both."""
        if self.wish.approximation is not Approximation.TRUNCATED:
            return self.near_clifford(rows)
        try:
            return self.truncated(rows)
        except CircuitTooLargeError:
            return self.near_clifford(rows)

    @property
    def _noise(self) -> Noise:
        return Noise.NONE if self.task.noise is None else Noise.DEVICE

    def refused(self, rows: Rows, refusal: CircuitTooLargeError) -> CircuitTooLargeError:
        """Return a refusal of rows that nothing else runs; `TooManyParitiesError` if propagation would with fewer."""
        if self.wish.method is Method.EXECUTOR or self.task.parities is None:
            return refusal
        too_many = self._too_many_parities(rows)
        if too_many is None or Propagation.of(self.task.circuit, self.task.noise) is None:
            return refusal
        return TooManyParitiesError(f"{refusal} {too_many}")

    def _too_many_parities(self, rows: Rows) -> TooManyParitiesError | None:
        """Return why the parities of a row cannot be drawn together; None if those of all rows can be."""
        parities = self.task.parities or ()
        try:
            for each in {id(parities[row]): parities[row] for row in rows.tolist()}.values():
                check(each)
        except TooManyParitiesError as error:
            return error
        return None

    def _part(self, rows: Rows, offer: Offer) -> Part:
        plan = Plan(
            qubits=tuple(self.qubits),
            method=offer.method,
            noise=self._noise,
            seconds=offer.seconds,
            memory_bytes=offer.memory_bytes,
            truncation_error=offer.truncation_error,
            simulator=offer.simulator,
        )
        return Part(rows=rows, plan=plan, truncation=offer.truncation)

    def _in_time(self, rows: Rows, offer: Offer) -> Offer:
        """Return an offer with the seconds that all rows take, or raise `CircuitTooLongError`."""
        seconds, most_seconds = offer.seconds * len(rows), PATIENCE * self.limit_seconds
        if math.isfinite(seconds) and seconds > most_seconds:
            fewer = advice.fewer_shots(self.task.of_rows(rows), offer, self.executor, most_seconds)
            raise CircuitTooLongError(
                f"{self.task.circuit.num_qubits} qubits of the circuit are entangled: by {offer.method} their"
                f" simulation would take about {seconds:.2g} s with a limit of {self.limit_seconds:g} s, far longer"
                f" than the job may run. {fewer}"
            )
        return replace(offer, seconds=seconds)
