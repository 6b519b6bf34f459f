"""The one place where qsim is called: its compiled module, without the Cirq objects that its package wraps around it.

qsim fuses the gates of a circuit into matrices of a few qubits and applies these one after the other, vectorized and on
several threads (Isakov et al., 2021, https://arxiv.org/abs/2111.02396). Each amplitude is worked out on its own, so the
state is the same for any number of threads. Processors with other vector instructions may round differently.
"""

import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.errors import InternalError, OutOfMemoryError, StartupError
from qiskit_runtime_server.executors.qsim.amplitudes import Amplitudes
from qiskit_runtime_server.machine import in_words

AMPLITUDE_BYTES: Final = 8
LARGEST_GATE: Final = 6
"""How many qubits a matrix may have."""

_PROCESSORS: Final = ("x86_64", "amd64")
# By what qsim_decide.detect_instructions() returns; otherwise the one without vector instructions.
_VARIANTS: Final[Mapping[int, str]] = {0: "qsim_avx512", 1: "qsim_avx2", 2: "qsim_sse"}


@dataclass(frozen=True, slots=True)
class Operation:
    """A matrix on some qubits, unitary or not, as qsim takes it.

    Attributes:
        numbers: Real and imaginary parts by turns, row by row.
        qubits: The last one is the lowest bit of a row and a column.
        control: A further qubit: where it is |0>, nothing happens.
    """

    numbers: list[float]
    qubits: list[int]
    control: int | None = None

    @classmethod
    def of(cls, matrix: NDArray[np.complex128], qubits: Sequence[int], control: int | None = None) -> Self:
        """Return a matrix, shape ``(2^k, 2^k)``, whose lowest bit is that of the first of `qubits`, as in Qiskit."""
        (found,) = cls.each(matrix[None], qubits)
        return found if control is None else replace(found, control=control)

    @classmethod
    def each(cls, matrices: NDArray[np.complex128], qubits: Sequence[int]) -> list[Self]:
        """Return matrices on the same qubits, shape ``(n, 2^k, 2^k)``; see `of`."""
        numbers = np.ascontiguousarray(matrices, dtype=np.complex64).reshape(len(matrices), -1).view(np.float32)
        order = list(reversed(qubits))
        return [cls(row, order) for row in numbers.tolist()]


class Library:
    """Evolves states."""

    def __init__(self, module: ModuleType) -> None:
        """Take the module, the variant for this processor's vector instructions."""
        self._module = module

    def evolved(
        self,
        state: Amplitudes | None,
        operations: Sequence[Operation],
        num_qubits: int,
        *,
        threads: int,
        max_fused_gate_size: int,
    ) -> Amplitudes:
        """Return what operations, at least one, make of a state, shape ``(2^n,)``; None is |0...0>.

        The state that is given stays as it is.

        Raises:
            OutOfMemoryError: If there is no memory for another state.
        """
        circuit = self._module.Circuit()
        circuit.num_qubits = num_qubits
        add = self._module.add_matrix_gate
        for time, operation in enumerate(operations):
            add(time, operation.qubits, operation.numbers, circuit)
            if operation.control is not None:
                self._module.control_last_gate([operation.control], [1], circuit)
        options = {**_OPTIONS, "c": circuit, "t": threads, "f": max_fused_gate_size}
        _check_room(num_qubits)
        found = self._module.qsim_simulate_fullstate(options, 0 if state is None else state.view(np.float32))
        if found.size != 2 << num_qubits:
            # It has written the reason to stderr.
            raise InternalError(f"qsim returned {found.size} numbers for a state of {num_qubits} qubits.")
        amplitudes: Amplitudes = found.view(np.complex64)
        return amplitudes


# No GPU, no messages, denormal numbers as they are; nothing here draws from the seed.
_OPTIONS: Final[dict[str, Any]] = {"g": False, "gmode": 0, "z": False, "v": 0, "s": 1}


def _check_room(num_qubits: int) -> None:
    """Raise `OutOfMemoryError` if there is no memory for another state: qsim would end the process."""
    try:
        np.empty(2 << num_qubits, dtype=np.float32)
    except MemoryError as error:
        needed = in_words(AMPLITUDE_BYTES << num_qubits)
        raise OutOfMemoryError(
            f"There is no memory for another state of {num_qubits} qubits: {needed} needed."
        ) from error


@cache
def library() -> Library:
    """Return qsim for this processor, loaded and tried once.

    Raises:
        StartupError: If it is not installed, or does not run here; the message says what to do.
    """
    machine = platform.machine().lower()
    if machine not in _PROCESSORS:
        raise StartupError(
            f"The executor qsim needs qsimcirq, which is published for x86_64 only; this processor is {machine}: the"
            " executor aer runs here."
        )
    package = find_spec("qsimcirq")
    if package is None or not package.submodule_search_locations:
        raise StartupError(
            'The executor qsim needs the package qsimcirq: pip install "qiskit-runtime-server[qsim]", or, in a'
            ' checkout, pip install ".[qsim]".'
        )
    try:
        found = Library(_module(Path(package.submodule_search_locations[0])))
        _try_out(found)
    except (ImportError, OSError, AttributeError, TypeError) as error:
        raise StartupError(f"The package qsimcirq that is installed cannot be used: {error}") from error
    return found


def _module(folder: Path) -> ModuleType:
    variant = _VARIANTS.get(_extension(folder, "qsim_decide").detect_instructions(), "qsim_basic")
    return _extension(folder, variant)


def _extension(folder: Path, name: str) -> ModuleType:
    """Return a compiled module of the package, without the package: that takes seconds, as it imports Cirq."""
    full = f"qsimcirq.{name}"
    if full not in sys.modules:
        path = next((path for suffix in EXTENSION_SUFFIXES if (path := folder / f"{name}{suffix}").is_file()), None)
        if path is None:
            raise ImportError(f"there is no {name} for this Python in {folder}")
        loader = ExtensionFileLoader(full, str(path))
        spec = spec_from_file_location(full, path, loader=loader)
        assert spec is not None  # noqa: S101 - it has a loader
        module = module_from_spec(spec)
        loader.exec_module(module)
        # Where the package is imported too, it must not register the same types a second time.
        sys.modules[full] = module
    return sys.modules[full]


def _try_out(found: Library) -> None:
    """Raise `StartupError` unless three qubits get the state that they should: half of |000>, half of -|110>."""
    h = Operation.of(np.array([[1, 1], [1, -1]]) / np.sqrt(2), [1])
    cx = Operation.of(np.eye(4)[[0, 3, 2, 1]].astype(np.complex128), [1, 2])
    controlled_z = Operation.of(np.diag([1, -1]).astype(np.complex128), [1], control=2)
    half = found.evolved(None, [h], 3, threads=1, max_fused_gate_size=2)
    state = found.evolved(half, [cx, controlled_z], 3, threads=1, max_fused_gate_size=2)
    wanted = np.zeros(8)
    wanted[[0, 6]] = np.sqrt(0.5), -np.sqrt(0.5)
    if not np.allclose(state, wanted, atol=1e-6):
        raise StartupError(f"The package qsimcirq that is installed simulates wrongly here: {state} is not {wanted}.")
