"""Results as plain JSON, for clients without Qiskit: bits as hexadecimal strings, arrays as lists.

A client asks for this form by sending ``support_qiskit: false``, or by not sending ``support_qiskit`` at all. The
schemas are those of IBM's service:
https://github.com/Qiskit/ibm-quantum-schemas/blob/main/schemas/sampler_result_v2_schema.json
https://github.com/Qiskit/ibm-quantum-schemas/blob/main/schemas/estimator_result_v2_schema.json
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from qiskit import qasm3
from qiskit.primitives import BitArray, PrimitiveResult
from qiskit.quantum_info import PauliList
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.execution_span import ExecutionSpans
from qiskit_ibm_runtime.execution_span.execution_span import ExecutionSpan
from qiskit_ibm_runtime.results import LayerError, PauliLindbladError

from qiskit_runtime_server.errors import InternalError, TooManyShotsError
from qiskit_runtime_server.programs.private_names import data_slices

MAX_TEXT_BYTES: Final = 256 * 2**20
"""Of all samples of a result; as many bits take up to 40 times as much room as text."""

_QUOTES_AND_COMMA: Final = 5
"""What a sample takes beside its hexadecimal digits: quotes, a comma and the letters 0x."""


def encode_plain(result: PrimitiveResult[Any]) -> bytes:
    """Return ``{"results": [{"data", "metadata"}, ...], "metadata"}``.

    The data of a register of bits is ``{"samples", "num_bits"}``, one string such as ``"0x1f"`` for each shot, in lists
    of the pub's shape. All other data are numbers, or lists of them in their array's shape; a complex number is
    ``[real, imaginary]``, and null is none.

    Raises:
        TooManyShotsError: If the text of all samples goes beyond `MAX_TEXT_BYTES`.
        InternalError: If an executor put something into the result that has no form in JSON.
    """
    _check_size(result)
    pubs = [
        {"data": {name: _field(value) for name, value in pub.data.items()}, "metadata": pub.metadata} for pub in result
    ]
    return as_json({"results": pubs, "metadata": result.metadata})


def as_json(document: object) -> bytes:
    """Return a document whose values may be Qiskit's own; errors as in `encode_plain`."""
    try:
        return msgspec.json.encode(document, enc_hook=_plain)
    except (TypeError, ValueError) as error:
        raise InternalError(f"The result cannot be sent to the client: {error}") from error


def _check_size(result: PrimitiveResult[Any]) -> None:
    sizes = (
        (_QUOTES_AND_COMMA + (value.num_bits + 3) // 4) * value.num_shots * value.size
        for pub in result
        for value in pub.data.values()
        if isinstance(value, BitArray)
    )
    if (size := sum(sizes)) > MAX_TEXT_BYTES:
        raise TooManyShotsError(
            f"The samples take {size // 2**20} MiB of text; {MAX_TEXT_BYTES // 2**20} MiB are allowed. Use fewer shots,"
            " fewer parameter sets, several jobs, or support_qiskit: true."
        )


def _field(value: object) -> object:
    if not isinstance(value, BitArray):
        return value
    rows = value.array.reshape(-1, *value.array.shape[-2:])
    samples = _nested([msgspec.Raw(_samples(row)) for row in rows], value.shape)
    return {"samples": samples, "num_bits": value.num_bits}


def _samples(row: NDArray[np.uint8]) -> bytes:
    """Return the JSON list of the shots in `row`, of shape ``(shots, bytes)``, big-endian."""
    return ("[" + ",".join(_hexadecimal(row)) + "]").encode()


def _hexadecimal(row: NDArray[np.uint8]) -> Iterator[str]:
    width = row.shape[-1]
    data = row.tobytes()
    return (f'"{int.from_bytes(data[shot * width : (shot + 1) * width]):#x}"' for shot in range(len(row)))


def _nested(rows: list[Any], shape: tuple[int, ...]) -> Any:  # noqa: ANN401 - lists in lists
    """Return `rows`, which are in C order, as lists in lists of `shape`."""
    if not shape:
        return rows[0]
    step = len(rows) // shape[0] if shape[0] else 0
    return [_nested(rows[number * step : (number + 1) * step], shape[1:]) for number in range(shape[0])]


def _plain(value: object) -> object:  # noqa: PLR0911 - one form for each type
    """Return what JSON has for a value of a result; raises TypeError if it has nothing."""
    if isinstance(value, np.ndarray):
        return _numbers(value)
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, complex):
        return [value.real, value.imag]
    if isinstance(value, ExecutionSpans):
        return [_span(span) for span in value]
    if isinstance(value, LayerError):
        return {"circuit": qasm3.dumps(value.circuit), "qubits": value.qubits, "error": value.error}
    if isinstance(value, PauliLindbladError):
        return {"generators": value.generators, "rates": value.rates}
    if isinstance(value, PauliList):
        return value.to_labels()
    if isinstance(value, NoiseModel):
        return value.to_dict(serializable=True)
    raise TypeError(f"objects of type {type(value).__name__} have no form in JSON.")


def _numbers(array: NDArray[Any]) -> object:
    if np.iscomplexobj(array):
        return np.stack([array.real, array.imag], axis=-1).tolist()
    return array.tolist()


def _span(span: ExecutionSpan) -> list[object]:
    """Return when data was taken, and which: for each pub its shape and, for each axis, from where to where."""
    parts = {
        str(index): [[part.start, part.stop] if isinstance(part, slice) else part for part in place]
        for index, place in data_slices(span).items()
    }
    return [_date(span.start), _date(span.stop), parts]


def _date(time: datetime) -> dict[str, str]:
    return {"date": time.isoformat()}
