"""Runs what was planned, some rows of a task each: by the executor, by the engine's own methods, or by propagation.

The error of a propagation is known only when it has ended (Rudolph et al., 2025, https://arxiv.org/abs/2505.21606), so
what was planned as one may still turn to truncated states, or be refused.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.errors import CircuitTooLargeError
from qiskit_runtime_server.simulation.contract import BitTensor, SampleTask, Simulator, Truncation, sampled
from qiskit_runtime_server.simulation.pauli_propagation import propagation
from qiskit_runtime_server.simulation.pauli_propagation.lowering import Lowering as Propagation
from qiskit_runtime_server.simulation.pauli_propagation.values import TruncationError
from qiskit_runtime_server.simulation.plan import Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """Some rows of a task.

    Attributes:
        rows: Their numbers in the task.
        run: Returns the bits of rows of the task; None for the executor.
        truncation: For the executor.
    """

    rows: NDArray[np.intp]
    plan: Plan
    run: Callable[[SampleTask], BitTensor] | None = None
    truncation: Truncation | None = None

    def sample(self, task: SampleTask, executor: Simulator, report: Callable[[Plan], None]) -> BitTensor:
        """Return the bits of the part's rows; `report` is told the plan before."""
        report(self.plan)
        part = task.of_rows(self.rows)
        return sampled(executor, replace(part, truncation=self.truncation)) if self.run is None else self.run(part)


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
            what = "too many operators to say anything of an expectation value. With fewer gates it may run."
        else:
            what = (
                f"an error of {reached:.2g}, and simulator.max_truncation_error is {self.error:g}. With that error, or"
                " with fewer gates, it would run."
            )
        kind = CircuitTooLargeError if self.refusal is None else type(self.refusal)
        return kind(f"{before}Pauli propagation of {len(self.plan.qubits)} qubits has {what}")


Parts = Sequence[Part | PropagatedPart]
