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
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import numpy as np
from qiskit.circuit import QuantumCircuit

from qiskit_runtime_server.errors import CircuitTooLargeError
from qiskit_runtime_server.executors.aer.circuits import has_loop, leaves, obstacle
from qiskit_runtime_server.simulation.contract import Truncation

LARGEST_BOND: Final = 256
"""Larger ones fit into memory as well, but take hours."""

SMALL_BOND: Final = 8
"""With bonds of at most this, 16 noisy qubits take 35 times less time than as a state vector."""

# What the shots of a row may take with the bonds that truncated states keep.
_TRUNCATED_ROW_SECONDS: Final = 1200.0

_SECONDS_PER_TENSOR: Final = 2e-5
_SECONDS_PER_PRODUCT: Final = 2e-8

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


def seconds_at_most(circuit: QuantumCircuit, order: Sequence[int], bond: int) -> float:
    """Return about how long it takes at most to evolve a state once, if bonds are truncated to `bond`.

    A gate takes what the bonds of the cuts take that it crosses. A bond is at most what the gates so far have made of
    it, and what the qubits on its smaller side can have.

    Args:
        circuit: Without loops.
        order: The qubits as they stand on the line.
        bond: A power of 2.
    """
    line = np.argsort(order)
    exponents = np.zeros(max(1, len(order) - 1), dtype=np.int64)
    most = np.minimum(np.arange(1, len(exponents) + 1), np.arange(len(exponents), 0, -1))
    most = np.minimum(most, bond.bit_length() - 1)
    seconds = 0.0
    for operation, qubits in leaves(circuit, range(circuit.num_qubits)):
        places = line[list(qubits)]
        one, other = (int(places.min()), int(places.max())) if len(qubits) else (0, 0)
        seconds += _SECONDS_PER_TENSOR
        if other > one:
            # A gate of k qubits has an operator Schmidt rank of at most 4^(k / 2), whatever the cut.
            exponents[one:other] += 1 if operation.name in _RANK_TWO else 2 * (len(qubits) // 2)
            bonds = 2.0 ** np.minimum(exponents[one:other], most[one:other])
            seconds += float((_SECONDS_PER_TENSOR + _SECONDS_PER_PRODUCT * bonds**3).sum())
    return seconds


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
    """Return `circuit` with the qubits `order` as its first, second and so on."""
    new = {circuit.qubits[qubit]: circuit.qubits[place] for place, qubit in enumerate(order)}
    written = circuit.copy_empty_like()
    for instruction in circuit.data:
        written.append(instruction.replace(qubits=[new[qubit] for qubit in instruction.qubits]))
    return written


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
