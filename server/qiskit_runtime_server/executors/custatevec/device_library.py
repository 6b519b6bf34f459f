"""CuPy and cuStateVec, found and checked; what is missing is said in one line.

Written for cuStateVec 1.15 (cuQuantum 26.9), by its headers and the docstrings of its bindings.
"""

import ctypes
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Final

from qiskit_runtime_server.errors import OutOfMemoryError, StartupError
from qiskit_runtime_server.simulation.statevector.memory import shortage

_OLDEST: Final = 11500
_EXTRA: Final = "pip install 'qiskit-runtime-server[custatevec]' (CUDA 12) or '[custatevec-cu13]' (CUDA 13)"

# cudaDataType of complex64 and complex128.
_C_32F: Final = 4
_C_64F: Final = 5
_CUDA_MEMORY_ALLOCATION: Final = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Library:
    """The three modules, and the numbers that states are made of.

    Attributes:
        cupy: CuPy.
        sv: `cuquantum.bindings.custatevec`.
        ex: `cuquantum.bindings.custatevecEx`.
        data_type: The cudaDataType of amplitudes.
        dtype: The same for CuPy.
    """

    cupy: Any
    sv: Any
    ex: Any
    data_type: int
    dtype: str

    @classmethod
    def of(cls, cupy: Any, sv: Any, ex: Any, *, single: bool) -> "Library":  # noqa: ANN401 - modules
        """Put modules together for a precision."""
        dtype = "complex64" if single else "complex128"
        return cls(cupy=cupy, sv=sv, ex=ex, data_type=_C_32F if single else _C_64F, dtype=dtype)

    @property
    def amplitude_bytes(self) -> int:
        """The size of an amplitude."""
        return 8 if self.data_type == _C_32F else 16

    def stream(self) -> int:
        """Return the stream in whose order CuPy fills arrays, and gives out their memory again.

        What is freed while work with it is queued stays as it was until then if that work is queued here, too.
        """
        return int(self.cupy.cuda.get_current_stream().ptr)

    def free_bytes(self) -> int:
        """Return what can be allocated on the current device."""
        self.cupy.get_default_memory_pool().free_all_blocks()
        return int(self.cupy.cuda.runtime.memGetInfo()[0])

    @contextmanager
    def allocating(self, count: int, num_qubits: int, needed: int) -> Iterator[None]:
        """Say what `needed` bytes were for if the device's memory runs out in the context.

        Raises:
            OutOfMemoryError: With what is needed and what is free.
        """
        try:
            yield
        except self.cupy.cuda.memory.OutOfMemoryError as error:
            raise self._out_of_memory(count, num_qubits, needed) from error
        except self.sv.cuStateVecError as error:
            if error.status not in {self.sv.Status.ALLOC_FAILED, self.sv.Status.DEVICE_ALLOCATOR_ERROR}:
                raise
            raise self._out_of_memory(count, num_qubits, needed) from error
        except self.cupy.cuda.runtime.CUDARuntimeError as error:
            if error.status != _CUDA_MEMORY_ALLOCATION:
                raise
            raise self._out_of_memory(count, num_qubits, needed) from error

    def check_free(self, count: int, num_qubits: int, needed: int) -> None:
        """Check that `needed` bytes can be allocated on the current device.

        Raises:
            OutOfMemoryError: If they cannot.
        """
        if needed > self.free_bytes():
            raise self._out_of_memory(count, num_qubits, needed)

    def _out_of_memory(self, count: int, num_qubits: int, needed: int) -> OutOfMemoryError:
        return OutOfMemoryError(shortage(count, num_qubits, needed, self.free_bytes()))


def load(*, single: bool) -> Library:
    """Return the library, for complex64 or complex128.

    Raises:
        StartupError: If the driver, a package, a library or a GPU is missing; the message says which.
    """
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError as error:
        raise StartupError(
            "The executor custatevec needs an NVIDIA GPU, and this machine has no NVIDIA driver (libcuda.so.1)."
        ) from error
    cupy, sv, ex = _modules()
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError as error:
        raise StartupError(f"The executor custatevec needs an NVIDIA GPU: {error}.") from error
    if count == 0:
        raise StartupError("The executor custatevec needs an NVIDIA GPU, and the driver shows none.")
    return Library.of(cupy, sv, ex, single=single)


def _modules() -> tuple[ModuleType, ModuleType, ModuleType]:
    try:
        with warnings.catch_warnings():
            # CuPy warns of libraries that it would like to have and that are not used here.
            warnings.simplefilter("ignore")
            import cupy  # noqa: PLC0415 - not everybody has it
            from cuquantum.bindings import custatevec, custatevecEx  # noqa: PLC0415 - as above
        found = int(custatevec.get_version())
    except (ImportError, OSError, RuntimeError) as error:
        reason = str(error).splitlines()[0]
        raise StartupError(
            f"The executor custatevec needs CuPy and cuStateVec: {_EXTRA}. {type(error).__name__}: {reason}"
        ) from error
    if found < _OLDEST:
        raise StartupError(f"The executor custatevec needs cuStateVec {_OLDEST} or later, this is {found}: {_EXTRA}.")
    return cupy, custatevec, custatevecEx
