"""Takes the shots of a row: evolves what they have in common once, and what they have not one after the other.

Which error happens hardly depends on the state (`sites`), so it is drawn for all shots before anything is evolved. Most
shots go the usual way for a long time, as errors are rare: the trunk, which is evolved once. A shot leaves it where its
first unusual error is, and shots with equal errors go on together. A measurement on the way parts them all.

    20 blocks with errors; 4 shots              trunk         o--o--o--o--o--o--o--o   two shots, sampled at its end
                                                error in 3            `--o--o--o--o--o   one shot
                                                error in 5                  `--o--o--o   one shot

So without noise a state is evolved once, however many shots there are. What goes the usual way is a matrix for each
block (`blocks`), worked out once; only blocks in which something unusual happens are multiplied anew. All numbers that
a shot draws come from its own stream, and follow from the row's seed and the shot's place in the row alone.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.executors.base import BitTensor
from qiskit_runtime_server.executors.qsim.amplitudes import Floats, sampled
from qiskit_runtime_server.executors.qsim.blocks import Block, Item, blocks, product
from qiskit_runtime_server.executors.qsim.library import Library, Operation
from qiskit_runtime_server.executors.qsim.path import Path, Settings
from qiskit_runtime_server.executors.qsim.sites import Site
from qiskit_runtime_server.executors.qsim.stars import in_stars
from qiskit_runtime_server.simulation.statevector.program import Gate, Measure, Program, Reset, mapped
from qiskit_runtime_server.simulation.statevector.random_streams import RandomStreams
from qiskit_runtime_server.simulation.statevector.state_port import Matrices

# Choices of errors and draws that are held at a time.
_MOST_CHOICES: Final = 2**23
# Of the matrices of some rows, which are lists: 32 bytes each.
_MOST_NUMBERS: Final = 2**18


@dataclass(frozen=True, slots=True)
class _Draws:
    """What chance says of some shots.

    Attributes:
        choices: The operator of each site for each shot, shape ``(chances, shots)``; 0 for measurements and resets.
        numbers: Each shot's draw, for sites whose draws may need norms, and for measurements and resets.
        firsts: For each shot the block in which it leaves the trunk.
        ends: A draw for each shot's last measurements.
    """

    choices: NDArray[np.int16]
    numbers: Mapping[int, Floats]
    firsts: NDArray[np.int64]
    ends: Floats


@dataclass(frozen=True, slots=True)
class Row:
    """What follows from a row's parameter values.

    Attributes:
        number: Of the row in `gates`.
        gates: The matrices of the gates that have parameters, each for some rows, by the ids of these gates.
        usual: What each block is if the usual happens; nothing for the identity, and for measurements and resets.
    """

    number: int
    gates: Mapping[int, Matrices]
    usual: Sequence[Sequence[Operation]]

    def matrix(self, gate: Gate) -> Matrices:
        """Return a gate's matrix in this row."""
        found: Matrices = self.gates[id(gate)][self.number] if gate.fixed is None else gate.fixed[0]
        return found


@dataclass(frozen=True, slots=True)
class _Found:
    """What shots have measured.

    Attributes:
        outcomes: On the way, shape ``(chances, shots)``; None if nothing is measured there.
        indices: Of the amplitudes that they end in.
    """

    outcomes: BitTensor | None
    indices: NDArray[np.int64]


class Trajectories:
    """Takes shots of a program without decisions.

    All that depends on chance, errors, measurements and resets, is numbered: these are the chances.
    """

    def __init__(self, library: Library, program: Program, settings: Settings) -> None:
        """Prepare a program whose steps are runs, measurements and resets."""
        self._library = library
        self._program = program
        self._settings = settings
        self._blocks = blocks(program)
        chances = [[item for item in block.items if not isinstance(item, Gate)] for block in self._blocks]
        self._chances = [item for each in chances for item in each]
        self._first_chance = [0, *accumulate(map(len, chances))]
        self._block_of = np.repeat(np.arange(len(chances)), [len(each) for each in chances])
        self._usual = np.array([_usual(item) for item in self._chances], dtype=np.int16)
        # What a choice is that is made by norms.
        self._by_norms = np.array([len(item.bounds) if isinstance(item, Site) else -1 for item in self._chances])
        self._shares = np.array([_share(block) for block in self._blocks])
        self._partings = [number for number, block in enumerate(self._blocks) if _parts(block)]
        matrices = [None if _varies(block) else _usually(block, {}) for block in self._blocks]
        operations = map(_operation, self._blocks, matrices)
        self._fixed = [[] if operation is None else [operation] for operation in operations]
        self._varying = {number: block for number, block in enumerate(self._blocks) if _varies(block)}
        if not self._chances and not self._varying:
            placed = zip(self._blocks, matrices, strict=True)
            whole = in_stars((block.qubits, matrix) for block, matrix in placed if matrix is not None)
            # All is followed together.
            self._fixed = self._fixed if whole is None else [whole, *([] for _ in self._blocks[1:])]

    def rows(self, values: Floats) -> Iterator[Row]:
        """Yield what rows of parameter values, shape ``(rows, parameters)``, are sampled with, made some at a time."""
        numbers = sum(2 * 4 ** len(block.qubits) for block in self._varying.values())
        step = _MOST_NUMBERS // max(1, numbers) or 1
        for start in range(0, len(values), step):
            yield from self._rows(values[start : start + step])

    def sample(
        self, row: Row, seed: int, shots: int, advance: Callable[[float], None] = lambda _share: None
    ) -> BitTensor:
        """Return the bits of a row, shape ``(shots, clbits)``.

        Args:
            row: As from `rows`.
            seed: Of the row.
            shots: How many are taken.
            advance: Told which share of them was followed to its end, as often as some were.
        """
        done = 0
        bits = np.zeros((shots, self._program.num_clbits), dtype=np.bool_)
        step = max(1, _MOST_CHOICES // max(1, len(self._chances)))
        for start in range(0, shots, step):
            places = np.arange(start, min(start + step, shots), dtype=np.uint64)
            streams = RandomStreams(np.full(len(places), seed, dtype=np.uint64), places)
            draws = self._draws(streams)
            found = _Found(
                np.zeros((len(self._chances), len(places)), dtype=np.bool_) if self._partings else None,
                np.zeros(len(places), dtype=np.int64),
            )
            for more in self._evolve(row, draws, found):
                done += more
                advance(done / shots)
            bits[start : start + step] = self._read(found, streams)
        return bits

    def _rows(self, values: Floats) -> Iterator[Row]:
        gates = {
            id(item): item.matrices(values)
            for block in self._varying.values()
            for item in block.items
            if isinstance(item, Gate) and item.fixed is None
        }
        tables: dict[int, list[Operation]] = {}
        for number, block in self._varying.items():
            matrices = _usually(block, gates)
            assert matrices is not None  # noqa: S101 - there is a gate
            tables[number] = Operation.each(matrices, block.qubits)
        for row in range(len(values)):
            usual = [[tables[place][row]] if place in tables else fixed for place, fixed in enumerate(self._fixed)]
            yield Row(row, gates, usual)

    def _draws(self, streams: RandomStreams) -> _Draws:
        numbers: dict[int, Floats] = {}
        choices: list[NDArray[np.int16]] = []
        for chance, item in enumerate(self._chances):
            drawn = streams.take()
            choices.append(item.choices(drawn) if isinstance(item, Site) else np.zeros(len(drawn), dtype=np.int16))
            if not isinstance(item, Site) or item.needs_norms:
                numbers[chance] = drawn
        ends = streams.take()
        table = np.array(choices, dtype=np.int16).reshape(len(choices), len(ends))
        parting = self._partings[0] if self._partings else len(self._blocks)
        unusual = table != self._usual[:, None]
        # One row more: who leaves nowhere.
        blocks_of = np.append(self._block_of, parting)
        first = np.concatenate([unusual, np.ones((1, len(ends)), dtype=np.bool_)]).argmax(axis=0)
        return _Draws(table, numbers, np.minimum(blocks_of[first], parting), ends)

    def _evolve(self, row: Row, draws: _Draws, found: _Found) -> Iterator[int]:
        """Find out what each shot measures, and yield how many, as often as some of them are known."""
        trunk, block = Path(self._library, self._program.num_qubits, self._settings), 0
        for first in np.unique(draws.firsts).tolist():
            self._follow(trunk, row, block, first)
            block = first
            shots = np.flatnonzero(draws.firsts == first)
            if first == len(self._blocks):
                self._end(trunk, shots, draws, found)
                yield len(shots)
                continue
            for together in self._groups(shots, draws):
                self._branch(trunk.branched(), first, together, row, draws, found)
                yield len(together)

    def _follow(self, path: Path, row: Row, begin: int, end: int) -> None:
        """Go the usual way from one block to another."""
        path.follow(row.usual[begin:end], self._shares[begin:end])

    def _groups(self, shots: NDArray[np.int64], draws: _Draws) -> Iterator[NDArray[np.int64]]:
        """Yield the shots whose states are equal from where they leave the trunk on."""
        if self._partings:
            yield from shots[:, None]
            return
        table = np.ascontiguousarray(draws.choices[:, shots].T)
        alone = (table == self._by_norms).any(axis=1)
        yield from shots[alone][:, None]
        alike: dict[bytes, list[int]] = {}
        for shot, choices in zip(shots[~alone].tolist(), table[~alone], strict=True):
            alike.setdefault(choices.tobytes(), []).append(shot)
        yield from map(np.array, alike.values())

    def _branch(  # noqa: PLR0913, PLR0917 - what a path needs
        self, path: Path, first: int, shots: NDArray[np.int64], row: Row, draws: _Draws, found: _Found
    ) -> None:
        """Follow shots that stay together from a block to the end."""
        shot = int(shots[0])
        unusual = self._block_of[draws.choices[:, shot] != self._usual]
        begin = first
        for number in sorted({*unusual.tolist(), *(parting for parting in self._partings if parting >= first)}):
            self._follow(path, row, begin, number)
            self._apply(path, number, shot, row, draws, found)
            begin = number + 1
        self._follow(path, row, begin, len(self._blocks))
        self._end(path, shots, draws, found)

    def _apply(  # noqa: PLR0913, PLR0917 - as above
        self, path: Path, number: int, shot: int, row: Row, draws: _Draws, found: _Found
    ) -> None:
        """Apply a block in which a shot goes its own way."""
        block, chance = self._blocks[number], self._first_chance[number]
        parts: list[tuple[tuple[int, ...], Matrices]] = []
        share = 1.0
        for item in block.items:
            if isinstance(item, Gate):
                parts.append((item.qubits, row.matrix(item)))
                continue
            if isinstance(item, Site):
                choice = int(draws.choices[chance, shot])
                if choice == len(item.bounds):
                    path.apply(_operation(block, product(block.qubits, parts)), share)
                    parts = []
                    choice, share = item.by_norms(path.state(), float(draws.numbers[chance][shot]))
                else:
                    share *= item.shrinks(choice)
                matrix = item.matrices[choice]
                if matrix is not None:
                    parts.append((item.qubits, matrix))
            else:
                outcome = path.measure(item.qubit, float(draws.numbers[chance][shot]), reset=isinstance(item, Reset))
                assert found.outcomes is not None  # noqa: S101 - there are measurements
                found.outcomes[chance, shot] = outcome
            chance += 1
        path.apply(_operation(block, product(block.qubits, parts)), share)

    def _end(self, path: Path, shots: NDArray[np.int64], draws: _Draws, found: _Found) -> None:
        if self._program.ends:
            found.indices[shots] = sampled(path.state(), draws.ends[shots])

    def _read(self, found: _Found, streams: RandomStreams) -> BitTensor:
        """Return the bits of what was measured, read with errors."""
        program = self._program
        bits = np.zeros((len(found.indices), program.num_clbits), dtype=np.bool_)
        for chance, item in enumerate(self._chances):
            if isinstance(item, Measure):
                assert found.outcomes is not None  # noqa: S101 - there is a measurement
                bits[:, item.clbit] = found.outcomes[chance]
                mapped(bits, [] if item.misread is None else [item.misread], streams.take)
        if program.ends:
            ends = (found.indices[:, None] >> np.array(program.ends) & 1).astype(np.bool_)
            mapped(ends, program.maps, streams.take)
            bits[:, list(program.clbits)] = ends[:, : len(program.clbits)]
        return bits


def _usual(item: Site | Measure | Reset) -> int:
    return item.usual if isinstance(item, Site) else 0


def _share(block: Block) -> float:
    """Return to which part a block may take a state's norm squared, at least, if the usual happens."""
    return float(np.prod([item.shrinks(item.usual) for item in block.items if isinstance(item, Site)]))


def _parts(block: Block) -> bool:
    return isinstance(block.items[0], Measure | Reset)


def _varies(block: Block) -> bool:
    return any(isinstance(item, Gate) and item.fixed is None for item in block.items)


def _matrix(item: Item, gates: Mapping[int, Matrices]) -> Matrices | None:
    """Return what usually is applied; None for the identity."""
    if isinstance(item, Site):
        return item.matrices[item.usual]
    assert isinstance(item, Gate)  # noqa: S101 - the caller has looked
    return gates[id(item)] if item.fixed is None else item.fixed[0]


def _usually(block: Block, gates: Mapping[int, Matrices]) -> Matrices | None:
    """Return what a block is if the usual happens, in each row if it has parameters; None is the identity."""
    parts = ((item.qubits, _matrix(item, gates)) for item in block.items if isinstance(item, Gate | Site))
    return product(block.qubits, [(qubits, matrix) for qubits, matrix in parts if matrix is not None])


def _operation(block: Block, matrix: Matrices | None) -> Operation | None:
    return None if matrix is None else Operation.of(matrix, block.qubits)
