"""What people are shown of a job's circuits and of its result, made where both may be decoded: in a worker process.

Both come from outside, so what is made of them is bounded, and is text and numbers only: whoever shows it has to treat
it as text. `api.models.views` says of which form the documents are.
"""

import base64
import zlib
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.messages.programs import ProgramName
from qiskit_runtime_server.programs.wire import reading
from qiskit_runtime_server.programs.wire.npy import read_array
from qiskit_runtime_server.programs.wire.params import decode_params, estimator_pub, sampler_pub
from qiskit_runtime_server.programs.wire.quantum_program import decode_program

MOST_CIRCUITS: Final = 4
MOST_GATES: Final = 400
MOST_QUBITS: Final = 40
MOST_BARS: Final = 32
MOST_VALUES: Final = 64
_MOST_PUBS: Final = 8
_MOST_TEXT: Final = 60_000
_MOST_OPTIONS: Final = 8_000
_LONG: Final = 200
_COLUMNS: Final = 110
_MOST_NAME: Final = 200
_MOST_ARRAY_BYTES: Final = 256 * 2**20
# Bit strings that are longer are shown in hexadecimal.
_MOST_BITS: Final = 40
_SHOT_AXES: Final = 2


def drawing(program: str, document: bytes) -> bytes:
    """Return what the params of a job ask for: its options, and its first circuits, drawn as text.

    Raises:
        InvalidInputError: If they cannot be read, or no drawing is made of those of this program.
    """
    circuits = _circuits(program, document)
    options = reading.as_object(reading.parse(document), "params").get("options") or {}
    return msgspec.json.encode(
        {
            "options": _as_text(options),
            "circuits": [_drawn(circuit) for circuit in circuits[:MOST_CIRCUITS]],
            "more": max(0, len(circuits) - MOST_CIRCUITS),
        }
    )


def outcomes(document: bytes) -> bytes:
    """Return what a result says: the most frequent outcomes, expectation values with their errors, and metadata.

    Raises:
        InvalidInputError: If it cannot be read.
    """
    with reading.damage("The result"):
        result = reading.as_object(reading.parse(document), "result")
        if result.get("__type__") == "PrimitiveResult":
            inside = result["__value__"]
            pubs = [each["__value__"] for each in inside["pub_results"]]
        elif "results" in result:
            inside, pubs = result, result["results"]
        else:
            return msgspec.json.encode({"pubs": [], "more": 0, "metadata": _as_text(result.get("metadata") or {})})
        return msgspec.json.encode(
            {
                "pubs": [_pub(pub) for pub in pubs[:_MOST_PUBS]],
                "more": max(0, len(pubs) - _MOST_PUBS),
                "metadata": _as_text(inside.get("metadata") or {}),
            }
        )


def _circuits(program: str, document: bytes) -> list[QuantumCircuit]:
    match program:
        case ProgramName.SAMPLER:
            params = decode_params(document, "shots")
            return [sampler_pub(pub, f"pubs[{index}]").circuit for index, pub in enumerate(params.pubs)]
        case ProgramName.ESTIMATOR:
            params = decode_params(document, "precision")
            return [estimator_pub(pub, f"pubs[{index}]").circuit for index, pub in enumerate(params.pubs)]
        case ProgramName.EXECUTOR:
            return [item.circuit for item in decode_program(document).items]
        case ProgramName.NOISE_LEARNER:
            said = reading.as_object(reading.parse(document), "params").get("circuits") or []
            read = reading.Reader().read(said, "circuits")
            return [circuit for circuit in read if isinstance(circuit, QuantumCircuit)]
    return []


def _drawn(circuit: QuantumCircuit) -> dict[str, Any]:
    gates, used = circuit.size(), _used_qubits(circuit)
    text, left_out = "", ""
    if gates > MOST_GATES or used > MOST_QUBITS:
        left_out = (
            f"Too large to draw: {gates} operations on {used} qubits; at most {MOST_GATES} on {MOST_QUBITS} are drawn."
        )
    else:
        text = str(circuit.draw("text", fold=_COLUMNS, idle_wires=False))
        if len(text) > _MOST_TEXT:
            text, left_out = "", "Too large to draw: the drawing is too long."
    counts = circuit.count_ops()
    return {
        "name": _plain(str(circuit.name))[:_MOST_NAME],
        "num_qubits": circuit.num_qubits,
        "used_qubits": used,
        "num_clbits": circuit.num_clbits,
        "depth": circuit.depth(),
        "operations": [[_plain(str(name))[:_MOST_NAME], count] for name, count in list(counts.items())[:30]],
        "text": _plain(text),
        "left_out": left_out,
    }


def _used_qubits(circuit: QuantumCircuit) -> int:
    return len({qubit for instruction in circuit.data if instruction.name != "barrier" for qubit in instruction.qubits})


def _pub(pub: Mapping[str, Any]) -> dict[str, Any]:
    data = pub["data"]
    fields = data["__value__"]["fields"] if "__value__" in data else data
    counts = [
        {"name": _plain(str(name))[:_MOST_NAME], **_frequent(*shots)}
        for name, field in fields.items()
        if (shots := _shots(field)) is not None
    ]
    values = _array(fields["evs"]).reshape(-1) if "evs" in fields else np.empty(0)
    known = [_array(fields[name]).reshape(-1) for name in ("stds", "ensemble_standard_error") if name in fields]
    errors = known[0] if known else np.full(len(values), np.nan)
    return {
        "counts": counts[:_MOST_PUBS],
        "values": [
            [_finite(value), _finite(error)] for value, error in zip(values[:MOST_VALUES], errors, strict=False)
        ],
        "more_values": max(0, len(values) - MOST_VALUES),
        "metadata": _as_text(pub.get("metadata") or {}),
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
        return rows[0], int(inside["num_bits"]), len(rows)
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


def _as_text(document: object) -> str:
    """Return a JSON document as text for people, without what is long in it."""
    text = msgspec.json.format(msgspec.json.encode(_shortened(document)), indent=2).decode()
    return _plain(text if len(text) <= _MOST_OPTIONS else f"{text[:_MOST_OPTIONS]}\n… ({len(text)} characters in all)")


def _shortened(value: object) -> object:
    match value:
        case str() if len(value) > _LONG:
            return f"{value[:40]}… ({len(value)} characters)"
        case dict():
            return {str(key)[:_LONG]: _shortened(each) for key, each in value.items()}
        case list() if len(value) > _LONG:
            return [*map(_shortened, value[:_LONG]), f"… ({len(value)} in all)"]
        case list():
            return list(map(_shortened, value))
    return value


def _plain(text: str) -> str:
    """Return a text without characters that move what stands around them, such as marks of writing direction."""
    return "".join(letter if letter == "\n" or letter.isprintable() else "�" for letter in text)
