"""What people are shown of a job's result, made where it may be decoded: in a worker process.

It comes from outside, so what is made of it is bounded, and is text and numbers only, as in `views.py`. Results are
pubs of the primitives, items of the program `executor`, or layers of the noise learner.
"""

import base64
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from qiskit_ibm_runtime.decoders.executor_sampler.utils import TWIRLING_PREFIX

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.programs.wire import reading
from qiskit_runtime_server.programs.wire.npy import read_array
from qiskit_runtime_server.programs.wire.quantum_program import WIRES, Wire, read_tensor
from qiskit_runtime_server.worker.views import MOST_NAME, as_text, plain

MOST_BARS: Final = 32
MOST_VALUES: Final = 64
MOST_RATES: Final = 40
_MOST_PARTS: Final = 8
_MOST_ARRAYS: Final = 32
_MOST_QUBITS: Final = 512
_MOST_ARRAY_BYTES: Final = 256 * 2**20
# Bit strings that are longer are shown in hexadecimal.
_MOST_BITS: Final = 40
_SHOT_AXES: Final = 2
# How tensors of the noise learner are spelled in all versions of its schema.
_LEARNED: Final = WIRES["v1.0"]


def outcomes(document: bytes) -> bytes:
    """Return what a result says: frequent outcomes, expectation values, arrays, learned errors, and metadata.

    Raises:
        InvalidInputError: If it cannot be read.
    """
    with reading.damage("The result"):
        result = reading.as_object(reading.parse(document), "result")
        if result.get("__type__") == "PrimitiveResult":
            inside = result["__value__"]
            return _told("pub", [each["__value__"] for each in inside["pub_results"]], _pub, inside)
        if "results" in result:
            return _told("pub", result["results"], _pub, result)
        data = result.get("data") or []
        if any("results" in part for part in data):
            reader, wire = reading.Reader(), WIRES[result["schema_version"]]
            return _told("item", data, lambda item: _item(item, wire, reader), result)
        return _told("layer", data, _layer, result)


def _told(kind: str, parts: Sequence[Any], told: Callable[[Any], dict[str, Any]], about: Mapping[str, Any]) -> bytes:
    made = [told(part) for part in parts[:_MOST_PARTS]]
    return msgspec.json.encode(
        {
            "kind": kind,
            "pubs": [] if kind == "layer" else made,
            "layers": made if kind == "layer" else [],
            "more": len(parts) - len(made),
            "metadata": as_text(about.get("metadata") or {}),
        }
    )


def _item(item: Mapping[str, Any], wire: Wire, reader: reading.Reader) -> dict[str, Any]:
    """Return what is told of an item of a quantum program: its arrays, and how often the outcomes of its bits were."""
    arrays = {name: read_tensor(value, wire, reader, "The result") for name, value in item["results"].items()}
    shown = list(arrays.items())[:_MOST_ARRAYS]
    counts = [
        {"name": _name(name), **_frequent(*_unflipped(array, arrays.get(f"{TWIRLING_PREFIX}{name}")))}
        for name, array in shown
        if array.dtype == np.bool_ and array.ndim >= _SHOT_AXES and not name.startswith(TWIRLING_PREFIX)
    ]
    return {
        "counts": [each for each in counts if each["shots"]][:_MOST_PARTS],
        "values": [],
        "more_values": 0,
        "arrays": [_figures(name, array) for name, array in shown],
        "metadata": as_text(item.get("metadata") or {}),
    }


def _unflipped(array: NDArray[np.bool_], flips: NDArray[np.bool_] | None) -> tuple[NDArray[np.uint8], int, int]:
    """Return the shots of a register's first element as `_shots` does, what was flipped on purpose flipped back."""
    rows = array.reshape(-1, *array.shape[-_SHOT_AXES:])
    first = rows[0] if len(rows) else np.zeros((0, array.shape[-1]), np.bool_)
    if flips is not None and len(rows):
        first = first ^ flips.reshape(-1, *flips.shape[-_SHOT_AXES:])[0]
    # The first bit lowest, padded in front, as in a BitArray.
    packed = np.packbits(first, axis=-1, bitorder="little")[:, ::-1]
    return packed, array.shape[-1], len(rows)


def _figures(name: str, array: NDArray[Any]) -> dict[str, Any]:
    """Return what an array is, and between which numbers its own are, if they can be compared."""
    ranged = array.size > 0 and array.dtype.kind in "iuf"
    return {
        "name": _name(name),
        "dtype": str(array.dtype),
        "shape": list(array.shape),
        "least": _finite(array.min()) if ranged else None,
        "largest": _finite(array.max()) if ranged else None,
    }


def _layer(layer: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is told of a layer: the rates of its Pauli-Lindblad generators, the largest first."""
    if "rates" in layer:
        qubits: Sequence[int] = []
        names = [" ".join(_spelled(letters, places) for letters, places in each) for each in layer["generators_sparse"]]
        rates, errors = (
            read_tensor(layer[key], _LEARNED, reading.Reader(), "The result") for key in ("rates", "rates_std")
        )
    else:
        inside = layer.get("__value__", layer)
        qubits, error = inside["qubits"], inside["error"]
        error = {"generators": [], "rates": []} if error is None else error.get("__value__", error)
        labels = error["generators"]
        labels = labels["__value__"]["data"] if isinstance(labels, dict) else labels
        names = [_spelled(label[::-1], qubits) for label in labels]
        rates = _array(error["rates"])
        errors = np.full(len(rates), np.nan)
    order = np.argsort(-rates, kind="stable")
    return {
        "qubits": list(qubits)[:_MOST_QUBITS],
        "generators": len(rates),
        "gamma": _finite(np.exp(2 * rates.sum())),
        "rates": [(_name(names[place]), _finite(rates[place]), _finite(errors[place])) for place in order[:MOST_RATES]],
        "metadata": as_text(layer.get("metadata") or {}),
    }


def _spelled(letters: str, qubits: Sequence[int]) -> str:
    """Return a Pauli operator as in `X3 Z4`."""
    return " ".join(f"{letter}{qubit}" for letter, qubit in zip(letters, qubits, strict=True) if letter != "I")


def _name(text: object) -> str:
    return plain(str(text))[:MOST_NAME]


def _pub(pub: Mapping[str, Any]) -> dict[str, Any]:
    data = pub["data"]
    fields = data["__value__"]["fields"] if "__value__" in data else data
    counts = [
        {"name": _name(name), **_frequent(*shots)}
        for name, field in fields.items()
        if (shots := _shots(field)) is not None
    ]
    shaped = _array(fields["evs"]) if "evs" in fields else np.empty(0)
    values = shaped.reshape(-1)
    known = [_array(fields[name]).reshape(-1) for name in ("stds", "ensemble_standard_error") if name in fields]
    errors = known[0] if known else np.full(len(values), np.nan)
    return {
        "counts": [each for each in counts if each["shots"]][:_MOST_PARTS],
        "values": [
            [_finite(value), _finite(error)] for value, error in zip(values[:MOST_VALUES], errors, strict=False)
        ],
        "more_values": max(0, len(values) - MOST_VALUES),
        "shape": list(shaped.shape),
        "arrays": [],
        "metadata": as_text(pub.get("metadata") or {}),
    }


def _finite(value: Any) -> float | None:  # noqa: ANN401 - a number of some dtype
    return float(value.real) if np.isfinite(value) else None


def _shots(field: Any) -> tuple[NDArray[np.uint8], int, int] | None:  # noqa: ANN401 - any JSON
    """Return the shots of a register's first parameter set, one a row, its bits, and how many sets there are."""
    if not isinstance(field, dict):
        return None
    if field.get("__type__") == "BitArray":
        inside = field["__value__"]
        array = _array(inside["array"]).astype(np.uint8, copy=False)
        rows = array.reshape(-1, *array.shape[-_SHOT_AXES:])
        return rows[0] if len(rows) else rows.reshape(0, rows.shape[-1]), int(inside["num_bits"]), len(rows)
    if "samples" in field:
        num_bits, width = int(field["num_bits"]), (int(field["num_bits"]) + 7) // 8
        samples, sets = field["samples"], 1
        while samples and isinstance(samples[0], list):
            sets *= len(samples)
            samples = samples[0]
        joined = b"".join(int(sample, 16).to_bytes(width, "big") for sample in samples)
        return np.frombuffer(joined, np.uint8).reshape(len(samples), width), num_bits, sets
    return None


def _frequent(rows: NDArray[np.uint8], num_bits: int, sets: int) -> dict[str, Any]:
    """Return the most frequent outcomes in ascending order."""
    found, counts = np.unique(rows, axis=0, return_counts=True)
    first = np.sort(np.argsort(-counts, kind="stable")[:MOST_BARS])
    bars = [(_outcome(found[index].tobytes(), num_bits), int(counts[index])) for index in first]
    shown = sum(count for _, count in bars)
    return {
        "num_bits": num_bits,
        "sets": sets,
        "shots": len(rows),
        "distinct": len(found),
        "bars": bars,
        "others": len(rows) - shown,
    }


def _outcome(row: bytes, num_bits: int) -> str:
    number = int.from_bytes(row, "big")
    return f"{number:0{num_bits}b}" if num_bits <= _MOST_BITS else f"{number:#x}"


def _array(field: Any) -> NDArray[Any]:  # noqa: ANN401 - any JSON
    if not isinstance(field, dict):
        return np.asarray(field, dtype=np.float64)
    if field.get("__type__") != "ndarray":
        raise InvalidInputError("The result has an array of a form that is not read here.")
    unpacker = zlib.decompressobj()
    data = unpacker.decompress(base64.b64decode(field["__value__"]), _MOST_ARRAY_BYTES)
    if unpacker.unconsumed_tail:
        raise InvalidInputError("The result is too large to be shown.")
    return read_array(data)
