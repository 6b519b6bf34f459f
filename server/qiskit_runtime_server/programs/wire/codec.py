"""The JSON of the client: hostile params to pubs and options, results to documents.

Only the tags in `_TAGS` are decoded, none of them looks up a class by a name from the document. Circuits and arrays
may be at most `MAX_UNPACKED` bytes after decompression, and announce at most `MAX_ANNOUNCED` bits, all those of a
document together. Circuits come out of here with instructions that fit their operations, or not at all.
"""

import base64
import binascii
import contextlib
import io
import json
import math
import operator
import struct
import tokenize
import warnings
import zlib
from collections.abc import Callable, Iterator, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

import msgspec
import numpy as np
import qiskit
from ibm_quantum_schemas.common.annotation_serializer import AnnotationSerializer
from numpy.typing import NDArray
from qiskit import qpy
from qiskit.circuit import QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit.primitives import DataBin
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import PauliList
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.exceptions import IBMInputValueError
from qiskit_ibm_runtime.json import RuntimeEncoder
from qiskit_ibm_runtime.results import LayerError, NoiseLearnerResult, PauliLindbladError
from rustworkx import JSONDeserializationError
from samplomatic.exceptions import (
    BuildError,
    DeserializationError,
    ParameterError,
    SamplexError,
    SerializationError,
    SynthError,
    VirtualGateError,
)

from qiskit_runtime_server.errors import InternalError, InvalidInputError, UnsupportedOptionError, is_panic
from qiskit_runtime_server.programs.wire import qasm, qpy_structure
from qiskit_runtime_server.programs.wire.npy import read_array
from qiskit_runtime_server.programs.wire.qpy_structure import check_structure
from qiskit_runtime_server.programs.wire.well_formed import check_instructions, check_units

MAX_UNPACKED: Final = 256 * 2**20
MAX_DEPTH: Final = 64
MIN_QPY_VERSION: Final = 13
"""Below it, parameter expressions are text that the reader evaluates."""
QPY_VERSION_WITH_TABLE: Final = 16
MAX_BITS: Final = qpy_structure.MAX_BITS
MAX_ANNOUNCED: Final = 4_000_000
"""Bits of circuits and registers, those of bodies of control flow included; each takes Qiskit up to 250 bytes."""
MAX_PARAMETER_SETS: Final = 10_000_000
SAMPLE_BYTES: Final = 2**16
WORTHWHILE: Final = 0.9
MAX_ERROR_QUBITS: Final = 8
"""A quantum error on more qubits than this is no device's; its matrices would not fit anyway."""

# Boxes may say how they are to be twirled.
_ANNOTATIONS: Final = {"samplomatic": AnnotationSerializer}

# Everything that readers of Qiskit, samplomatic, numpy, Aer and the client were seen to raise on damaged data.
_DAMAGED: Final = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    BuildError,
    DeserializationError,
    EOFError,
    IBMInputValueError,
    JSONDeserializationError,
    LookupError,
    NotImplementedError,
    ParameterError,
    QiskitError,
    RecursionError,
    RuntimeError,
    SamplexError,
    SerializationError,
    SyntaxError,
    SynthError,
    SystemError,
    TypeError,
    ValueError,
    VirtualGateError,
    binascii.Error,
    struct.error,
    tokenize.TokenError,
    zlib.error,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """The params of a job.

    Attributes:
        pubs: One sequence per pub as the client sent it, its circuit, arrays and observables decoded.
        options: With `resilience_level` among them if the params have one.
        goal: What pubs get that say neither shots (of a sampler) nor precision (of an estimator): before the options'
            default, as the argument of a client's `run`.
        plain: Whether the result is to be plain JSON, see `plain`.
        transpilation: What a client says of it, which is nothing that is done: circuits come transpiled.
    """

    pubs: list[Any]
    options: dict[str, Any]
    goal: Any = None
    plain: bool = False
    transpilation: Mapping[str, Any] | None = None


def decode_params(document: bytes, goal: str = "shots") -> Params:
    """Decode what a client sent as `params` of a sampler or estimator job.

    Args:
        document: The params.
        goal: Names the part that holds `Params.goal`.

    Raises:
        InvalidInputError: If the document is damaged, too large once unpacked, or not of this form.
        UnsupportedOptionError: If it has a part that nothing here reads; the message names it.
    """
    params = as_object(parse(document), "params")
    check_parts(params, {"pubs", "options", "version", "support_qiskit", "resilience_level", goal})
    _check_version(params)
    reader = Reader()
    pubs = params.get("pubs")
    if not isinstance(pubs, list) or not pubs:
        raise InvalidInputError("Params have no pubs: a non-empty list of [circuit, ...] is needed.")
    options = dict(as_object(reader.read(params.get("options") or {}, "options"), "options"))
    if params.get("resilience_level") is not None:
        options["resilience_level"] = params["resilience_level"]
    transpilation = options.pop("transpilation", None)
    if transpilation is not None:
        # The guides of IBM's REST API send it.
        check_parts(as_object(transpilation, "options.transpilation"), {"optimization_level"}, "options.transpilation")
    return Params(
        transpilation=transpilation,
        pubs=[reader.read(pub, f"pubs[{index}]") for index, pub in enumerate(pubs)],
        options=options,
        goal=params.get(goal),
        plain=not supports_qiskit(params.get("support_qiskit", False)),
    )


def supports_qiskit(value: object) -> bool:
    """Return what a client says with `support_qiskit`: whether it reads Qiskit's own classes, or plain JSON.

    Raises:
        InvalidInputError: If it says neither.
    """
    if value is not None and not isinstance(value, bool):
        raise InvalidInputError(f"support_qiskit must be true or false, not {value!r}.")
    return value is True


def sampler_pub(values: object, where: str, shots: object = None) -> SamplerPub:
    """Return the pub that `values` describe: circuit, parameter values, shots; or only a circuit, in a list or bare.

    Args:
        values: As a client sent them, its circuit and arrays decoded.
        where: What the pub is called.
        shots: Of a pub that says none; None leaves that to the options.
    """
    circuit, parameter_values, own = _parts(values, 3, where)
    shots = shots if own is None else own
    if shots is not None and (not isinstance(shots, int) or isinstance(shots, bool) or shots < 1):
        raise InvalidInputError(f"{where}: shots must be a positive integer, not {shots!r}.")
    circuit = _circuit_in(circuit, where)
    with damage(where):
        pub = SamplerPub(circuit, _bindings(circuit, parameter_values, where), shots)
    _check_bindings(pub.parameter_values, where)
    return pub


def estimator_pub(values: object, where: str, precision: object = None) -> EstimatorPub:
    """Return the pub that `values` (circuit, observables, parameter values, precision) describe; two are needed.

    Args:
        values: As a client sent them, its circuit and arrays decoded.
        where: What the pub is called.
        precision: Of a pub that says none; None leaves that to the options.
    """
    circuit, observables, parameter_values, own = _parts(values, 4, where)
    precision = precision if own is None else own
    if observables is None:
        raise InvalidInputError(f"{where}: no observables.")
    if precision is not None:
        precision = _positive(precision, f"{where}: precision")
    circuit = _circuit_in(circuit, where)
    with damage(where):
        array = ObservablesArray.coerce(observables)
        circuit = qasm.widened(circuit, array.num_qubits)
        bindings = _bindings(circuit, parameter_values, where)
        if array.size == 0:
            raise InvalidInputError(f"{where}: an empty array of observables.")
        pub = EstimatorPub(circuit, array, bindings, precision)
    _check_bindings(pub.parameter_values, where)
    if pub.size > MAX_PARAMETER_SETS:
        raise InvalidInputError(f"{where}: {pub.size} expectation values; at most {MAX_PARAMETER_SETS} are accepted.")
    return pub


def encode_result(result: object) -> bytes:
    """Return the document that the client's decoder turns back into `result`.

    Raises:
        InternalError: If an executor put something into it that clients cannot read.
    """
    document = io.BytesIO()
    try:
        for chunk in _ResultEncoder().iterencode(result):
            document.write(chunk.encode())
    except (TypeError, ValueError) as error:
        message = f"The result cannot be sent to the client: {error}"
        raise InternalError(message) from error
    return document.getvalue()


class _ResultEncoder(RuntimeEncoder):  # type: ignore[misc]  # the client library has no types
    """The client's encoder with faster arrays; numbers in data bins become 0-d arrays, whose `shape` clients read."""

    def default(self, obj: object) -> object:
        if isinstance(obj, np.ndarray) and obj.dtype != object:
            return {"__type__": "ndarray", "__value__": _packed(obj)}
        if isinstance(obj, np.generic):
            return obj.item()
        if isinstance(obj, DataBin):
            numbers = (int, float, complex, np.generic)
            fields = {name: np.asarray(value) if isinstance(value, numbers) else value for name, value in obj.items()}
            return {
                "__type__": "DataBin",
                "__value__": {"field_names": list(fields), "shape": obj.shape, "fields": fields},
            }
        return super().default(obj)


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


def parse(document: bytes) -> object:
    """Return what a JSON document says.

    Raises:
        InvalidInputError: If it is none.
    """
    try:
        return msgspec.json.decode(document)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise InvalidInputError(f"Params are not a JSON document: {error}") from error


def _check_version(params: Mapping[str, Any]) -> None:
    version = params.get("version", 2)
    if version != 2 or isinstance(version, bool):  # noqa: PLR2004 - the only version that there is
        raise InvalidInputError(f"Params are of version {version!r}; this server reads version 2.")


def as_object(value: object, where: str) -> dict[str, Any]:
    """Return `value` if it is an object of JSON; otherwise raise InvalidInputError, which says where."""
    if not isinstance(value, dict):
        raise InvalidInputError(f"{where}: an object is needed, not {type(value).__name__}.")
    return value


def check_parts(value: Mapping[str, Any], known: Set[str], where: str = "params") -> None:
    """Raise UnsupportedOptionError if `value` has a part that is not in `known`; the message names it."""
    for key in value.keys() - known:
        message = f"{where} has an unknown part {key!r}; known are {', '.join(sorted(known))}."
        raise UnsupportedOptionError(message)


def _parts(values: object, length: int, where: str) -> tuple[Any, ...]:
    if isinstance(values, str | QuantumCircuit):
        values = [values]
    if not isinstance(values, list | tuple) or not 1 <= len(values) <= length:
        raise InvalidInputError(f"{where}: a pub is a list of 1 to {length} elements, a circuit first.")
    return (*values, *(None,) * (length - len(values)))


def _circuit_in(value: object, where: str) -> QuantumCircuit:
    if isinstance(value, str):
        with damage(f"{where}: the circuit cannot be read"):
            return qasm.read_circuit(value, MAX_BITS)
    if not isinstance(value, QuantumCircuit):
        raise InvalidInputError(f"{where}: the first element must be a circuit, not {type(value).__name__}.")
    return value


def _bindings(circuit: QuantumCircuit, values: object, where: str) -> BindingsArray:
    if values is None:
        return BindingsArray()
    if isinstance(values, BindingsArray):
        return values
    if isinstance(values, Mapping):
        return BindingsArray({_names(key): _numbers(value, where) for key, value in values.items()})
    return BindingsArray({tuple(circuit.parameters): _numbers(values, where)})


def _names(key: str | tuple[str, ...]) -> tuple[str, ...]:
    return key if isinstance(key, tuple) else (key,)


def _numbers(values: object, where: str) -> NDArray[np.float64]:
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" and array.size:
        raise InvalidInputError(f"{where}: parameter values must be real numbers, not of dtype {array.dtype}.")
    return array.astype(np.float64)


def _check_bindings(bindings: BindingsArray, where: str) -> None:
    if bindings.size > MAX_PARAMETER_SETS:
        raise InvalidInputError(f"{where}: {bindings.size} parameter sets; at most {MAX_PARAMETER_SETS} are accepted.")
    for names, values in bindings.data.items():
        if not np.isfinite(values).all():
            column = int(np.argwhere(~np.isfinite(values))[0][-1])
            raise InvalidInputError(f"{where}: parameter {names[column]!r} has a value that is not finite.")


def _positive(value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value <= 0:
        raise InvalidInputError(f"{where} must be a number greater than 0, not {value!r}.")
    return float(value)


@contextlib.contextmanager
def damage(where: str) -> Iterator[None]:
    """Turn whatever a reader raises on damaged data into an InvalidInputError that says where."""
    try:
        yield
    except InvalidInputError:
        raise
    except _DAMAGED as error:
        raise InvalidInputError(f"{where}: {_first_line(error)}") from error
    except BaseException as error:
        if not is_panic(error):
            raise
        raise InvalidInputError(f"{where}: the data is damaged ({_first_line(error)})") from error


def _first_line(error: BaseException) -> str:
    lines = str(error).strip("\"'").splitlines()
    return lines[0][:500] if lines else type(error).__name__


@dataclass(slots=True)
class Reader:
    """Decodes the tagged values of one document.

    Attributes:
        left: What may still be unpacked, in bytes.
        bits_left: What circuits may still announce.
    """

    left: int = field(default_factory=lambda: MAX_UNPACKED)
    bits_left: int = field(default_factory=lambda: MAX_ANNOUNCED)

    def read(self, value: object, where: str, depth: int = 0) -> Any:  # noqa: ANN401 - what the client sent
        """Return `value` with everything in it that has a tag decoded."""
        if depth > MAX_DEPTH:
            raise InvalidInputError(f"{where[:200]}: nested deeper than {MAX_DEPTH} levels.")
        if isinstance(value, list):
            return [
                self.read(item, f"{where}[{index}]", depth + 1) if isinstance(item, list | dict) else item
                for index, item in enumerate(value)
            ]
        if not isinstance(value, dict):
            return value
        inner = {key: self.read(item, f"{where}.{key}", depth + 1) for key, item in value.items()}
        return self._tagged(inner, where) if "__type__" in inner else inner

    def _tagged(self, value: dict[str, Any], where: str) -> object:
        where = where.removesuffix(".__value__")
        tag = value["__type__"]
        if isinstance(tag, str) and tag in _CLASS_TAGS:
            tag = f"{tag} {value.get('__class__')}"
        decode = _TAGS.get(tag) if isinstance(tag, str) else None
        if decode is None:
            message = f"{where}: values of type {tag!r} are not supported here."
            raise UnsupportedOptionError(message)
        if "__value__" not in value:
            raise InvalidInputError(f"{where}: a {tag} without a value.")
        with damage(f"{where}: {tag} cannot be read"):
            return decode(self, value["__value__"])

    def unpack(self, text: object) -> bytes:
        """Return the bytes in `text`, which are compressed and in base64.

        Raises:
            ValueError, TypeError: If they are damaged or too many, as from all functions in `_TAGS`.
        """
        unpacker = zlib.decompressobj()
        data = unpacker.decompress(_from_base64(text), self.left + 1)
        self._count(data)
        if not unpacker.eof:
            raise ValueError("the compressed data ends too early.")
        return data

    def plain(self, text: object) -> bytes:
        """Return the bytes in `text`, which are in base64 only; errors as in `unpack`."""
        data = _from_base64(text)
        self._count(data)
        return data

    def _count(self, data: bytes) -> None:
        if len(data) > self.left:
            raise ValueError(f"it unpacks to more than {MAX_UNPACKED // 2**20} MiB, the limit for a job.")
        self.left -= len(data)

    def announce(self, bits: int) -> None:
        """Count bits that a circuit announces.

        Raises:
            ValueError: If those of the document become too many.
        """
        self.bits_left -= bits
        if self.bits_left < 0:
            raise ValueError(f"circuits with more than {MAX_ANNOUNCED} bits in all, the limit for a job.")


def _from_base64(text: object) -> bytes:
    if not isinstance(text, str):
        raise TypeError(f"base64 text is needed, not {type(text).__name__}.")
    return base64.b64decode(text, validate=True)


def read_circuits(data: bytes, number: int, reader: Reader) -> list[QuantumCircuit]:
    """Return the circuits in a QPY file, which must be `number`.

    Args:
        data: The file.
        number: Of circuits.
        reader: Of the document that the file is in; it counts what circuits announce.

    Raises:
        Exception: Whatever `damage` is there for.
    """
    check_qpy(data, number, reader)
    with warnings.catch_warnings():
        # A newer patch release writes the same format: what counts is the version that was just checked.
        warnings.simplefilter("ignore", UserWarning)
        circuits = qpy.load(io.BytesIO(data), annotation_factories=_ANNOTATIONS)
    if len(circuits) != number or not all(isinstance(circuit, QuantumCircuit) for circuit in circuits):
        raise ValueError(f"{_numbered(number)} needed, the QPY holds {len(circuits)}.")
    for circuit in circuits:
        check_units(circuit)
        check_instructions(circuit)
    return list(circuits)


def check_qpy(data: bytes, number: int, reader: Reader) -> None:
    """Check that a QPY file can be read safely: its version, its number of circuits, and all sizes in it.

    Raises:
        ValueError, struct.error: If it does not.
    """
    if data[:6] != b"QISKIT" or len(data) < struct.calcsize("!6sBBBBQ"):
        raise ValueError("the data is not QPY.")
    _, version, *release, programs = struct.unpack_from("!6sBBBBQ", data)
    writer = ".".join(map(str, release))
    if version > qpy.common.QPY_VERSION:
        raise ValueError(
            f"the circuit is in QPY version {version} (Qiskit {writer}); this server runs Qiskit {qiskit.__version__}"
            f" and reads QPY versions {MIN_QPY_VERSION} to {qpy.common.QPY_VERSION}."
        )
    if version < MIN_QPY_VERSION:
        raise ValueError(
            f"the circuit is in QPY version {version} (Qiskit {writer}); this server reads QPY versions"
            f" {MIN_QPY_VERSION} to {qpy.common.QPY_VERSION}: upgrade the client's Qiskit."
        )
    if programs != number:
        raise ValueError(f"{_numbered(number)} needed, the QPY holds {programs}.")
    start = struct.calcsize("!6sBBBBQcc")
    table = struct.unpack_from(f"!{number}Q", data, start) if version >= QPY_VERSION_WITH_TABLE else None
    for place in range(number):
        # Without a table, the circuits follow each other.
        begin = start if table is None else table[place]
        if begin < start:
            raise ValueError("its circuits overlap.")
        start = check_structure(data, version, begin, reader.announce)


def _numbered(number: int) -> str:
    return "one circuit is" if number == 1 else f"{number} circuits are"


def _circuit(reader: Reader, value: object) -> QuantumCircuit:
    return read_circuits(reader.unpack(value), 1, reader)[0]


def _array(reader: Reader, value: object) -> NDArray[Any]:
    if not isinstance(value, str):
        return np.asarray(value)
    return read_array(reader.unpack(value))


def _bindings_array(_reader: Reader, value: Mapping[str, Any]) -> BindingsArray:
    data = {tuple(json.loads(names)): array for names, array in value.get("data", {}).items()}
    if not all(isinstance(name, str) for names in data for name in names):
        raise ValueError("parameters must be given by name.")
    shape = value.get("shape")
    numbers = {names: _numbers(array, "BindingsArray") for names, array in data.items()}
    return BindingsArray(numbers, None if shape is None else tuple(shape))


def _noise_model(_reader: Reader, value: Mapping[str, Any]) -> NoiseModel:
    return noise_model(value)


def noise_model(document: Mapping[str, Any]) -> NoiseModel:
    """Return the noise model whose `to_dict()` is `document`.

    Raises:
        InvalidInputError: If it is none.
    """
    with damage("noise model"):
        for error in document["errors"]:
            for operations in error.get("instructions", []):
                if not all(0 <= qubit < MAX_ERROR_QUBITS for item in operations for qubit in item["qubits"]):
                    raise ValueError(f"an error on more than {MAX_ERROR_QUBITS} qubits.")
        with warnings.catch_warnings():
            # Deprecated without a successor; it is what the client's own decoder calls.
            warnings.simplefilter("ignore", DeprecationWarning)
            return NoiseModel.from_dict(document)


def _layer_error(_reader: Reader, value: Mapping[str, Any]) -> LayerError:
    if not isinstance(value["circuit"], QuantumCircuit) or not isinstance(value["error"], PauliLindbladError | None):
        raise TypeError("its circuit or its error is of another type.")
    qubits = [operator.index(qubit) for qubit in value["qubits"]]
    return LayerError(value["circuit"], qubits, value["error"])


def _pauli_lindblad_error(_reader: Reader, value: Mapping[str, Any]) -> PauliLindbladError:
    rates = _numbers(value["rates"], "PauliLindbladError")
    if not isinstance(value["generators"], PauliList) or not np.isfinite(rates).all():
        raise ValueError("its generators are no list of Pauli operators, or a rate is not finite.")
    return PauliLindbladError(value["generators"], rates)


def _pauli_list(_reader: Reader, value: Mapping[str, Any]) -> PauliList:
    labels = value["data"]
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise ValueError("its data are no list of labels.")
    return PauliList(labels)


# These say in `__class__` what they are. The module beside it is not looked at.
_CLASS_TAGS: Final = frozenset({"_json", "settings"})

_TAGS: Final[Mapping[str, Callable[[Reader, Any], Any]]] = {
    "BindingsArray": _bindings_array,
    "NoiseLearnerResult": lambda _, value: NoiseLearnerResult(value["data"], value.get("metadata")),
    "NoiseModel": _noise_model,
    "ObservablesArray": lambda _, value: ObservablesArray(value),
    "QuantumCircuit": _circuit,
    "_json LayerError": _layer_error,
    "_json PauliLindbladError": _pauli_lindblad_error,
    "complex": lambda _, value: complex(*value),
    "datetime": lambda _, value: datetime.fromisoformat(value),
    "ndarray": _array,
    "set": lambda _, value: set(value),
    "settings PauliList": _pauli_list,
}
