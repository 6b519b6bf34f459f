"""Reads hostile JSON of clients: values with tags, and what readers of other libraries raise on damaged data.

Only the tags in `_TAGS` are decoded, none of them looks up a class by a name from the document. Circuits and arrays
may be at most `MAX_UNPACKED` bytes after decompression, and announce at most `MAX_ANNOUNCED` bits, all those of a
document together.
"""

import base64
import binascii
import contextlib
import json
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
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.exceptions import QiskitError
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.quantum_info import PauliList
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.exceptions import IBMInputValueError
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

from qiskit_runtime_server.errors import InvalidInputError, UnsupportedOptionError, is_panic
from qiskit_runtime_server.programs.wire.npy import read_array
from qiskit_runtime_server.programs.wire.qpy import read_circuits, version_of

MAX_UNPACKED: Final = 256 * 2**20
MAX_DEPTH: Final = 64
MAX_ANNOUNCED: Final = 4_000_000
"""Bits of circuits and registers, those of bodies of control flow included; each takes Qiskit up to 250 bytes."""
MAX_ERROR_QUBITS: Final = 8
"""A quantum error on more qubits than this is no device's; its matrices would not fit anyway."""

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


def parse(document: bytes) -> object:
    """Return what a JSON document says.

    Raises:
        InvalidInputError: If it is none.
    """
    try:
        return msgspec.json.decode(document)
    except (msgspec.DecodeError, RecursionError, UnicodeError) as error:
        raise InvalidInputError(f"Params are not a JSON document: {error}") from error


def as_object(value: object, where: str) -> dict[str, Any]:
    """Return `value` if it is an object of JSON; otherwise raise InvalidInputError, which says where."""
    if not isinstance(value, dict):
        raise InvalidInputError(f"{where}: an object is needed, not {type(value).__name__}.")
    return value


def check_parts(value: Mapping[str, Any], known: Set[str], where: str = "params") -> None:
    """Raise UnsupportedOptionError if `value` has a part that is not in `known`; the message names it."""
    for key in value.keys() - known:
        raise UnsupportedOptionError(f"{where} has an unknown part {key!r}; known are {', '.join(sorted(known))}.")


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
        qpy_version: The oldest format of a circuit so far; None without circuits. Its writer may read no newer one.
    """

    left: int = field(default_factory=lambda: MAX_UNPACKED)
    bits_left: int = field(default_factory=lambda: MAX_ANNOUNCED)
    qpy_version: int | None = None

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
            raise UnsupportedOptionError(f"{where}: values of type {tag!r} are not supported here.")
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


def real_numbers(values: object, where: str) -> NDArray[np.float64]:
    """Return `values` as doubles; otherwise raise InvalidInputError, which says where."""
    array = np.asarray(values)
    if array.dtype.kind not in "biuf" and array.size:
        raise InvalidInputError(f"{where}: parameter values must be real numbers, not of dtype {array.dtype}.")
    return array.astype(np.float64)


def _circuit(reader: Reader, value: object) -> QuantumCircuit:
    data = reader.unpack(value)
    (circuit,) = read_circuits(data, 1, reader.announce)
    version = version_of(data)
    reader.qpy_version = version if reader.qpy_version is None else min(version, reader.qpy_version)
    return circuit


def _array(reader: Reader, value: object) -> NDArray[Any]:
    if not isinstance(value, str):
        return np.asarray(value)
    return read_array(reader.unpack(value))


def _bindings_array(_reader: Reader, value: Mapping[str, Any]) -> BindingsArray:
    data = {tuple(json.loads(names)): array for names, array in value.get("data", {}).items()}
    if not all(isinstance(name, str) for names in data for name in names):
        raise ValueError("parameters must be given by name.")
    shape = value.get("shape")
    numbers = {names: real_numbers(array, "BindingsArray") for names, array in data.items()}
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
    rates = real_numbers(value["rates"], "PauliLindbladError")
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
