"""Params of sampler and estimator jobs: hostile documents to pubs and options."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from qiskit.circuit import QuantumCircuit
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.primitives.containers.sampler_pub import SamplerPub

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.programs.wire import qasm
from qiskit_runtime_server.programs.wire.qpy import MAX_BITS
from qiskit_runtime_server.programs.wire.reading import Reader, as_object, check_parts, damage, parse, real_numbers

MAX_PARAMETER_SETS: Final = 10_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Params:
    """The params of a job.

    Attributes:
        pubs: One sequence per pub as the client sent it, its circuit, arrays and observables decoded.
        options: With `resilience_level` among them if the params have one.
        goal: What pubs get that say neither shots (of a sampler) nor precision (of an estimator): before the options'
            default, as the argument of a client's `run`.
        plain: Whether the result is to be plain JSON, see `plain`.
        qpy_version: The oldest format of a circuit; None without circuits.
        transpilation: What a client says of it, which is nothing that is done: circuits come transpiled.
    """

    pubs: list[Any]
    options: dict[str, Any]
    goal: Any = None
    plain: bool = False
    qpy_version: int | None = None
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
    read = [reader.read(pub, f"pubs[{index}]") for index, pub in enumerate(pubs)]
    return Params(
        transpilation=transpilation,
        pubs=read,
        qpy_version=reader.qpy_version,
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
        raise InvalidInputError(f"{where}: the pub has no observables.")
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


def _check_version(params: Mapping[str, Any]) -> None:
    version = params.get("version", 2)
    if version != 2 or isinstance(version, bool):  # noqa: PLR2004 - the only version that there is
        raise InvalidInputError(f"Params are of version {version!r}; this server reads version 2.")


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
        return BindingsArray({_names(key): real_numbers(value, where) for key, value in values.items()})
    return BindingsArray({tuple(circuit.parameters): real_numbers(values, where)})


def _names(key: str | tuple[str, ...]) -> tuple[str, ...]:
    return key if isinstance(key, tuple) else (key,)


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
