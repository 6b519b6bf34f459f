"""What can be chosen for the executor `custatevec`."""

from dataclasses import dataclass, fields
from typing import Any, Final, Self

from qiskit_runtime_server.errors import StartupError

_PRECISIONS: Final = ("single", "double")
LIMITS: Final = {
    "host_qubits": (0, 3),
    "batched_qubits": (0, 30),
    "fusion": (1, 6),
    "dense_fusion": (1, 10),
    "diagonal_fusion": (0, 20),
    "host_threads": (1, 32),
}
"""The least and the most that options of numbers take; those of cuStateVec's own are its limits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """Options of the executor.

    Attributes:
        precision: `single` (complex64) or `double` (complex128).
        devices: Numbers of the GPUs that one large state is spread over, a power of two; small states use the first.
        host_qubits: By how many qubits a state may outgrow the GPU's memory into that of the host, at most 3. Slower.
        processes: Spread a large state over all processes of an MPI launcher, each of which runs the same program.
        batched_qubits: Up to so many qubits, states are evolved many at a time.
        fusion: How many qubits a product of matrices may have that is worked out on the host for those.
        dense_fusion: The same for dense matrices of large states, 1 to 10; by default cuStateVec's own choice.
        diagonal_fusion: The same for diagonal matrices, 0 to 20.
        host_threads: That cuStateVec uses to fuse, 1 to 32; by default its own choice.
    """

    precision: str = "single"
    devices: tuple[int, ...] = (0,)
    host_qubits: int = 0
    processes: bool = False
    batched_qubits: int = 20
    fusion: int = 4
    dense_fusion: int | None = None
    diagonal_fusion: int | None = None
    host_threads: int | None = None

    @classmethod
    def of(cls, given: dict[str, Any]) -> Self:
        """Return options by their names.

        Raises:
            StartupError: If there is no such option, or it does not take the value.
        """
        known = {field.name for field in fields(cls)}
        if unknown := given.keys() - known:
            raise StartupError(f"The executor has no option {min(unknown)!r}; there are: {', '.join(sorted(known))}.")
        if "devices" in given:
            given = given | {"devices": tuple(given["devices"])}
        options = cls(**given)
        options.check()
        return options

    def check(self) -> None:
        """Check what can be told without a GPU.

        Raises:
            StartupError: If an option does not take its value.
        """
        count = len(self.devices)
        if self.precision not in _PRECISIONS:
            raise self._wrong("precision", f"one of {', '.join(_PRECISIONS)}")
        numbers = {number for number in self.devices if isinstance(number, int)}
        if count == 0 or count & (count - 1) or len(numbers) != count:
            raise self._wrong("devices", "different ones, a power of two of them")
        for name, (least, most) in LIMITS.items():
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and least <= value <= most):
                raise self._wrong(name, f"an integer from {least} to {most}")
        if (self.processes, count > 1, self.host_qubits > 0).count(True) > 1:
            raise StartupError(
                "Of the executor's options devices, host_qubits and processes only one can enlarge a state."
            )

    def _wrong(self, name: str, right: str) -> StartupError:
        return StartupError(f"The executor's option {name} is {getattr(self, name)!r}; it takes {right}.")
