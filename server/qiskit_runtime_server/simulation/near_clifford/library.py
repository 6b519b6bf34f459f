"""The one place where clifft is called (Chase, Labib, 2026, https://arxiv.org/abs/2604.27058), which needs Python 3.12.

It is compiled for several vector instructions and draws its own random numbers (xoshiro256++). With shots one by one,
`batch_size=1`, the bits of a seed are the same on all of them; another version may have others.
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.util import find_spec
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.errors import CircuitTooLargeError
from qiskit_runtime_server.machine import in_words

AMPLITUDE_BYTES: Final = 16

# Of one core: what an error or a measurement takes in each shot, and what an amplitude does each time it is changed.
_SECONDS_PER_STEP: Final = 1.5e-8
_SECONDS_PER_AMPLITUDE: Final = 5e-9

# What changes all amplitudes.
_DENSE: Final = frozenset({"rotation_promote", "rotation_neutral", "measure_active"})


@cache
def is_installed() -> bool:
    """Return whether clifft is there."""
    return find_spec("clifft") is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """A circuit that is ready to run.

    Attributes:
        width: The state has at most 2^width amplitudes.
        seconds: About how long a shot takes.
    """

    program: Any
    width: int
    seconds: float

    @property
    def memory_bytes(self) -> int:
        """What the state takes."""
        return 2 * AMPLITUDE_BYTES << self.width

    def check(self, most_bytes: int) -> None:
        """See whether the state fits.

        Raises:
            CircuitTooLargeError: If it takes more than `most_bytes`.
        """
        if self.memory_bytes > most_bytes:
            raise CircuitTooLargeError(
                f"As a near-Clifford circuit its state takes {in_words(self.memory_bytes)}, and there are"
                f" {in_words(most_bytes)}: with fewer gates that are no Clifford gates it would run."
            )

    def sample(self, shots: int, seed: int) -> NDArray[np.bool_]:
        """Return the outcomes of all measurements, as none of them is misread; shape ``(shots, measurements)``."""
        import clifft  # noqa: PLC0415 - optional

        found = clifft.sample(self.program, shots, seed=seed, threads=1, batch_size=1)
        return np.asarray(found.measurements, dtype=np.bool_)


# A circuit is planned, then run.
@lru_cache(maxsize=1)
def compiled(text: str) -> Compiled:
    """Compile a circuit in Stim's format, with clifft's rotations in half turns."""
    import clifft  # noqa: PLC0415 - optional

    operations = clifft.trace(clifft.parse(text))
    clifft.default_hir_pass_manager().run(operations)
    trace = clifft.active_width_trace(operations)
    dense = sum(2.0**width for width, kind in zip(trace["widths"], trace["effects"], strict=True) if kind in _DENSE)
    seconds = _SECONDS_PER_STEP * len(trace["widths"]) + _SECONDS_PER_AMPLITUDE * dense
    return Compiled(program=clifft.lower(operations), width=int(trace["peak"]), seconds=seconds)
