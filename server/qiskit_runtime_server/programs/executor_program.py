"""The program `executor`: the bits of every item of a quantum program, with what its samplexes drew.

The primitives that run in the client (its executor-based sampler, estimator and noise learner) are made of it; what
they need for their post-processing is sent back to them as it came.
"""

import base64
import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.primitives.containers.bindings_array import BindingsArray

from qiskit_runtime_server.errors import InternalError, InvalidInputError, TooManyShotsError
from qiskit_runtime_server.executors.base import BaseExecutor
from qiskit_runtime_server.programs import codec, isa, samplexes
from qiskit_runtime_server.programs.options import Options
from qiskit_runtime_server.programs.quantum_program import DTYPES, CircuitItem, Item, QuantumProgram, Wire
from qiskit_runtime_server.programs.sampler import MAX_RESULT_BYTES
from qiskit_runtime_server.programs.setup import Setup

# Second part of the keys of random generators; the first is the number of the item.
_SHOTS: Final = 0
_RANDOMIZATIONS: Final = 1

_NAMES: Final = {dtype.newbyteorder("="): name for name, dtype in DTYPES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class _ItemResult:
    """What came out of an item.

    Attributes:
        tensors: As they are sent.
        start: When it began.
        stop: When it ended.
    """

    tensors: Mapping[str, Mapping[str, Any]]
    start: datetime
    stop: datetime


def execute(executor: BaseExecutor, program: QuantumProgram, backend_name: str, seed: int) -> bytes:
    """Run `program` and return the document that the client decodes.

    Args:
        executor: Has the primitive `sample`.
        program: Its circuits are ISA circuits of the device.
        backend_name: Names the device.
        seed: Used where the program has none.

    Raises:
        JobError: If the program cannot be run as it is.
    """
    options = Options(seed=(seed if program.seed is None else program.seed,), rep_delay=program.rep_delay)
    setup = Setup.of(executor, options, backend_name)
    isa.check_shots(program.shots, setup.device.max_shots, setup.device, "quantum_program.shots")
    for index, item in enumerate(program.items):
        isa.check_circuit(item.circuit, setup.device, options, f"items[{index}]")
        _check_names(item, f"items[{index}]")
    _check_size(program)
    return _document(program, [_run(setup, program, index) for index in range(len(program.items))])


def executions(program: QuantumProgram) -> int:
    """Return how many shots the program takes in all."""
    return program.shots * sum(math.prod(item.shape) for item in program.items)


def _check_names(item: Item, where: str) -> None:
    names = [register.name for register in item.circuit.cregs]
    drawn = [] if isinstance(item, CircuitItem) else [spec.name for spec in item.samplex.outputs().specs]
    for name in names:
        if name in drawn:
            message = f"{where}: {name!r} is the name of a classical register and of an output of the samplex."
            raise InvalidInputError(message)


def _check_size(program: QuantumProgram) -> None:
    size = 0
    for item in program.items:
        elements = math.prod(item.shape)
        size += elements * program.shots * sum(register.size for register in item.circuit.cregs) // 8
        if not isinstance(item, CircuitItem):
            size += samplexes.output_bytes(item.samplex, elements)
    if size > MAX_RESULT_BYTES:
        raise TooManyShotsError(
            f"The job asks for {size // 2**20} MiB of bits; {MAX_RESULT_BYTES // 2**20} MiB are allowed."
            " Use fewer shots, fewer elements or several jobs."
        )


def _run(setup: Setup, program: QuantumProgram, index: int) -> _ItemResult:
    start = datetime.now(UTC)
    item = program.items[index]
    values, drawn = _values(setup, item, index)
    if program.angle_decimals is not None:
        quarter = np.pi / 2
        values = np.round(values / quarter, decimals=program.angle_decimals) * quarter
    isa.check_rzz_values(item.circuit, _bindings(item.circuit, values), setup.device, f"items[{index}]")
    tensors = {name: _tensor(array, program.wire) for name, array in drawn.items()}
    tensors |= _registers(setup, program, index, values)
    return _ItemResult(tensors=tensors, start=start, stop=datetime.now(UTC))


def _values(setup: Setup, item: Item, index: int) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]]]:
    """Return the parameter values of all elements, shape ``(elements, k)``, and what clients get beside their bits."""
    columns = item.circuit.num_parameters
    if isinstance(item, CircuitItem):
        return item.arguments.reshape(-1, columns) if columns else np.empty((math.prod(item.shape), 0)), {}
    outputs = samplexes.draw(
        item.samplex,
        item.arguments,
        item.shape,
        lambda number: setup.options.seed_sequence(index, _RANDOMIZATIONS, number),
        f"items[{index}].samplex",
    )
    values = outputs.pop(samplexes.PARAMETER_VALUES, None)
    if values is None:
        return np.empty((math.prod(item.shape), 0)), outputs
    if not np.isfinite(values).all():
        message = f"items[{index}]: the samplex draws a parameter value that is not finite."
        raise InvalidInputError(message)
    return values.reshape(-1, columns).astype(np.float64), outputs


def _bindings(circuit: QuantumCircuit, values: NDArray[np.float64]) -> BindingsArray:
    return BindingsArray({tuple(circuit.parameters): values}) if values.shape[1] else BindingsArray()


def _registers(
    setup: Setup, program: QuantumProgram, index: int, values: NDArray[np.float64]
) -> dict[str, dict[str, Any]]:
    """Return a tensor for every classical register."""
    item = program.items[index]
    circuit = item.circuit
    columns = {register.name: [circuit.find_bit(bit).index for bit in register] for register in circuit.cregs}
    writers = {name: _BitWriter() for name in columns}
    for _, bits in setup.sample(circuit, values, program.shots, index, _SHOTS) if circuit.cregs else ():
        for name, writer in writers.items():
            writer.write(_columns(bits, columns[name]))
    return {
        name: {
            "data": _text(writer.packed(), program.wire),
            "shape": [*item.shape, program.shots, len(columns[name])],
            "dtype": "bool",
        }
        for name, writer in writers.items()
    }


def _columns(bits: NDArray[np.bool_], numbers: Sequence[int]) -> NDArray[np.bool_]:
    """Return some columns, without copying them if they are neighbours, as those of a register are mostly."""
    first, last = (numbers[0], numbers[-1]) if numbers else (0, -1)
    return bits[..., first : last + 1] if [*numbers] == [*range(first, last + 1)] else bits[..., numbers]


class _BitWriter:
    """Packs bits, eight to a byte, the first one lowest, across the ends of what it is given."""

    def __init__(self) -> None:
        self._packed = bytearray()
        self._left = np.empty(0, dtype=np.bool_)

    def write(self, bits: NDArray[np.bool_]) -> None:
        """Append `bits` in C order."""
        flat = bits.reshape(-1)
        if len(self._left):
            flat = np.concatenate([self._left, flat])
        whole = len(flat) // 8 * 8
        self._packed += np.packbits(flat[:whole], bitorder="little").data
        self._left = flat[whole:].copy()

    def packed(self) -> bytearray:
        """Return everything, with zeros in what is left of the last byte."""
        self._packed += np.packbits(self._left, bitorder="little").tobytes()
        self._left = self._left[:0]
        return self._packed


def _tensor(array: NDArray[Any], wire: Wire) -> dict[str, Any]:
    name = _NAMES.get(array.dtype)
    if name is None or name not in wire.dtypes:
        message = f"A samplex drew values of dtype {array.dtype}, which schema {wire.version} cannot carry."
        raise InternalError(message)
    if name == "bool":
        data = np.packbits(array.reshape(-1), bitorder="little").tobytes()
    else:
        data = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return {"data": _text(data, wire), "shape": list(array.shape), "dtype": name}


def _text(data: bytes | bytearray, wire: Wire) -> str:
    if wire.compressed:
        data = zlib.compress(data, level=codec.compression_level(memoryview(data)[: codec.SAMPLE_BYTES]))
    return base64.b64encode(data).decode("ascii")


def _document(program: QuantumProgram, results: Sequence[_ItemResult]) -> bytes:
    wire = program.wire
    metadata = {"scheduler_timing": None, "stretch_values": None} if wire.item_metadata else None
    document: dict[str, Any] = {
        "schema_version": wire.version,
        "data": [{"results": result.tensors, "metadata": metadata} for result in results],
        "metadata": {
            "chunk_timing": [
                chunk
                for index, (item, result) in enumerate(zip(program.items, results, strict=True))
                for chunk in _chunks(index, item, result, wire)
            ]
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
