"""Quantum programs as clients send them to the program `executor`, in all versions of its schema.

What the schemas of IBM demand beyond what can be run is not demanded here: clients send programs that break them.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.quantum_info import PauliLindbladMap
from samplomatic.samplex import Samplex
from samplomatic.tensor_interface import TensorInterface

from qiskit_runtime_server.errors import InvalidInputError, UnsupportedOptionError
from qiskit_runtime_server.programs.options.options import executor_options
from qiskit_runtime_server.programs.wire import qasm, qpy, reading, samplexes
from qiskit_runtime_server.programs.wire.params import MAX_PARAMETER_SETS
from qiskit_runtime_server.simulation.wish import GivenWish

MAX_ELEMENTS: Final = MAX_PARAMETER_SETS
MAX_CHUNKS: Final = 100_000
MAX_DECIMALS: Final = 17
"""More than a double has."""
MAX_DIMENSIONS: Final = 32
"""Fewer than numpy allows, so that outputs can have more."""

DTYPES: Final = {
    "bool": np.dtype(np.bool_),
    **{f"f{8 * size}": np.dtype(f"<f{size}") for size in (2, 4, 8)},
    **{f"i{8 * size}": np.dtype(f"<i{size}") for size in (1, 2, 4, 8)},
    **{f"u{8 * size}": np.dtype(f"<u{size}") for size in (1, 2, 4, 8)},
    **{f"c{8 * size}": np.dtype(f"<c{size}") for size in (8, 16)},
}
_OLD_DTYPES: Final = frozenset({"bool", "u8", "f64", "c128"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """How one version of the schema spells a program and its result.

    Attributes:
        version: As in `schema_version`.
        compressed: Whether tensors and circuits go through zlib.
        shared_circuits: Whether one QPY holds the circuits of all items.
        dtypes: Of tensors.
        item_metadata: Whether results have an object there, or null.
        passthrough: Whether results repeat `passthrough_data`.
        roles: Whether results repeat `semantic_role` and say which elements a chunk had.
    """

    version: str
    compressed: bool = False
    shared_circuits: bool = True
    dtypes: frozenset[str] = _OLD_DTYPES
    item_metadata: bool = True
    passthrough: bool = True
    roles: bool = True


WIRES: Final = {
    wire.version: wire
    for wire in (
        Wire(version="v0.1", shared_circuits=False, item_metadata=False, passthrough=False, roles=False),
        Wire(version="v0.2", shared_circuits=False, roles=False),
        Wire(version="v1.0"),
        Wire(version="v1.1"),
        Wire(version="v2.0", compressed=True, dtypes=frozenset(DTYPES)),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CircuitItem:
    """A circuit for many sets of parameters.

    Attributes:
        arguments: Shape ``(*shape, k)``, dtype float64, columns as in ``circuit.parameters``.
        chunk_size: The most elements in one chunk, or None for as many as there are.
    """

    circuit: QuantumCircuit
    arguments: NDArray[np.float64]
    shape: tuple[int, ...]
    chunk_size: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplexItem:
    """A circuit whose parameters are drawn by a samplex.

    Attributes:
        samplex: Finalized.
        arguments: All that the samplex needs; their shape is broadcast to `shape`, and what that adds are independent
            randomizations.
        chunk_size: As in `CircuitItem`.
    """

    circuit: QuantumCircuit
    samplex: Samplex
    arguments: TensorInterface
    shape: tuple[int, ...]
    chunk_size: int | None


Item = CircuitItem | SamplexItem


class MeasLevel(StrEnum):
    """What is sent of measurements: bits, points in a receiver's plane, or their means over the shots."""

    CLASSIFIED = "classified"
    KERNELED = "kerneled"
    AVERAGED = "avg_kerneled"
    BOTH = "both"


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantumProgram:
    """What one job asks for.

    Attributes:
        wire: How it was spelled, and how its result will be.
        shots: For every element of every item.
        rep_delay: Seconds between shots, or None.
        meas_level: What is sent of measurements.
        scheduler_timing: Whether the result says when the instructions of circuits happen.
        stretch_values: Whether the result says how long stretches are; a circuit that can be simulated has none.
        seed: That of the job itself, or None.
        asymmetric_readout: As in `Options`.
        wish: As in `Options`.
        angle_decimals: To how many decimals angles are rounded, in units of a quarter turn; None if they are not.
        passthrough_data: As it came.
        semantic_role: As it came.
    """

    wire: Wire
    items: tuple[Item, ...]
    shots: int
    rep_delay: float | None
    meas_level: MeasLevel
    scheduler_timing: bool
    stretch_values: bool
    seed: int | None
    asymmetric_readout: bool
    wish: GivenWish
    angle_decimals: int | None
    passthrough_data: Any
    semantic_role: Any


def decode_program(document: bytes) -> QuantumProgram:
    """Return the program in `document`, the params of a job.

    Raises:
        InvalidInputError: If the document is damaged, too large once unpacked, or makes no sense.
        UnsupportedOptionError: If it asks for something that is not simulated; the message names it.
    """
    params = reading.as_object(reading.parse(document), "params")
    wire = _wire(params.get("schema_version"))
    reading.check_parts(params, {"schema_version", "quantum_program", "options"}, "params")
    program = reading.as_object(params.get("quantum_program"), "quantum_program")
    reading.check_parts(program, _PROGRAM_PARTS, "quantum_program")
    _check_depth(program.get("passthrough_data"))
    options = reading.as_object(params.get("options") or {}, "options")
    rep_delay, seed, asymmetric_readout, wish = _options(options)
    simulator = _simulator(program.get("passthrough_data"))
    where = "passthrough_data.post_processor.options.simulator"
    decimals = _optional(simulator.get("angle_decimals"), f"{where}.angle_decimals")
    return QuantumProgram(
        wire=wire,
        items=_Items(wire, program).items,
        shots=_whole(program.get("shots"), 1, "quantum_program.shots"),
        rep_delay=rep_delay,
        meas_level=_level(program.get("meas_level")),
        scheduler_timing=_switch(options, "scheduler_timing", wire),
        stretch_values=_switch(options, "stretch_values", wire),
        seed=_optional(simulator.get("seed_simulator"), f"{where}.seed_simulator") if seed is None else seed,
        asymmetric_readout=asymmetric_readout,
        wish=wish,
        angle_decimals=None if decimals is None else min(decimals, MAX_DECIMALS),
        passthrough_data=program.get("passthrough_data"),
        semantic_role=program.get("semantic_role"),
    )


def _wire(version: object) -> Wire:
    wire = WIRES.get(version) if isinstance(version, str) else None
    if wire is None:
        raise InvalidInputError(f"Params are of schema version {version!r}; this server reads {', '.join(WIRES)}.")
    return wire


_PROGRAM_PARTS: Final = frozenset({"shots", "circuits", "items", "meas_level", "passthrough_data", "semantic_role"})
_ITEM_PARTS: Final = {
    "circuit": frozenset({"item_type", "circuit", "circuit_arguments", "shape", "chunk_size"}),
    "samplex": frozenset({"item_type", "circuit", "samplex", "samplex_arguments", "shape", "chunk_size"}),
}


def _check_depth(value: object) -> None:
    """Check that data which is only sent back is not nested so deeply that sending it back fails."""
    level = [value]
    for _ in range(reading.MAX_DEPTH):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer if isinstance(outer, list) else ())
            if isinstance(inner, dict | list)
        ]
        if not level:
            return
    raise InvalidInputError(f"passthrough_data is nested deeper than {reading.MAX_DEPTH} levels.")


def _options(options: Mapping[str, Any]) -> tuple[float | None, int | None, bool, GivenWish]:
    """Return the repetition delay, the seed, and whether readout is asymmetric."""
    known = {"init_qubits", "rep_delay", "experimental", "scheduler_timing", "stretch_values"}
    reading.check_parts(options, known, "options")
    if options.get("init_qubits") not in (None, True):
        raise UnsupportedOptionError(
            "Option init_qubits: false is not supported: every shot of a simulation starts in the ground state."
        )
    experimental = reading.as_object(options.get("experimental") or {}, "Option experimental")
    rep_delay = options.get("rep_delay")
    if rep_delay is not None and (isinstance(rep_delay, bool) or not isinstance(rep_delay, int | float)):
        raise InvalidInputError(f"Option rep_delay must be a number of seconds; it is {rep_delay!r}.")
    return rep_delay, *executor_options(experimental)


def _level(value: object) -> MeasLevel:
    if value not in (None, *MeasLevel):
        raise InvalidInputError(f"quantum_program.meas_level must be one of {', '.join(MeasLevel)}; it is {value!r}.")
    return MeasLevel.CLASSIFIED if value is None else MeasLevel(str(value))


def _switch(options: Mapping[str, Any], name: str, wire: Wire) -> bool:
    """Return whether an option is on that asks for metadata of items."""
    value = options.get(name)
    if value not in (None, False, True):
        raise InvalidInputError(f"Option {name} must be true or false; it is {value!r}.")
    if value and not wire.item_metadata:
        raise UnsupportedOptionError(
            f"Option {name} is not supported in schema {wire.version}: its results have no place for it."
        )
    return bool(value)


def _simulator(passthrough: object) -> Mapping[str, Any]:
    """Return the simulator options that client-side primitives keep for their post-processing; maybe empty."""
    value = passthrough
    for key in ("post_processor", "options", "simulator"):
        value = value.get(key) if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping):
        return {}
    if value.get("layer_noise_model") is not None:
        raise UnsupportedOptionError(
            "Option simulator.layer_noise_model is not supported: noise comes from the device."
        )
    return value


def _optional(value: object, where: str) -> int | None:
    return None if value is None else _whole(value, 0, where)


def _whole(value: object, least: int, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise InvalidInputError(f"{where} must be an integer, at least {least}; it is {value!r}.")
    return value


class _Items:
    """Decodes the items of a program, counting what they unpack to."""

    def __init__(self, wire: Wire, program: Mapping[str, Any]) -> None:
        self._wire = wire
        self._reader = reading.Reader()
        documents = program.get("items")
        if not isinstance(documents, list) or not documents:
            raise InvalidInputError("quantum_program.items must be a non-empty list.")
        items = [reading.as_object(document, f"items[{index}]") for index, document in enumerate(documents)]
        circuits = self._circuits(program.get("circuits"), items)
        self.items = tuple(
            self._item(document, circuit, f"items[{index}]")
            for index, (document, circuit) in enumerate(zip(items, circuits, strict=True))
        )
        self._check_chunks()

    def _circuits(self, shared: object, items: Sequence[Mapping[str, Any]]) -> list[QuantumCircuit]:
        if not self._wire.shared_circuits:
            where = [f"items[{index}].circuit" for index in range(len(items))]
            return list(
                chain.from_iterable(
                    self._qpy(reading.as_object(item.get("circuit"), name).get("circuit_b64"), 1, name)
                    for item, name in zip(items, where, strict=True)
                )
            )
        document = reading.as_object(shared, "quantum_program.circuits")
        if "b64_data" not in document and "data" in document:
            return self._qasm(document["data"], len(items))
        return self._qpy(document.get("b64_data"), len(items), "quantum_program.circuits")

    def _qpy(self, text: object, number: int, where: str) -> list[QuantumCircuit]:
        with reading.damage(f"{where}: QPY cannot be read"):
            return qpy.read_circuits(self._bytes(text), number, self._reader.announce)

    def _qasm(self, texts: object, number: int) -> list[QuantumCircuit]:
        where = "quantum_program.circuits.data"
        if not isinstance(texts, list) or len(texts) != number or not all(isinstance(text, str) for text in texts):
            raise InvalidInputError(f"{where} must be a list of OpenQASM texts, one for each of {number} items.")
        with reading.damage(f"{where}: a circuit cannot be read"):
            return [qasm.read_circuit(text, qpy.MAX_BITS) for text in texts]

    def _bytes(self, text: object) -> bytes:
        return _bytes(text, self._wire, self._reader)

    def _item(self, document: Mapping[str, Any], circuit: QuantumCircuit, where: str) -> Item:
        kind = document.get("item_type")
        if not isinstance(kind, str) or kind not in _ITEM_PARTS:
            raise InvalidInputError(f"{where}.item_type must be 'circuit' or 'samplex', not {kind!r}.")
        reading.check_parts(document, _ITEM_PARTS[kind], where)
        chunk_size = document.get("chunk_size", "auto")
        chunk_size = None if chunk_size == "auto" else _whole(chunk_size, 1, f"{where}.chunk_size")
        if kind == "samplex":
            return self._samplex_item(document, circuit, chunk_size, where)
        arguments = self._tensor(document.get("circuit_arguments"), f"{where}.circuit_arguments")
        if arguments.dtype.kind not in "biuf" or not np.isfinite(arguments).all():
            raise InvalidInputError(f"{where}.circuit_arguments must be finite real numbers.")
        columns = arguments.shape[-1] if arguments.ndim else 0
        if columns != circuit.num_parameters:
            raise InvalidInputError(
                f"{where}.circuit_arguments have {columns} columns, and the circuit has {circuit.num_parameters}"
                " parameters."
            )
        shape = _shape(document.get("shape"), arguments.shape[:-1], where)
        table = np.broadcast_to(arguments.astype(np.float64), (*shape, columns))
        return CircuitItem(circuit=circuit, arguments=table, shape=shape, chunk_size=chunk_size)

    def _samplex_item(
        self, document: Mapping[str, Any], circuit: QuantumCircuit, chunk_size: int | None, where: str
    ) -> SamplexItem:
        text = reading.as_object(document.get("samplex"), f"{where}.samplex").get("samplex_json")
        samplex = samplexes.decode_samplex(text, self._reader, f"{where}.samplex")
        values = reading.as_object(document.get("samplex_arguments") or {}, f"{where}.samplex_arguments")
        arguments = samplexes.bound(
            samplex,
            {name: self._argument(value, f"{where}.samplex_arguments.{name}") for name, value in values.items()},
            f"{where}.samplex_arguments",
        )
        shape = _shape(document.get("shape"), arguments.shape, where)
        outputs = samplexes.num_outputs(samplex)
        if outputs != circuit.num_parameters:
            raise InvalidInputError(
                f"{where}: the samplex makes {outputs} parameter values, and the circuit has"
                f" {circuit.num_parameters} parameters."
            )
        return SamplexItem(circuit=circuit, samplex=samplex, arguments=arguments, shape=shape, chunk_size=chunk_size)

    def _argument(self, value: object, where: str) -> object:
        if not isinstance(value, dict):
            if isinstance(value, bool | int | float):
                return value
            raise InvalidInputError(f"{where} must be a number, a tensor or a Pauli Lindblad map.")
        if "sparse_terms" not in value:
            return self._tensor(value, where)
        with reading.damage(f"{where}: the Pauli Lindblad map cannot be read"):
            terms = [(paulis, qubits, rate) for paulis, qubits, rate in value["sparse_terms"]]
            return PauliLindbladMap.from_sparse_list(terms, value["num_qubits"])

    def _tensor(self, value: object, where: str) -> NDArray[Any]:
        return read_tensor(value, self._wire, self._reader, where)

    def _check_chunks(self) -> None:
        sizes = {item.chunk_size for item in self.items}
        if None in sizes and len(sizes) > 1:
            raise InvalidInputError("Either all items or none of them may have a chunk_size other than 'auto'.")
        chunks = sum(-(-math.prod(item.shape) // item.chunk_size) for item in self.items if item.chunk_size)
        if chunks > MAX_CHUNKS:
            raise InvalidInputError(f"The program has {chunks} chunks; at most {MAX_CHUNKS} are accepted.")


def read_tensor(value: object, wire: Wire, reader: reading.Reader, where: str) -> NDArray[Any]:
    """Return a tensor of a program, or of its result.

    Raises:
        InvalidInputError: If it cannot be read; `where` says in messages which it is.
    """
    document = reading.as_object(value, where)
    shape = document.get("shape")
    name = document.get("dtype")
    if not isinstance(name, str) or name not in wire.dtypes:
        raise InvalidInputError(f"{where}: tensors of dtype {name!r} are not supported.")
    with reading.damage(f"{where}: the tensor cannot be read"):
        sizes = tuple(_whole(size, 0, f"{where}: its shape") for size in _list(shape))
        data = _bytes(document.get("data"), wire, reader)
        if name == "bool":
            return _unpacked_bits(data, sizes)
        if len(data) != math.prod(sizes) * DTYPES[name].itemsize:
            raise ValueError(f"a tensor of shape {list(sizes)} and dtype {name} has {len(data)} bytes.")
        return np.frombuffer(data, DTYPES[name]).reshape(sizes)


def _bytes(text: object, wire: Wire, reader: reading.Reader) -> bytes:
    return reader.unpack(text) if wire.compressed else reader.plain(text)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list) or len(value) > MAX_DIMENSIONS:
        raise ValueError(f"a list of at most {MAX_DIMENSIONS} sizes is needed.")
    return value


def _shape(wanted: object, given: tuple[int, ...], where: str) -> tuple[int, ...]:
    """Return the shape of an item whose arguments have the shape `given`."""
    with reading.damage(f"{where}.shape"):
        sizes = tuple(_whole(size, 0, f"{where}.shape") for size in _list([] if wanted is None else wanted))
        if math.prod(sizes) > MAX_ELEMENTS:
            raise ValueError(f"{math.prod(sizes)} elements; at most {MAX_ELEMENTS} are accepted.")
        shape = np.broadcast_shapes(sizes, given)
    if math.prod(shape) > MAX_ELEMENTS:
        raise InvalidInputError(f"{where} has {math.prod(shape)} elements; at most {MAX_ELEMENTS} are accepted.")
    return shape


def _unpacked_bits(data: bytes, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    total = math.prod(shape)
    if len(data) != (total + 7) // 8:
        raise ValueError(f"a tensor of shape {list(shape)} and dtype bool has {len(data)} bytes.")
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=total, bitorder="little")
    return bits.astype(np.bool_).reshape(shape)
