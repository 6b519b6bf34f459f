"""What can be chosen for the executor `qsim`."""

from dataclasses import dataclass, fields
from typing import Any, Final, Self

from qiskit_runtime_server.errors import StartupError

_PRECISIONS: Final = ("single", "double")
# qsim has kernels for matrices of so many qubits.
_GATE_SIZES: Final = (1, 6)
_MOST_THREADS: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the executor.

    Attributes:
        precision: `single` (complex64), or `double` (complex128): then everything runs as on the executor `aer`.
        max_fused_gate_size: How many qubits a product of gates may have that qsim applies at once, 1 to 6. It changes
            rounding, and with it, once in a while, a bit of a seed.
        threads: By default as many cores as a slot has.
    """

    precision: str = "single"
    max_fused_gate_size: int = 3
    threads: int | None = None

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """Return options by their names.

        Raises:
            StartupError: If there is no such option, or it does not take the value.
        """
        known = sorted(field.name for field in fields(cls))
        if unknown := given.keys() - set(known):
            raise StartupError(f"The executor has no option {min(unknown)!r}; there are: {', '.join(known)}.")
        options = cls(**given)
        if options.precision not in _PRECISIONS:
            raise options._wrong("precision", f"one of {', '.join(_PRECISIONS)}")
        if not _is_within(options.max_fused_gate_size, *_GATE_SIZES):
            raise options._wrong("max_fused_gate_size", "an integer from {} to {}".format(*_GATE_SIZES))
        if options.threads is not None and not _is_within(options.threads, 1, _MOST_THREADS):
            raise options._wrong("threads", f"an integer from 1 to {_MOST_THREADS}")
        return options

    def _wrong(self, name: str, right: str) -> StartupError:
        return StartupError(f"The executor's option {name} is {getattr(self, name)!r}; it takes {right}.")


def _is_within(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
