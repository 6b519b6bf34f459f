"""Matrix product states: how large their bonds may become, the order of qubits that keeps them small, and their errors.

A state of qubits on a line is a product of matrices, one for each qubit; between two neighbours they are as large as
the Schmidt rank of the cut there (Vidal, 2003, https://doi.org/10.1103/PhysRevLett.91.147902). A gate of two qubits
multiplies the ranks of all cuts between them, so the order of the qubits on the line matters:

    gates of a tree of 40 qubits, level by level    2^20
    the same, each subtree in one piece             2^5

Of a state that is truncated, a cut keeps the largest Schmidt coefficients, and loses the weight w of the others. The
fidelity with the exact state is close to the product of all (1 - w) (Zhou, Stoudenmire, Waintal, 2020,
https://doi.org/10.1103/PhysRevX.10.041038), and outcomes differ by a total variation of at most sqrt(1 - fidelity)
(Fuchs, van de Graaf, 1999, https://doi.org/10.1109/18.761271).
"""

import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from qiskit.circuit import Instruction, QuantumCircuit
from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.errors import CircuitTooLargeError
from qiskit_runtime_server.executors.aer.circuits import has_loop, is_mixture, leaves, obstacle
from qiskit_runtime_server.simulation.contract import Truncation
from qiskit_runtime_server.simulation.noise import errors_of

LARGEST_BOND: Final = 256
"""Larger ones fit into memory as well, but take hours."""

SMALL_BOND: Final = 8
"""With bonds of at most this, 16 noisy qubits take 35 times less time than as a state vector."""

# What the shots of a row may take with the bonds that truncated states keep.
_TRUNCATED_ROW_SECONDS: Final = 1200.0

_SECONDS_PER_TENSOR: Final = 2e-5
_SECONDS_PER_PRODUCT: Final = 2e-8

# Of a core, measured with Aer 0.18 and bonds of 2 to 256. A gate of a pair contracts and decomposes matrices of twice
# the bond; errors that are no mixtures, and measurements in trajectories, go through the matrices of all qubits.
_SECONDS_PER_MATRIX_ROW: Final = 2e-7
_SECONDS_PER_DECOMPOSED: Final = 5e-9
_SECONDS_PER_KRAUS: Final = 6e-7
_SECONDS_PER_MEASUREMENT: Final = 5e-8
# Of a qubit in a shot that is drawn from a state that stays.
_SECONDS_PER_SITE: Final = 3e-6
_SECONDS_PER_DRAW: Final = 6e-9

# Gates of two qubits that are sums of two products of gates of one.
_RANK_TWO: Final = frozenset(
    {"cx", "cy", "cz", "ch", "cp", "crx", "cry", "crz", "cs", "csdg", "csx", "cu", "ecr", "rxx", "ryy", "rzz", "rzx"}
)
_PAIR: Final = 2

# Aer does not log what is less.
_UNLOGGED_WEIGHT: Final = 1e-8
_DISCARDED: Final = re.compile(r"discarded_value=([^,}\s]+)")


def bond_bound(circuit: QuantumCircuit, order: Sequence[int] | None = None) -> int | None:
    """Return the bond dimension that a matrix product state of `circuit` cannot exceed; None if it is not known.

    A gate of two qubits multiplies the bonds between them by its operator Schmidt rank, at most 4. Of alternatives, all
    gates are counted.

    Args:
        circuit: Gates of one and two qubits, and control flow without loops; others have no bound.
        order: The qubits as they stand on the line; by default as in the circuit.
    """
    ranks = _ranks(circuit)
    return None if ranks is None else _bound(ranks, range(circuit.num_qubits) if order is None else order)


def _ranks(circuit: QuantumCircuit) -> dict[tuple[int, int], int] | None:
    """Return the logarithms of the ranks of all gates of each pair of qubits; None if there are others or loops."""
    if has_loop(circuit):
        return None
    found: dict[tuple[int, int], int] = {}
    for operation, qubits in leaves(circuit, range(circuit.num_qubits)):
        if len(qubits) > _PAIR:
            return None
        if len(qubits) == _PAIR:
            pair = (min(qubits), max(qubits))
            found[pair] = found.get(pair, 0) + (1 if operation.name in _RANK_TWO else 2)
    return found


def _bound(ranks: Mapping[tuple[int, int], int], order: Sequence[int]) -> int:
    line = np.argsort(order)
    exponents = np.zeros(max(1, len(order) - 1), dtype=np.int64)
    for pair, rank in ranks.items():
        one, other = sorted(line[list(pair)].tolist())
        exponents[one:other] += rank
    ends = np.minimum(np.arange(1, len(exponents) + 1), np.arange(len(exponents), 0, -1))
    bond: int = 2 ** int(np.minimum(exponents, ends).max())
    return bond


def seconds_of(bond: int, instructions: float) -> float:
    """Return about how long so many instructions take."""
    return (_SECONDS_PER_TENSOR + _SECONDS_PER_PRODUCT * bond**3) * instructions


def truncation_within(most_error: float, circuit: QuantumCircuit, evolutions: int) -> Truncation:
    """Return how states are truncated, so that results change by no more than `most_error` if bonds suffice.

    By the circuit and its shots alone: a row's bits must not depend on other rows, nor on what time is left.

    Args:
        most_error: Total variation.
        circuit: To be simulated.
        evolutions: How often a row's state is evolved.

    Raises:
        CircuitTooLargeError: If circuits of its kind have no truncated states.
    """
    unknown = "loops" if has_loop(circuit) else obstacle(circuit)
    if unknown is not None:
        raise CircuitTooLargeError(f"There are no truncated matrix product states for circuits with {unknown}.")
    bond = LARGEST_BOND
    while bond > SMALL_BOND and evolutions * seconds_of(bond, len(circuit.data)) > _TRUNCATED_ROW_SECONDS:
        bond //= 2
    return Truncation(bond=bond, weight=most_error**2 / (2 * decompositions(circuit)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """About how long matrix product states take at most.

    Attributes:
        evolution: To evolve a state once.
        shot: To draw one more shot from a state that was evolved.
    """

    evolution: float
    shot: float


def seconds_at_most(circuit: QuantumCircuit, order: Sequence[int], bond: int, noise: NoiseModel | None) -> Seconds:
    """Return about how long states take at most, if bonds are truncated to `bond`.

    A gate takes what the bonds of the cuts take that it crosses, twice but for the last, as its qubits are brought side
    by side and back. A bond is at most what the gates so far have made of it, and what the qubits on its smaller side
    can have. Errors that are no mixtures take far more than gates: how likely each operator is depends on the state.

    Args:
        circuit: Without loops.
        order: The qubits as they stand on the line.
        bond: A power of 2.
        noise: Errors of its qubits, or None.
    """
    line = np.argsort(order).tolist()
    cuts = max(1, len(order) - 1)
    most = [min(place + 1, cuts - place, bond.bit_length() - 1) for place in range(cuts)]
    exponents, elements = [0] * cuts, cuts
    kraus = _kraus_counter(noise)
    seconds = 0.0
    for operation, qubits in leaves(circuit, range(circuit.num_qubits)):
        places = [line[qubit] for qubit in qubits]
        one, other = (min(places), max(places)) if places else (0, 0)
        # A gate of k qubits has an operator Schmidt rank of at most 4^(k / 2), whatever the cut.
        rank = 1 if operation.name in _RANK_TWO else 2 * (len(qubits) // 2)
        for cut in range(one, other):
            exponent = min(exponents[cut] + rank, most[cut])
            elements += 4**exponent - 4 ** exponents[cut]
            exponents[cut] = exponent
            seconds += (2 if cut > one else 1) * _decomposition_seconds(1 << exponent)
        error_seconds = _SECONDS_PER_TENSOR + _SECONDS_PER_KRAUS * elements
        seconds += _SECONDS_PER_TENSOR + kraus(operation, qubits) * error_seconds
        if operation.name in {"measure", "reset"} and noise is not None:
            seconds += _SECONDS_PER_MEASUREMENT * elements
    return Seconds(evolution=seconds, shot=len(order) * _SECONDS_PER_SITE + _SECONDS_PER_DRAW * elements)


def _decomposition_seconds(bond: int) -> float:
    return _SECONDS_PER_TENSOR + _SECONDS_PER_MATRIX_ROW * bond**2 + _SECONDS_PER_DECOMPOSED * bond**3


def _kraus_counter(noise: NoiseModel | None) -> Callable[[Instruction, tuple[int, ...]], int]:
    """Return a function that returns how many errors of an instruction are no mixtures."""
    if noise is None:
        return lambda _operation, _qubits: 0
    known: dict[str, bool] = {}

    def count(operation: Instruction, qubits: tuple[int, ...]) -> int:
        errors = errors_of(noise, operation, qubits)
        for error in errors:
            if error.id not in known:
                known[error.id] = not is_mixture(error)
        return sum(known[error.id] for error in errors)

    return count


def placed(circuit: QuantumCircuit, enough: int = LARGEST_BOND) -> tuple[list[int], int | None]:
    """Return the order of qubits in which a state's bonds are bounded best, and that bound.

    It is the circuit's own order if its bound is at most `enough`, or no other is better.
    """
    own = list(range(circuit.num_qubits))
    ranks = _ranks(circuit)
    if ranks is None:
        return own, None
    bond = _bound(ranks, own)
    if bond <= enough:
        return own, bond
    order = _along_the_tree(circuit.num_qubits, ranks)
    other = _bound(ranks, order)
    return (order, other) if other < bond else (own, bond)


def in_order(circuit: QuantumCircuit, order: Sequence[int]) -> QuantumCircuit:
    """Return `circuit` with the qubits `order` as its first, second and so on, each pair side by side for its gates.

    Aer swaps qubits of such a pair itself, but not back: bonds would grow with an order that is none of ours. Gates in
    blocks of control flow are left to it.
    """
    line = np.argsort(order).tolist()
    places = {qubit: line[number] for number, qubit in enumerate(circuit.qubits)}
    written = circuit.copy_empty_like()
    apart: tuple[int, int] | None = None
    for instruction in circuit.data:
        own = [places[qubit] for qubit in instruction.qubits]
        pair = _apart(own) if instruction.operation.name != "barrier" and not instruction.is_control_flow() else None
        if pair != apart:
            _swap(written, apart, back=True)
            _swap(written, pair)
            apart = pair
        if pair is not None:
            own = [pair[0] + (place != pair[0]) for place in own]
        written.append(instruction.replace(qubits=[circuit.qubits[place] for place in own]))
    _swap(written, apart, back=True)
    return written


def _apart(places: Sequence[int]) -> tuple[int, int] | None:
    """Return the places of a pair that does not stand side by side, the lower one first; None for all others."""
    return (min(places), max(places)) if len(places) == _PAIR and max(places) - min(places) > 1 else None


def _swap(circuit: QuantumCircuit, pair: tuple[int, int] | None, *, back: bool = False) -> None:
    """Append the swaps that bring the upper one of a pair beside the lower one, or back."""
    first, last = pair or (0, 0)
    steps = range(first + 1, last)
    for place in steps if back else reversed(steps):
        circuit.swap(place, place + 1)


def beginning(circuit: QuantumCircuit, share: float) -> QuantumCircuit:
    """Return the first instructions of a circuit, `share` of them, then measurements of all qubits.

    Aer leaves out what no measurement depends on.
    """
    first = circuit.copy_empty_like()
    for instruction in circuit.data[: int(share * len(circuit.data))]:
        first.append(instruction)
    first.measure_all()
    return first


def decompositions(circuit: QuantumCircuit) -> int:
    """Return how many gates of two qubits there are, after each of which a bond is truncated."""
    pairs = sum(len(qubits) == _PAIR for _, qubits in leaves(circuit, range(circuit.num_qubits)))
    return max(1, pairs)


def truncation_error(log: str, decomposed: int) -> float:
    """Return the total variation to which what was discarded may amount.

    Args:
        log: Aer's, of the shots of one evolution.
        decomposed: How many decompositions it has, of which those that discard next to nothing are not logged.
    """
    weights = [min(1.0, float(weight)) for weight in _DISCARDED.findall(log)]
    fidelity = math.prod(1 - weight for weight in weights) * (1 - _UNLOGGED_WEIGHT) ** decomposed
    return math.sqrt(1 - fidelity)


class Log:
    """Aer's log of matrix product states, which it never empties in a process."""

    def __init__(self) -> None:
        self._seen = 0

    def new(self, metadata: Mapping[str, object]) -> str:
        """Return what an experiment has added to the log, given its metadata."""
        text = str(metadata["MPS_log_data"])[1:-1]
        added = text[self._seen :]
        self._seen = len(text)
        return added


def _along_the_tree(num_qubits: int, pairs: Iterable[tuple[int, int]]) -> list[int]:
    """Return the qubits as a walk through the graph of `pairs` meets them, which leaves each subtree before the next.

    The tree is of the first paths from the qubit with the fewest neighbours; smaller subtrees come first, so that few
    gates stand open while the largest is walked through.
    """
    neighbours: list[dict[int, None]] = [{} for _ in range(num_qubits)]
    for one, other in pairs:
        neighbours[one][other] = None
        neighbours[other][one] = None
    parents: dict[int, int] = {}
    found: list[int] = []
    for start in sorted(range(num_qubits), key=lambda qubit: len(neighbours[qubit])):
        if start in parents:
            continue
        parents[start] = start
        queue = [start]
        for qubit in queue:
            new = [other for other in neighbours[qubit] if other not in parents]
            parents.update(dict.fromkeys(new, qubit))
            queue += new
        sizes = dict.fromkeys(queue, 1)
        children: dict[int, list[int]] = {qubit: [] for qubit in queue}
        for qubit in reversed(queue[1:]):
            sizes[parents[qubit]] += sizes[qubit]
            children[parents[qubit]].append(qubit)
        stack = [start]
        while stack:
            qubit = stack.pop()
            found.append(qubit)
            stack += sorted(children[qubit], key=lambda child: -sizes[child])
    return found
