"""Carries the Pauli frames of many shots through a program, 64 shots to a machine word.

A frame is the product of Pauli operators by which a shot differs from the reference: bits x and z for each qubit. A
Clifford gate acts on these bits as a matrix over two elements, an error flips some of them, and a measurement reads
the reference's bit, flipped where x is set (Gidney, 2021, https://doi.org/10.22331/q-2021-07-06-497, section 2.4):

    h             x and z change places
    cx            x of the target ^= x of the control; z of the control ^= z of the target
    measure       reference ^ x; then z becomes random, as the measured state does not change by Z

Shots come in blocks of at most 4,096, which have seeds of their own, so that a million of them need the memory of one
block beside their bits.
"""

from typing import Final

import numpy as np
import stim
from numpy.typing import NDArray

from qiskit_runtime_server.simulation.clifford.lowering import Gates, Lowering, Measurement, Program
from qiskit_runtime_server.simulation.clifford.random_flips import Events, Source, Table, Words

BLOCK_SHOTS: Final = 4096
_WORD: Final = 64
_ONES: Final = np.uint64(0xFFFFFFFFFFFFFFFF)


def sample(lowering: Lowering, values: NDArray[np.float64], shots: int, seeds: NDArray[np.uint64]) -> NDArray[np.bool_]:
    """Take shots of a circuit for rows of values with which all of its gates are Clifford gates.

    Args:
        lowering: The circuit.
        values: Shape ``(n, k)``, columns in the order of the circuit's parameters.
        shots: For every row.
        seeds: Shape ``(n,)``.

    Returns:
        Shape ``(n, shots, num_clbits)``.
    """
    bits = np.zeros((len(seeds), shots, lowering.num_clbits), dtype=np.bool_)
    rows, places = np.unique(values, axis=0, return_inverse=True)
    for number, row in enumerate(rows.tolist()):
        frames = Frames(lowering.program(row), shots)
        for user in np.flatnonzero(places.ravel() == number).tolist():
            bits[user] = frames.sample(int(seeds[user]))
    return bits


def block_bytes(num_qubits: int, shots: int) -> int:
    """Return about how much memory the frames of a block of shots take, without their bits."""
    # Two bits for each qubit and shot, and some 40 bytes for each error that happens, a few in each shot.
    return min(BLOCK_SHOTS, shots) * (num_qubits // 4 + 400)


class Frames:
    """A program and what is common to all of its blocks of shots."""

    def __init__(self, program: Program, shots: int) -> None:
        """Prepare to take so many shots."""
        self._program = program
        self._shots = shots
        self._width = min(BLOCK_SHOTS, max(_WORD, 1 << (shots - 1).bit_length()))
        self._reference = stim.Circuit(program.reference).reference_sample()
        self._flips = _Flips(program, self._width)
        misread = np.array([m.misread for m in program.measurements], dtype=np.float64).reshape(-1, 2)
        self._misread = Events(misread.ravel(), self._width)
        # Words of random bits: for each qubit at the start, for each reset, for each measurement that is not the last.
        self._random = (
            program.num_qubits
            + sum(len(level.resets) for level in program.levels)
            + sum(not measurement.last for measurement in program.measurements)
        )

    def sample(self, seed: int) -> NDArray[np.bool_]:
        """Return the bits of all shots, shape ``(shots, num_clbits)``."""
        bits = np.zeros((self._shots, self._program.num_clbits), dtype=np.bool_)
        for block, start in enumerate(range(0, self._shots, self._width)):
            part = bits[start : start + self._width]
            words = self._block(Source(seed, block))
            unpacked = np.unpackbits(words.astype("<u8").view(np.uint8), axis=1, count=len(part), bitorder="little")
            part[:] = unpacked.T
        return bits

    def _block(self, source: Source) -> Words:
        """Return the bits of a block, shape ``(num_clbits, words)``, the lowest bit of a word first."""
        program = self._program
        words = self._width // _WORD
        frame = np.zeros((2, program.num_qubits, words), dtype=np.uint64)
        bits = np.zeros((program.num_clbits, words), dtype=np.uint64)
        random = source.words(self._random, words)
        frame[1] = random[: program.num_qubits]
        used = program.num_qubits
        places, masks, conditions, starts = self._flips.draw(source)
        misread = self._misreadings(source)
        flat = frame.reshape(-1)
        # The last one is the condition that always holds.
        decided = np.full((len(program.conditions) + 1, words), _ONES)
        for number, level in enumerate(program.levels):
            flipped = slice(starts[number], starts[number + 1])
            for condition in level.decided:
                decided[condition] = program.conditions[condition].holds(bits)
            happening = masks[flipped]
            if program.conditions:
                happening = happening & decided[conditions[flipped], places[flipped] % words]
            np.bitwise_xor.at(flat, places[flipped], happening)
            for flip in level.flips:
                frame[0, flip.qubit] ^= decided[flip.condition] if flip.x else np.uint64(0)
                frame[1, flip.qubit] ^= decided[flip.condition] if flip.z else np.uint64(0)
            for gates in level.gates:
                _apply(frame, gates)
            if level.resets:
                frame[0, level.resets] = 0
                frame[1, level.resets] = random[used : used + len(level.resets)]
                used += len(level.resets)
            for place in level.measured:
                measurement = program.measurements[place]
                self._measure(measurement, frame, bits, misread[place], reference=bool(self._reference[place]))
                if not measurement.last:
                    frame[1, measurement.qubit] ^= random[used]
                    used += 1
        return bits

    def _measure(self, measurement: Measurement, frame: Words, bits: Words, misread: Words, *, reference: bool) -> None:
        value = frame[0, measurement.qubit]
        outcome = ~value if reference else value
        zeros, ones = misread
        bits[measurement.clbit] = outcome ^ ((outcome & ones) | (~outcome & zeros))

    def _misreadings(self, source: Source) -> Words:
        """Return where each measurement would misread 0, and 1; shape ``(measurements, 2, words)``."""
        found = np.zeros((len(self._program.measurements), 2, self._width // _WORD), dtype=np.uint64)
        events, shots = self._misread.draw(source)
        np.bitwise_xor.at(found.reshape(-1), *_places(events, shots, self._width // _WORD))
        return found


class _Flips:
    """What errors do to frames."""

    def __init__(self, program: Program, width: int) -> None:
        errors = program.errors
        self._words = width // _WORD
        self._num_qubits = program.num_qubits
        chances = np.array([1 - error.channel.chances[0] for error in errors], dtype=np.float64)
        self._events = Events(chances.clip(max=1.0), width)
        self._levels = np.array([error.level for error in errors], dtype=np.intp)
        self._conditions = np.array([error.condition for error in errors], dtype=np.intp)
        self._depth = len(program.levels)
        most = max((len(error.qubits) for error in errors), default=1)
        qubits = np.array([error.qubits + (0,) * (most - len(error.qubits)) for error in errors], dtype=np.intp)
        # The rows of a frame that an error may flip: x and z of each of its qubits.
        self._rows = np.concatenate([qubits, qubits + self._num_qubits], axis=1) if errors else qubits
        letters = np.arange(4**most)[:, None] >> 2 * np.arange(most) & 3
        self._flipped = np.concatenate([(letters == 1) | (letters == 2), letters >= 2], axis=1)  # noqa: PLR2004
        kinds: dict[int, int] = {}
        self._kinds = np.array([kinds.setdefault(id(error.channel), len(kinds)) for error in errors], dtype=np.intp)
        table = np.zeros((len(kinds), 4**most - 1))
        for error in errors:
            others = error.channel.chances[1:]
            table[kinds[id(error.channel)], : len(others)] = others
        totals = table.sum(axis=1, keepdims=True)
        self._products = Table(np.cumsum(table, axis=1) / totals) if kinds else None

    def draw(self, source: Source) -> tuple[NDArray[np.intp], Words, NDArray[np.intp], NDArray[np.intp]]:
        """Return places in a flat frame, what to flip there and when, and where those of each level begin."""
        events, shots = self._events.draw(source)
        if self._products is None or len(events) == 0:
            nothing = np.empty(0, np.intp)
            return nothing, np.empty(0, np.uint64), nothing, np.zeros(self._depth + 1, np.intp)
        products = self._products.draw(self._kinds[events], source) + 1
        hits, kinds = np.nonzero(self._flipped[products])
        numbers = events[hits]
        places, masks = _places(self._rows[numbers, kinds], shots[hits], self._words)
        starts = np.searchsorted(self._levels[numbers], np.arange(self._depth + 1))
        return places, masks, self._conditions[numbers], starts.astype(np.intp)


def _places(rows: NDArray[np.intp], shots: NDArray[np.intp], words: int) -> tuple[NDArray[np.intp], Words]:
    """Return the place of each shot's word in a flat array of rows, and its bit there."""
    return rows * words + (shots >> 6), np.uint64(1) << (shots & 63).astype(np.uint64)


def _apply(frame: Words, gates: Gates) -> None:
    """Multiply the bits of each gate's qubits by its matrix."""
    width = len(gates.qubits)
    old = [frame[kind, gates.qubits[place]] for kind in (0, 1) for place in range(width)]
    for row, action in enumerate(gates.action.tolist()):
        sources = [old[column] for column, used in enumerate(action) if used]
        if len(sources) == 1 and sources[0] is old[row]:
            continue
        new = sources[0]
        for source in sources[1:]:
            new = new ^ source
        frame[row // width, gates.qubits[row % width]] = new
