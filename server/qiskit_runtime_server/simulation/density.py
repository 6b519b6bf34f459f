"""Evolves density matrices of small noisy circuits, for many values of their parameters at once.

A qubit is part of the state only from its first gate with another qubit to its last one: then it becomes the
distribution of its outcome, errors of reading included, or is traced out if it is not measured. Values that agree in
everything up to some gate share the evolution up to there, so that circuits which differ only in flips before the
measurements are evolved once. All of it is exact. The order of the gates is chosen so that the state stays small, as in
the contraction of a tensor network (Markov, Shi, 2008, https://doi.org/10.1137/050644756); states and channels are
vectors and matrices of Pauli components, as in `channels`.

    ghz on a line, cx q0, q1; cx q1, q2; ...; measure all      q0 is read before q2 begins
    numbers of the state after each gate                       2 * 4, 2 * 2 * 4, ...: not 4^n
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.simulation.channels import GROUND, Act, acts, channels, readout

MAX_JOINED: Final = 3
"""The most qubits of one gate; matrices of more take longer than other methods."""

# Numbers in the states that are evolved together: what fits into a processor's cache.
_TOGETHER: Final = 2**19

# Of one core that evolves many states together.
_PRODUCTS_PER_SECOND: Final = 2e9
_SECONDS_PER_STEP: Final = 2e-5


Exact = tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.float64]]
"""Numbers of some rows of values, for each of them its line in a table, and the table: outcomes' probabilities."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """A gate of several qubits, or the only one of a qubit that has none with others.

    Attributes:
        qubits: Their numbers, the one that varies fastest first.
        gate: None for a lonely qubit.
        before: For each qubit what happens to it alone since its last gate.
        after: For each qubit what happens to it alone in the end, or None if it has another gate.
    """

    qubits: tuple[int, ...]
    gate: Act | None
    before: tuple[tuple[Act, ...], ...]
    after: tuple[tuple[Act, ...] | None, ...]

    def columns(self) -> list[int]:
        """Return the columns of values that this step depends on."""
        alone = [act for block in (*self.before, *self.after) for act in block or ()]
        return sorted({column for act in (*alone, *([self.gate] if self.gate else [])) for column in act.used})


@dataclass(frozen=True, slots=True, kw_only=True)
class _Branch:
    """States on their way through the steps.

    Attributes:
        step: The number of the next one.
        states: Shape ``(b, *sizes.values())``.
        sizes: Of the qubits that are part of the state: 4, or 2 once they are measured.
        rows: Numbers of the sets of values that are on this way.
        places: Which of the b states each of them has.
    """

    step: int
    states: NDArray[np.float64]
    sizes: Mapping[int, int]
    rows: NDArray[np.intp]
    places: NDArray[np.intp]


class Evolution:
    """The steps from a circuit's start to the probabilities of its outcomes."""

    def __init__(self, steps: Sequence[_Step], measured: Sequence[int], model: NoiseModel | None) -> None:
        """Take what `of` has made."""
        self._measured = tuple(measured)
        self._model = model
        self._steps = tuple(steps)
        self._columns = [step.columns() for step in steps]
        self._fixed: dict[int, NDArray[np.float64]] = {}
        self._work, self._largest = [], []
        sizes: Mapping[int, int] = {}
        for step in steps:
            before = math.prod(sizes.values())
            sizes, inner = self._sizes_after(step, sizes)
            after = math.prod(sizes.values())
            self._work.append(inner * after)
            self._largest.append(max(before, after))

    @classmethod
    def of(cls, circuit: QuantumCircuit, measured: Sequence[int], model: NoiseModel | None) -> Self | None:
        """Return the evolution of a circuit whose measurements all come last; None if an instruction is not known.

        Args:
            circuit: Its angles are numbers or bare parameters.
            measured: The qubits whose outcomes are asked for; the first one is the lowest bit of an outcome.
            model: Errors of its qubits, or None.
        """
        found = acts(circuit)
        if found is None or any(len(act.qubits) > MAX_JOINED for act in found):
            return None
        return cls(_ordered(_steps(found, circuit.num_qubits), frozenset(measured)), measured, model)

    @property
    def largest(self) -> int:
        """How many numbers the largest state has, of 8 bytes."""
        return max(self._largest, default=1)

    @property
    def seconds(self) -> float:
        """About how long one set of values takes on one core, of many."""
        return sum(self._work) / _PRODUCTS_PER_SECOND + len(self._steps) * _SECONDS_PER_STEP

    def probabilities(self, values: NDArray[np.float64]) -> Iterator[Exact]:
        """Yield the probabilities of all outcomes, in tables of shape ``(b, 2^measured)``.

        Args:
            values: Shape ``(n, k)``, columns in the order of the circuit's parameters.
        """
        rows = np.arange(len(values))
        start = _Branch(step=0, states=np.ones(1), sizes={}, rows=rows, places=np.zeros_like(rows))
        branches = [start] if len(values) else []
        while branches:
            branch = branches.pop()
            while branch.step < len(self._steps):
                first, *others = self._refined(branch, values)
                branches += others
                branch = self._advanced(first, values)
            yield branch.rows, branch.places, self._table(branch)

    def _refined(self, branch: _Branch, values: NDArray[np.float64]) -> list[_Branch]:
        """Return branches with a state for each of the values that the next step tells apart."""
        columns = self._columns[branch.step]
        if not columns or len(branch.rows) == len(branch.states):
            parents, places = np.arange(len(branch.states)), branch.places
        else:
            table = np.column_stack([branch.places, values[branch.rows][:, columns]])
            distinct, places = np.unique(table, axis=0, return_inverse=True)
            parents, places = distinct[:, 0].astype(np.intp), places.ravel()
        step = max(1, _TOGETHER // self._largest[branch.step])
        parts = []
        for first in range(0, len(parents), step):
            inside = (first <= places) & (places < first + step)
            chosen = parents[first : first + step]
            parts.append(
                replace(branch, states=branch.states[chosen], rows=branch.rows[inside], places=places[inside] - first)
            )
        return parts

    def _advanced(self, branch: _Branch, values: NDArray[np.float64]) -> _Branch:
        """Return a branch after its next step, whose values are the same for all rows of a state."""
        step = self._steps[branch.step]
        examples = np.empty(len(branch.states), dtype=np.intp)
        examples[branch.places] = branch.rows
        matrices = self._matrices(step, values[examples], branch.sizes)
        sizes, inner = self._sizes_after(step, branch.sizes)
        order = list(branch.sizes)
        joined = [order.index(qubit) for qubit in reversed(step.qubits) if qubit in branch.sizes]
        others = [place for place, qubit in enumerate(order) if qubit not in step.qubits]
        states = branch.states.transpose(0, *(1 + place for place in joined + others))
        states = matrices @ states.reshape(len(states), inner, -1)
        return replace(branch, step=branch.step + 1, states=states.reshape(-1, *sizes.values()), sizes=sizes)

    def _sizes_after(self, step: _Step, sizes: Mapping[int, int]) -> tuple[Mapping[int, int], int]:
        """Return the sizes of qubits after a step, and how many columns its matrix has."""
        inner = math.prod(sizes.get(qubit, 1) for qubit in step.qubits)
        own = {}
        for qubit, after in zip(reversed(step.qubits), reversed(step.after), strict=True):
            own[qubit] = 4 if after is None else 2 if qubit in self._measured else 1
        others = {qubit: size for qubit, size in sizes.items() if qubit not in own}
        kept = {qubit: size for qubit, size in own.items() if size > 1}
        return kept | others, inner

    def _matrices(self, step: _Step, values: NDArray[np.float64], sizes: Mapping[int, int]) -> NDArray[np.float64]:
        """Return what a step does to its qubits, shape ``([b,] outer, inner)``."""
        factors = []
        for qubit, before in zip(step.qubits, step.before, strict=True):
            block = self._block(before, values)
            factors.append(block if qubit in sizes else block @ GROUND[:, None])
        matrices = reduce(_kron, factors[::-1])
        if step.gate is not None:
            matrices = self._channels(step.gate, values) @ matrices
        if all(after is None for after in step.after):
            return matrices
        ends = [self._end(qubit, after, values) for qubit, after in zip(step.qubits, step.after, strict=True)]
        return reduce(_kron, ends[::-1]) @ matrices

    def _end(self, qubit: int, after: Sequence[Act] | None, values: NDArray[np.float64]) -> NDArray[np.float64]:
        if after is None:
            return np.eye(4)
        if qubit not in self._measured:
            return np.array([[1.0, 0.0, 0.0, 0.0]])
        return readout(self._model, qubit) @ self._block(after, values)

    def _block(self, block: Sequence[Act], values: NDArray[np.float64]) -> NDArray[np.float64]:
        matrices = (self._channels(act, values) for act in block)
        return reduce(lambda first, second: second @ first, matrices, np.eye(4))

    def _channels(self, act: Act, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return what an act of a step does, worked out once if it does the same for all values."""
        if act.used:
            return channels(act, values, self._model)
        known = self._fixed.get(id(act))
        if known is None:
            known = self._fixed[id(act)] = channels(act, values, self._model)
        return known

    def _table(self, branch: _Branch) -> NDArray[np.float64]:
        order = list(branch.sizes)
        axes = [1 + order.index(qubit) for qubit in reversed(self._measured)]
        table = branch.states.transpose(0, *axes).reshape(len(branch.states), -1)
        # Rounding may leave something below zero.
        return table.clip(min=0.0)


def _kron(left: NDArray[np.float64], right: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the Kronecker products of matrices, either of which may be one for all."""
    product: NDArray[np.float64] = np.einsum("...ij,...kl->...ikjl", left, right)
    *batch, i, k, j, m = product.shape
    return product.reshape(*batch, i * k, j * m)


def _steps(found: Sequence[Act], num_qubits: int) -> list[_Step]:
    waiting: list[list[Act]] = [[] for _ in range(num_qubits)]
    last: dict[int, int] = {}
    gates: list[tuple[Act, tuple[tuple[Act, ...], ...]]] = []
    for act in found:
        if len(act.qubits) == 1:
            waiting[act.qubits[0]].append(act)
            continue
        gates.append((act, tuple(tuple(waiting[qubit]) for qubit in act.qubits)))
        for qubit in act.qubits:
            waiting[qubit] = []
            last[qubit] = len(gates) - 1
    joined = [
        _Step(
            qubits=act.qubits,
            gate=act,
            before=before,
            after=tuple(tuple(waiting[qubit]) if last[qubit] == number else None for qubit in act.qubits),
        )
        for number, (act, before) in enumerate(gates)
    ]
    lonely = [
        _Step(qubits=(qubit,), gate=None, before=((),), after=(tuple(waiting[qubit]),))
        for qubit in range(num_qubits)
        if qubit not in last
    ]
    return joined + lonely


def _ordered(steps: Sequence[_Step], measured: frozenset[int]) -> list[_Step]:
    """Return the steps in an order that keeps the state small: each time the one that makes it grow least."""
    queues: dict[int, list[int]] = {}
    for number in reversed(range(len(steps))):
        for qubit in steps[number].qubits:
            queues.setdefault(qubit, []).append(number)
    begun: set[int] = set()
    ready = {number for number in range(len(steps)) if _is_next(steps[number], number, queues)}
    order = []
    while ready:
        number = min(ready, key=lambda number: (_growth(steps[number], begun, measured), number))
        ready.remove(number)
        order.append(steps[number])
        begun.update(steps[number].qubits)
        for qubit in steps[number].qubits:
            queues[qubit].pop()
        following = {queues[qubit][-1] for qubit in steps[number].qubits if queues[qubit]}
        ready.update(number for number in following if _is_next(steps[number], number, queues))
    return order


def _is_next(step: _Step, number: int, queues: Mapping[int, Sequence[int]]) -> bool:
    return all(queues[qubit][-1] == number for qubit in step.qubits)


def _growth(step: _Step, begun: set[int], measured: frozenset[int]) -> float:
    growth = 1.0
    for qubit, after in zip(step.qubits, step.after, strict=True):
        growth *= (4 if after is None else 2 if qubit in measured else 1) / (4 if qubit in begun else 1)
    return growth
