"""Arrays in NumPy's format, from outside: the header is held against the data before anything is made of them."""

import io
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray


def read_array(data: bytes) -> NDArray[Any]:
    """Return the array of numbers in `data`, which it shares memory with.

    Raises:
        ValueError: If it is none, or has another size than it says; and whatever NumPy raises on damaged headers.
    """
    shape, fortran, dtype, start = _header(data)
    if dtype.kind not in "biufc":
        raise ValueError(f"arrays of dtype {dtype} are not supported.")
    return np.frombuffer(data, dtype, offset=start).reshape(shape, order="F" if fortran else "C")


def check_array(data: bytes) -> None:
    """Check that `data` are an array without Python objects in it, as large as it says; errors as in `read_array`."""
    _, _, dtype, _ = _header(data)
    if dtype.hasobject:
        raise ValueError(f"arrays of dtype {dtype} are not supported.")


def _header(data: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    stream = io.BytesIO(data)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    version = np.lib.format.read_magic(stream)
    if version not in readers:
        raise ValueError(f"arrays in version {version} of numpy's format are not supported.")
    shape, fortran, dtype = readers[version](stream)
    start = stream.tell()
    if any(size < 0 for size in shape) or len(data) - start != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"an array of shape {shape} and dtype {dtype} has {len(data) - start} bytes.")
    return shape, fortran, dtype, start
