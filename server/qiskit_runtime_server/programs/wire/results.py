"""Writes results as the client's decoder reads them."""

import base64
import io
import zlib
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from qiskit import qpy
from qiskit.circuit import QuantumCircuit
from qiskit.primitives import DataBin
from qiskit_ibm_runtime.execution_span import ExecutionSpans, TwirledSliceSpanV2
from qiskit_ibm_runtime.json import RuntimeEncoder

from qiskit_runtime_server.errors import InternalError

SAMPLE_BYTES: Final = 2**16
WORTHWHILE: Final = 0.9
# Clients up to 0.43 write format 14 whatever their Qiskit; 0.40, the oldest, knows only the first forms of spans,
# which the others read too.
_FIRST_QPY_WITH_SPANS_OF_TODAY: Final = 15


def encode_result(result: object, qpy_version: int | None = None) -> bytes:
    """Return the document that the client's decoder turns back into `result`.

    Args:
        result: Of a program.
        qpy_version: The format of circuits in it; by default that of the newest clients. Older ones read no newer
            format than they write.

    Raises:
        InternalError: If an executor put something into it that clients cannot read.
    """
    document = io.BytesIO()
    try:
        for chunk in _ResultEncoder(qpy_version).iterencode(result):
            document.write(chunk.encode())
    except (TypeError, ValueError) as error:
        raise InternalError(f"The result cannot be sent to the client: {error}") from error
    return document.getvalue()


class _ResultEncoder(RuntimeEncoder):  # type: ignore[misc]  # the client library has no types
    """The client's encoder with faster arrays; numbers in data bins become 0-d arrays, whose `shape` clients read."""

    def __init__(self, qpy_version: int | None) -> None:
        super().__init__()
        self._qpy_version = qpy_version

    def default(self, obj: object) -> object:
        if isinstance(obj, np.ndarray) and obj.dtype != object:
            return {"__type__": "ndarray", "__value__": _packed(obj)}
        if isinstance(obj, np.generic):
            return obj.item()
        if isinstance(obj, QuantumCircuit) and self._qpy_version is not None:
            file = io.BytesIO()
            qpy.dump(obj, file, RuntimeEncoder, version=self._qpy_version)
            return {
                "__type__": "QuantumCircuit",
                "__value__": base64.b64encode(zlib.compress(file.getvalue())).decode(),
            }
        if isinstance(obj, ExecutionSpans | TwirledSliceSpanV2) and self._reads_first_spans():
            return _in_its_first_form(super().default(obj))
        if isinstance(obj, DataBin):
            numbers = (int, float, complex, np.generic)
            fields = {name: np.asarray(value) if isinstance(value, numbers) else value for name, value in obj.items()}
            return {
                "__type__": "DataBin",
                "__value__": {
                    "field_names": list(fields),
                    "field_types": [str(type(value)) for value in fields.values()],
                    "shape": obj.shape,
                    "fields": fields,
                },
            }
        return super().default(obj)

    def _reads_first_spans(self) -> bool:
        return self._qpy_version is not None and self._qpy_version < _FIRST_QPY_WITH_SPANS_OF_TODAY


def _in_its_first_form(span: Mapping[str, Any]) -> dict[str, Any]:
    """Return spans, or a span of twirled shots, as client 0.40 knows them: that has not the shots of each pub."""
    value = span["__value__"]
    if span["__type__"] == "ExecutionSpans":
        return {"__type__": "ExecutionSpanCollection", "__value__": value}
    slices = {index: entry[:-1] for index, entry in value["data_slices"].items()}
    return {"__type__": "TwirledSliceSpan", "__value__": {**value, "data_slices": slices}}


def _packed(array: NDArray[Any]) -> str:
    header = io.BytesIO()
    contiguous = np.ascontiguousarray(array).reshape(array.shape)
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(contiguous))
    data = contiguous.reshape(-1).view(np.uint8).data
    packer = zlib.compressobj(level=compression_level(data[:SAMPLE_BYTES]))
    return base64.b64encode(packer.compress(header.getvalue()) + packer.compress(data) + packer.flush()).decode("ascii")


def compression_level(sample: memoryview) -> int:
    """Return 0 for bits that hardly shrink, as shots of many qubits do not: trying to costs seconds per 100 MB."""
    return 1 if len(zlib.compress(sample, level=1)) < WORTHWHILE * len(sample) else 0
