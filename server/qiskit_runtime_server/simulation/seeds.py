"""Seeds: each part of a job draws from a stream of randomness of its own.

A job has a seed, and a stream is named by the way to it from there: pub 3, basis 0, component 1. Streams are
independent of each other, and of the order and the batches in which parts are run, so that every attempt at a job has
the same bits. The way is hashed (Claessen, Palka, https://doi.org/10.1145/2503778.2503784), by NumPy's seed sequences:
it is their spawn key (https://numpy.org/doc/stable/reference/random/parallel.html).

    seeds = SeedPath(job=(7,)).pub(3)
    rng = seeds.folding.generator()
    row_seeds = seeds.basis(0).component(1).rows(slice(0, 100))
"""

from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

_BESIDE: Final = 2**31
"""The key of what stands beside numbered parts, of which there never are as many."""


@dataclass(frozen=True, slots=True)
class SeedPath:
    """The way from a job to one of its streams.

    The numbers behind the names are a promise: with others, seeded jobs would have other bits. Some names are spelled
    by the same number: no part has streams of both.

    Attributes:
        job: All seeds that the job was given; together they fix every bit of its result.
        keys: The numbers of the parts on the way, the outermost first.
    """

    job: tuple[int, ...] = ()
    keys: tuple[int, ...] = ()

    def pub(self, number: int) -> Self:
        """Return the stream of a pub."""
        return self._part(number)

    def item(self, number: int) -> Self:
        """Return the stream of an item of a quantum program."""
        return self._part(number)

    def basis(self, number: int) -> Self:
        """Return the stream of a measurement basis of a pub."""
        return self._part(number)

    def layer(self, number: int) -> Self:
        """Return the stream of a layer, below `learning`, or below a job of the noise learner."""
        return self._part(number)

    def element(self, number: int) -> Self:
        """Return the stream of an element of a sweep, below `randomizations`."""
        return self._part(number)

    def register(self, number: int) -> Self:
        """Return the stream of a classical register, below `points`."""
        return self._part(number)

    def component(self, number: int) -> Self:
        """Return the stream of an independent part of a circuit."""
        return self._part(1 + number)

    @property
    def single_qubits(self) -> Self:
        """The stream of all qubits of a circuit that are alone, together."""
        return self._part(0)

    @property
    def coins(self) -> Self:
        """The stream of a circuit's bits in a dry run."""
        return self._part(0)

    @property
    def shots(self) -> Self:
        """The stream of the shots of an item."""
        return self._part(0)

    @property
    def randomizations(self) -> Self:
        """The stream of what the samplex of an item draws."""
        return self._part(1)

    @property
    def points(self) -> Self:
        """The stream of the points in a receiver's plane, of an item."""
        return self._part(2)

    @property
    def learning(self) -> Self:
        """The stream of the layers that an estimator job has learned, beside its pubs."""
        return self._part(_BESIDE)

    @property
    def calibration(self) -> Self:
        """The stream of the readout errors that TREX measures, beside a pub's bases."""
        return self._part(_BESIDE)

    @property
    def folding(self) -> Self:
        """The stream of the choice of gates that are folded, beside the items of a pub."""
        return self._part(_BESIDE)

    @property
    def readout(self) -> Self:
        """The stream of readout errors of twirled measurements, beside a circuit's components."""
        return self._part(_BESIDE)

    def sequence(self) -> np.random.SeedSequence:
        """Return the source of this stream."""
        return np.random.SeedSequence(list(self.job), spawn_key=self.keys)

    def generator(self) -> np.random.Generator:
        """Return a generator at the beginning of this stream."""
        return np.random.default_rng(self.sequence())

    def rows(self, rows: slice) -> NDArray[np.uint64]:
        """Return a seed for each of the rows from `start` to `stop`, the same whatever other rows are asked for."""
        return self.sequence().generate_state(rows.stop, np.uint64)[rows.start :].astype(np.uint64)

    def _part(self, key: int) -> Self:
        return type(self)(self.job, (*self.keys, key))
