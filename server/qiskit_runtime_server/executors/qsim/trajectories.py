"""Takes the shots of a row: evolves what they have in common once, and what they have not one after the other.

Which error happens hardly depends on the state (`sites`), so it is drawn for all shots before anything is evolved. Most
shots go the usual way for a long time, as errors are rare: the trunk, which is evolved once. A shot leaves it at its
first unusual error, and shots with equal errors go on together. A measurement on the way parts them all.

    20 gates, an error after each; 4 shots      trunk         o--o--o--o--o--o--o--o   two shots, sampled at its end
                                                error at 3             `--o--o--o--o   one shot
                                                error at 5                   `--o--o   one shot

So without noise a state is evolved once, however many shots there are. All numbers that a shot draws come from its own
stream, and follow from the row's seed and the shot's place in the row alone.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.executors.base import BitTensor
from qiskit_runtime_server.executors.qsim.amplitudes import Amplitudes, Floats, sampled, weights
from qiskit_runtime_server.executors.qsim.library import Library, Operation
from qiskit_runtime_server.executors.qsim.sites import Site, flips
from qiskit_runtime_server.simulation.statevector.program import Gate, Measure, Noise, Program, Reset, Run, mapped
from qiskit_runtime_server.simulation.statevector.random_streams import RandomStreams

# Choices of errors and draws that are held at a time.
_MOST_CHOICES: Final = 2**23
# Of a norm squared, at least; amplitudes of single precision begin to lose digits at 1e-38.
_LEAST_NORM: Final = 1e-20

Item = Gate | Site | Measure | Reset


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How qsim evolves states; see `Library.evolved`."""

    threads: int
    max_fused_gate_size: int


@dataclass(frozen=True, slots=True)
class _Draws:
    """What chance says of some shots.

    Attributes:
        choices: For each site the operator of each shot.
        numbers: For each site whose draws may need norms, and each measurement and reset, each shot's draw.
        firsts: For each shot the place of the first item at which it leaves the trunk.
        ends: A draw for each shot's last measurements.
    """

    choices: Mapping[int, NDArray[np.int16]]
    numbers: Mapping[int, Floats]
    firsts: NDArray[np.int64]
    ends: Floats


class Trajectories:
    """Takes shots of a program without decisions."""

    def __init__(self, library: Library, program: Program, settings: Settings) -> None:
        """Prepare a program whose steps are runs, measurements and resets."""
        self._library = library
        self._program = program
        self._settings = settings
        sites: dict[tuple[int, tuple[int, ...]], Site] = {}
        self._items = list(_items(program, sites))
        self._parting = next(
            (place for place, item in enumerate(self._items) if isinstance(item, Measure | Reset)), len(self._items)
        )
        self._fixed = {
            place: Operation.of(item.fixed[0], item.qubits)
            for place, item in enumerate(self._items)
            if isinstance(item, Gate) and item.fixed is not None
        }

    def sample(self, values: Floats, seed: int, shots: int) -> BitTensor:
        """Return the bits of a row, shape ``(shots, clbits)``; `values` has shape ``(parameters,)``."""
        gates = {
            place: self._fixed.get(place) or Operation.of(item.matrices(values[None])[0], item.qubits)
            for place, item in enumerate(self._items)
            if isinstance(item, Gate)
        }
        bits = np.zeros((shots, self._program.num_clbits), dtype=np.bool_)
        step = max(1, _MOST_CHOICES // max(1, len(self._items) - len(gates)))
        for start in range(0, shots, step):
            places = np.arange(start, min(start + step, shots), dtype=np.uint64)
            streams = RandomStreams(np.full(len(places), seed, dtype=np.uint64), places)
            draws = self._draws(streams)
            found = _Found(
                np.zeros((len(self._items), len(places)), dtype=np.bool_) if self._parts else None,
                np.zeros(len(places), dtype=np.int64),
            )
            self._evolve(gates, draws, found)
            bits[start : start + step] = self._read(found, streams)
        return bits

    @property
    def _parts(self) -> bool:
        """Whether there are measurements or resets on the way."""
        return self._parting < len(self._items)

    def _draws(self, streams: RandomStreams) -> _Draws:
        choices: dict[int, NDArray[np.int16]] = {}
        numbers: dict[int, Floats] = {}
        firsts: NDArray[np.int64] | None = None
        for place, item in enumerate(self._items):
            if isinstance(item, Gate):
                continue
            drawn = streams.take()
            if firsts is None:
                firsts = np.full(len(drawn), self._parting, dtype=np.int64)
            if not isinstance(item, Site):
                numbers[place] = drawn
                continue
            choices[place] = chosen = item.choices(drawn)
            if item.needs_norms:
                numbers[place] = drawn
            unusual = (chosen != item.usual) & (firsts > place)
            firsts[unusual] = place
        ends = streams.take()
        if firsts is None:
            firsts = np.full(len(ends), self._parting, dtype=np.int64)
        return _Draws(choices, numbers, firsts, ends)

    def _evolve(self, gates: Mapping[int, Operation], draws: _Draws, found: "_Found") -> None:
        """Find out what each shot measures."""
        trunk, place = _Path(self._library, self._program.num_qubits, self._settings), 0
        for first in np.unique(draws.firsts).tolist():
            self._along(trunk, range(place, first), gates)
            place = first
            shots = np.flatnonzero(draws.firsts == first)
            if first == len(self._items):
                self._end(trunk, shots, draws, found)
                continue
            for together in self._groups(first, shots, draws):
                self._branch(trunk.branched(), first, together, gates, draws, found)

    def _along(self, trunk: "_Path", places: range, gates: Mapping[int, Operation]) -> None:
        for place in places:
            item = self._items[place]
            if isinstance(item, Site):
                trunk.apply(item.operations[item.usual], item.shrinks(item.usual))
            else:
                trunk.apply(gates[place])

    def _groups(self, first: int, shots: NDArray[np.int64], draws: _Draws) -> Iterator[NDArray[np.int64]]:
        """Yield the shots whose states are equal from here on."""
        if self._parts:
            yield from shots[:, None]
            return
        sites = [place for place in draws.choices if place >= first]
        table = np.stack([draws.choices[place][shots] for place in sites], axis=1)
        norms = np.array([len(self._site(place).bounds) for place in sites])
        alone = (table == norms).any(axis=1)
        yield from shots[alone][:, None]
        alike: dict[bytes, list[int]] = {}
        for shot, row in zip(shots[~alone].tolist(), table[~alone], strict=True):
            alike.setdefault(row.tobytes(), []).append(shot)
        yield from map(np.array, alike.values())

    def _branch(  # noqa: PLR0913, PLR0917 - what a path needs
        self,
        path: "_Path",
        first: int,
        shots: NDArray[np.int64],
        gates: Mapping[int, Operation],
        draws: _Draws,
        found: "_Found",
    ) -> None:
        """Follow shots that stay together from an item to the end."""
        shot = int(shots[0])
        for place in range(first, len(self._items)):
            item = self._items[place]
            if isinstance(item, Gate):
                path.apply(gates[place])
            elif isinstance(item, Site):
                choice, share = int(draws.choices[place][shot]), None
                if choice == len(item.bounds):
                    choice, share = item.by_norms(path.state(), float(draws.numbers[place][shot]))
                path.apply(item.operations[choice], item.shrinks(choice) if share is None else share)
            else:
                outcome = path.measure(item.qubit, float(draws.numbers[place][shot]), reset=isinstance(item, Reset))
                assert found.outcomes is not None  # noqa: S101 - there are measurements
                found.outcomes[place, shot] = outcome
        self._end(path, shots, draws, found)

    def _site(self, place: int) -> Site:
        item = self._items[place]
        assert isinstance(item, Site)  # noqa: S101 - the caller has found one there
        return item

    def _end(self, path: "_Path", shots: NDArray[np.int64], draws: _Draws, found: "_Found") -> None:
        if self._program.ends:
            found.indices[shots] = sampled(path.state(), draws.ends[shots])

    def _read(self, found: "_Found", streams: RandomStreams) -> BitTensor:
        """Return the bits of what was measured, read with errors."""
        program = self._program
        bits = np.zeros((len(found.indices), program.num_clbits), dtype=np.bool_)
        for place, item in enumerate(self._items):
            if isinstance(item, Measure):
                assert found.outcomes is not None  # noqa: S101 - there is a measurement
                bits[:, item.clbit] = found.outcomes[place]
                mapped(bits, [] if item.misread is None else [item.misread], streams.take)
        if program.ends:
            ends = (found.indices[:, None] >> np.array(program.ends) & 1).astype(np.bool_)
            mapped(ends, program.maps, streams.take)
            bits[:, list(program.clbits)] = ends[:, : len(program.clbits)]
        return bits


@dataclass(frozen=True, slots=True)
class _Found:
    """What shots have measured.

    Attributes:
        outcomes: On the way, for each item; None if nothing is measured there.
        indices: Of the amplitudes that they end in.
    """

    outcomes: BitTensor | None
    indices: NDArray[np.int64]


class _Path:
    """A state, and what is still to be applied to it; amplitudes are never written to, so paths may share them."""

    def __init__(
        self, library: Library, num_qubits: int, settings: Settings, amplitudes: Amplitudes | None = None
    ) -> None:
        """Begin with |0...0>, or with what another path has come to."""
        self._library = library
        self._num_qubits = num_qubits
        self._settings = settings
        self._amplitudes = amplitudes
        self._waiting: list[Operation] = []
        self._norm = 1.0

    def branched(self) -> "_Path":
        """Return a path that goes on from here."""
        amplitudes = self._amplitudes if self._amplitudes is None and not self._waiting else self.state()
        path = _Path(self._library, self._num_qubits, self._settings, amplitudes)
        path._norm = self._norm
        return path

    def apply(self, operation: Operation | None, share: float = 1.0) -> None:
        """Apply a matrix, which leaves at least a share of the norm squared; None is the identity."""
        if operation is not None:
            self._waiting.append(operation)
        self._norm *= share
        if self._norm < _LEAST_NORM:
            state = self.state()
            self._amplitudes = state / np.float32(np.sqrt(weights(state, 0).sum()))
            self._norm = 1.0

    def state(self) -> Amplitudes:
        """Return the amplitudes, whose norm need not be 1."""
        if self._waiting or self._amplitudes is None:
            if self._amplitudes is None and not self._waiting:
                self._amplitudes = np.zeros(1 << self._num_qubits, dtype=np.complex64)
                self._amplitudes[0] = 1
                return self._amplitudes
            self._amplitudes = self._library.evolved(
                self._amplitudes,
                self._waiting,
                self._num_qubits,
                threads=self._settings.threads,
                max_fused_gate_size=self._settings.max_fused_gate_size,
            )
            self._waiting = []
        return self._amplitudes

    def measure(self, qubit: int, draw: float, *, reset: bool) -> bool:
        """Return the outcome of a measurement, after which the state has collapsed, and is |0> there if `reset`."""
        chances = weights(self.state(), qubit)
        total = chances.sum()
        # Rounding must not make an outcome of weight 0 possible.
        outcome = int(chances[1] > 0 and (draw * total >= chances[0]))
        self.apply(flips(qubit)[2 if reset and outcome else outcome], float(chances[outcome] / total))
        return bool(outcome)


def _items(program: Program, known: dict[tuple[int, tuple[int, ...]], Site]) -> Iterator[Item]:
    """Yield what a program does, one after the other; equal errors of the same qubits are one site."""
    for step in program.steps:
        if isinstance(step, Measure | Reset):
            yield step
            continue
        assert isinstance(step, Run)  # noqa: S101 - the caller has looked for decisions
        for part in step.steps:
            if isinstance(part, Noise):
                key = (id(part.channel), part.qubits)
                if key not in known:
                    known[key] = Site.of(part.channel, part.qubits)
                yield known[key]
            else:
                yield part
