"""The program `executor`: the bits of every item of a quantum program, with what its samplexes drew.

The primitives that run in the client (its executor-based sampler, estimator and noise learner) are made of it; what
they need for their post-processing is sent back to them as it came.
"""

import base64
import math
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, assert_never

import msgspec
import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.primitives.containers.bindings_array import BindingsArray

from qiskit_runtime_server.errors import InternalError, InvalidInputError, TooManyShotsError, UnsupportedOptionError
from qiskit_runtime_server.programs import kerneled
from qiskit_runtime_server.programs.device import isa
from qiskit_runtime_server.programs.device.progress import numbered
from qiskit_runtime_server.programs.device.shots import ShotSource
from qiskit_runtime_server.programs.device.timing import schedule
from qiskit_runtime_server.programs.options.options import Options
from qiskit_runtime_server.programs.prepared import PreparedDevice
from qiskit_runtime_server.programs.run_items import parameter_values, registers
from qiskit_runtime_server.programs.sampler import MAX_RESULT_BYTES
from qiskit_runtime_server.programs.wire import samplexes
from qiskit_runtime_server.programs.wire.quantum_program import (
    DTYPES,
    CircuitItem,
    Item,
    MeasLevel,
    QuantumProgram,
    Wire,
)
from qiskit_runtime_server.programs.wire.results import SAMPLE_BYTES, compression_level
from qiskit_runtime_server.simulation.seeds import SeedPath

_POINT_BYTES: Final = 16

_NAMES: Final = {dtype.newbyteorder("="): name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _ItemResult:
    """What came out of an item.

    Attributes:
        tensors: As they are sent.
        metadata: As it is sent.
        start: When it began.
        stop: When it ended.
    """

    tensors: Mapping[str, Mapping[str, Any]]
    metadata: Mapping[str, Any] | None
    start: datetime
    stop: datetime


def execute(  # noqa: PLR0913 - a job, and who hears of it
    source: ShotSource,
    program: QuantumProgram,
    backend_name: str,
    seed: int,
    simulated_all: Callable[[], None] = lambda: None,
    *,
    metadata: Mapping[str, object] = {},
) -> bytes:
    """Run `program` and return the document that the client decodes.

    Args:
        source: Takes the shots.
        program: Its circuits are ISA circuits of the device.
        backend_name: Names the device.
        seed: Used where the program has none.
        simulated_all: Called before the document is made.
        metadata: What that of the result has beside the timing of chunks; clients that do not know it pass over it.

    Raises:
        JobError: If the program cannot be run as it is.
    """
    options = Options(
        seeds=SeedPath(job=(seed if program.seed is None else program.seed,)),
        rep_delay=program.rep_delay,
        asymmetric_readout=program.asymmetric_readout,
        wish=program.wish,
    )
    prepared = PreparedDevice.of(source, options, backend_name)
    isa.check_shots(program.shots, prepared.device.max_shots, prepared.device, "quantum_program.shots")
    for index, item in enumerate(program.items):
        isa.check_circuit(item.circuit, prepared.device, options, f"items[{index}]")
        _check_names(program, item, f"items[{index}]")
    _check_size(program)
    source.progress.plan(sum(math.prod(item.shape) for item in program.items if item.circuit.cregs))
    results = []
    for index in range(len(program.items)):
        with source.progress.stage(numbered("item", index, len(program.items))):
            results.append(_run(prepared, program, index))
    simulated_all()
    return _document(program, results, metadata)


def executions(program: QuantumProgram) -> int:
    """Return how many shots the program takes in all."""
    return program.shots * sum(math.prod(item.shape) for item in program.items)


def _check_names(program: QuantumProgram, item: Item, where: str) -> None:
    names = [register.name + suffix for register in item.circuit.cregs for suffix in _writers(program, item, 0)]
    names += [] if isinstance(item, CircuitItem) else [spec.name for spec in item.samplex.outputs().specs]
    for name, number in Counter(names).items():
        if number > 1:
            raise InvalidInputError(
                f"{where}: the result would have two parts called {name!r}; rename a classical register."
            )


def _check_size(program: QuantumProgram) -> None:
    size = 0
    for item in program.items:
        elements = math.prod(item.shape)
        size += elements * _bytes_for_each_bit(program) * sum(register.size for register in item.circuit.cregs)
        if not isinstance(item, CircuitItem):
            size += samplexes.output_bytes(item.samplex, elements)
    if size > MAX_RESULT_BYTES:
        raise TooManyShotsError(
            f"The job asks for {int(size) // 2**20} MiB of bits; {MAX_RESULT_BYTES // 2**20} MiB are allowed."
            " Use fewer shots, fewer elements or several jobs."
        )


def _bytes_for_each_bit(program: QuantumProgram) -> float:
    """Return how much is sent for all shots of a classical bit of one element."""
    sizes = {
        MeasLevel.CLASSIFIED: program.shots / 8,
        MeasLevel.KERNELED: program.shots * _POINT_BYTES,
        MeasLevel.AVERAGED: _POINT_BYTES,
        MeasLevel.BOTH: program.shots * (_POINT_BYTES + 1 / 8),
    }
    return sizes[program.meas_level]


def _run(prepared: PreparedDevice, program: QuantumProgram, index: int) -> _ItemResult:
    start = datetime.now(UTC)
    item = program.items[index]
    seeds = prepared.options.seeds.item(index)
    values, drawn = parameter_values(item, seeds, f"items[{index}]")
    if program.angle_decimals is not None:
        quarter = np.pi / 2
        values = np.round(values / quarter, decimals=program.angle_decimals) * quarter
    isa.check_rzz_values(item.circuit, _bindings(item.circuit, values), prepared.device, f"items[{index}]")
    tensors = {name: _tensor(array, program.wire) for name, array in drawn.items()}
    tensors |= _registers(prepared, program, item, values, seeds)
    metadata = _metadata(prepared, program, item) if program.wire.item_metadata else None
    return _ItemResult(tensors=tensors, metadata=metadata, start=start, stop=datetime.now(UTC))


def _metadata(prepared: PreparedDevice, program: QuantumProgram, item: Item) -> dict[str, Any]:
    timing = None
    if program.scheduler_timing:
        if prepared.device.target.dt is None:
            raise UnsupportedOptionError(
                f"Option scheduler_timing is not supported: {prepared.device.name} has no durations."
            )
        planned = schedule(item.circuit, prepared.device.target)
        timing = {"timing": planned.text(), "circuit_duration": planned.duration}
    return {"scheduler_timing": timing, "stretch_values": [] if program.stretch_values else None}


def _bindings(circuit: QuantumCircuit, values: NDArray[np.float64]) -> BindingsArray:
    return BindingsArray({tuple(circuit.parameters): values}) if values.shape[1] else BindingsArray()


def _registers(
    prepared: PreparedDevice, program: QuantumProgram, item: Item, values: NDArray[np.float64], seeds: SeedPath
) -> dict[str, dict[str, Any]]:
    """Return the tensors of every classical register."""
    writers = {register.name: _writers(program, item, register.size) for register in item.circuit.cregs}
    for rows, found in registers(prepared, item.circuit, values, program.shots, seeds):
        for number, (name, bits) in enumerate(found.items()):
            for writer in writers[name].values():
                writer.write(bits, seeds.points.register(number).rows(rows))
    return {
        name + suffix: writer.tensor(program.wire)
        for name, parts in writers.items()
        for suffix, writer in parts.items()
    }


def _writers(program: QuantumProgram, item: Item, width: int) -> dict[str, "_BitWriter | _PointWriter"]:
    """Return what takes the bits of a register, by what the names of its tensors end in."""
    shape = (*item.shape, program.shots, width)
    match program.meas_level:
        case MeasLevel.CLASSIFIED:
            return {"": _BitWriter(shape)}
        case MeasLevel.KERNELED:
            return {"_iq": _PointWriter(shape)}
        case MeasLevel.AVERAGED:
            return {"_avg_iq": _PointWriter((*item.shape, width), averaged=True)}
        case MeasLevel.BOTH:
            return {"": _BitWriter(shape), "_iq": _PointWriter(shape)}
    assert_never(program.meas_level)


class _BitWriter:
    """Packs bits, eight to a byte, the first one lowest, across the ends of what it is given."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        self._shape = shape
        self._packed = bytearray()
        self._left = np.empty(0, dtype=np.bool_)

    def write(self, bits: NDArray[np.bool_], _seeds: NDArray[np.uint64]) -> None:
        """Append `bits` in C order."""
        flat = bits.reshape(-1)
        if len(self._left):
            flat = np.concatenate([self._left, flat])
        whole = len(flat) // 8 * 8
        self._packed += np.packbits(flat[:whole], bitorder="little").data
        self._left = flat[whole:].copy()

    def packed(self) -> bytearray:
        """Return everything, with zeros in what is left of the last byte."""
        return self._packed + np.packbits(self._left, bitorder="little").tobytes()

    def tensor(self, wire: Wire) -> dict[str, Any]:
        """Return everything."""
        return {"data": _text(self.packed(), wire), "shape": list(self._shape), "dtype": "bool"}


class _PointWriter:
    """Keeps a point for each bit, or the mean of those of all shots."""

    def __init__(self, shape: tuple[int, ...], *, averaged: bool = False) -> None:
        self._shape = shape
        self._averaged = averaged
        self._parts: list[NDArray[np.complex128]] = [np.empty(0, dtype=np.complex128)]

    def write(self, bits: NDArray[np.bool_], seeds: NDArray[np.uint64]) -> None:
        """Append points for `bits`, shape ``(rows, shots, width)``."""
        points = kerneled.points(bits, seeds)
        self._parts.append((points.mean(axis=1) if self._averaged else points).reshape(-1))

    def tensor(self, wire: Wire) -> dict[str, Any]:
        """Return everything."""
        return _tensor(np.concatenate(self._parts).reshape(self._shape), wire)


def _tensor(array: NDArray[Any], wire: Wire) -> dict[str, Any]:
    name = _NAMES.get(array.dtype)
    if name is None or name not in wire.dtypes:
        raise InternalError(f"A samplex drew values of dtype {array.dtype}, which schema {wire.version} cannot carry.")
    if name == "bool":
        data = np.packbits(array.reshape(-1), bitorder="little").tobytes()
    else:
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return {"data": _text(data, wire), "shape": list(array.shape), "dtype": name}


def _text(data: bytes | bytearray, wire: Wire) -> str:
    if wire.compressed:
        data = zlib.compress(data, level=compression_level(memoryview(data)[:SAMPLE_BYTES]))
    return base64.b64encode(data).decode("ascii")


def _document(program: QuantumProgram, results: Sequence[_ItemResult], metadata: Mapping[str, object]) -> bytes:
    wire = program.wire
    document: dict[str, Any] = {
        "schema_version": wire.version,
        "data": [{"results": result.tensors, "metadata": result.metadata} for result in results],
        "metadata": {
            "chunk_timing": [
                chunk
                for index, (item, result) in enumerate(zip(program.items, results, strict=True))
                for chunk in _chunks(index, item, result, wire)
            ],
            **metadata,
        },
    }
    if wire.passthrough:
        document["passthrough_data"] = program.passthrough_data
    if wire.roles:
        document["semantic_role"] = program.semantic_role
    return msgspec.json.encode(document)


def _chunks(index: int, item: Item, result: _ItemResult, wire: Wire) -> Iterator[dict[str, Any]]:
    """Yield the timing of each chunk of an item.

    All elements of an item are simulated together, so its time is shared out among the chunks by their sizes.
    """
    elements = math.prod(item.shape)
    size = item.chunk_size or elements
    duration = result.stop - result.start
    for first in range(0, elements, max(1, size)):
        last = min(elements, first + size)
        part: dict[str, Any] = {"idx_item": index, "size": last - first}
        if wire.roles:
            part |= {"permutation": list(range(len(item.shape))), "element_range": [first, last, 1]}
        yield {
            "start": result.start + duration * (first / elements),
            "stop": result.start + duration * (last / elements),
            "parts": [part],
        }
