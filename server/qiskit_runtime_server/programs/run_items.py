"""Runs the items of quantum programs: of those that clients send, and of those that are made here for other results.

An item is a circuit, with its parameter values or with a samplex that draws them.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit_ibm_runtime.results import QuantumProgramResult
from samplomatic import quantum_program

from qiskit_runtime_server.errors import InvalidInputError, TooManyShotsError
from qiskit_runtime_server.programs.device.boxes import opened
from qiskit_runtime_server.programs.mitigation.decoupling import decoupled
from qiskit_runtime_server.programs.options.mitigation import Decoupling
from qiskit_runtime_server.programs.prepared import PreparedDevice
from qiskit_runtime_server.programs.wire import samplexes
from qiskit_runtime_server.programs.wire.quantum_program import CircuitItem, Item, SamplexItem
from qiskit_runtime_server.simulation.components.last_circuits import MOST_KEPT, LastCircuits
from qiskit_runtime_server.simulation.contract import BitTensor, Parities
from qiskit_runtime_server.simulation.seeds import SeedPath

MAX_BITS: Final = 2**31
"""Of one program that is made here; each takes a byte."""

_MEASURED: Final = "_meas"


def parameter_values(item: Item, seeds: SeedPath, where: str) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]]]:
    """Return the parameter values of an item's circuit, and what else its samplex draws.

    Args:
        item: Its arguments are complete.
        seeds: Of the item.
        where: What to call the item in messages.

    Returns:
        Values of all elements, shape ``(elements, k)``, columns in the order of the circuit's parameters; other outputs
        by their names, each of shape ``(*item.shape, ...)``.

    Raises:
        InvalidInputError: If the samplex or its arguments make no sense.
    """
    elements, columns = math.prod(item.shape), item.circuit.num_parameters
    if isinstance(item, CircuitItem):
        return item.arguments.reshape(elements, columns) if columns else np.empty((elements, 0)), {}
    outputs = samplexes.draw(item.samplex, item.arguments, item.shape, seeds.randomizations, f"{where}.samplex")
    values = outputs.pop(samplexes.PARAMETER_VALUES, np.empty((elements, 0)))
    if not np.isfinite(values).all():
        raise InvalidInputError(f"{where}: the samplex draws a parameter value that is not finite.")
    return values.reshape(elements, values.shape[-1]).astype(np.float64), outputs


def registers(  # noqa: PLR0913, PLR0917 - what is run, and what of it counts
    prepared: PreparedDevice,
    circuit: QuantumCircuit,
    values: NDArray[np.float64],
    shots: int,
    seeds: SeedPath,
    parities: Sequence[Parities] | None = None,
) -> Iterator[tuple[slice, dict[str, BitTensor]]]:
    """Yield the bits of every classical register, some elements at a time, and which elements they are.

    Args:
        prepared: Takes the shots.
        circuit: Of the item; its qubits are the first ones of the device.
        values: As from `parameter_values`.
        shots: For every element.
        seeds: Of the item.
        parities: Of each element; see `SampleTask`.

    Yields:
        Elements, and for each register's name bits of shape ``(elements, shots, register size)``.
    """
    columns = {register.name: [circuit.find_bit(bit).index for bit in register] for register in circuit.cregs}
    if columns:
        for rows, bits in prepared.sample(circuit, values, shots, seeds.shots, parities):
            yield rows, {name: _columns(bits, places) for name, places in columns.items()}


def _columns(bits: BitTensor, numbers: Sequence[int]) -> BitTensor:
    """Return some columns, without copying them if they are neighbours, as those of a register are mostly."""
    first, last = (numbers[0], numbers[-1]) if numbers else (0, -1)
    return bits[..., first : last + 1] if [*numbers] == [*range(first, last + 1)] else bits[..., numbers]


def run(  # noqa: PLR0913 - a program, and what it does not say
    prepared: PreparedDevice,
    program: quantum_program.QuantumProgram,
    seeds: SeedPath,
    *,
    shots: Mapping[int, int] | None = None,
    qubits: Sequence[int] | None = None,
    asked: Sequence[Sequence[Parities]] = (),
    stages: Sequence[str] = (),
    planned: int = 0,
) -> QuantumProgramResult:
    """Run all items of a program that is made here, with dynamical decoupling if the job asks for it.

    Args:
        prepared: Takes the shots.
        program: Its items' arguments are complete.
        seeds: Of this program.
        shots: Of the items, by their numbers, that do not take those of the program.
        qubits: Of the device, for those of the circuits; by default the first ones.
        asked: For each configuration, which are the last axis of an item's shape, the qubits of the parities that are
            all that is made of its bits, which the register `_meas` has; of as many of the first items as there are.
        stages: What people call the items, of as many of the first ones as there are.
        planned: How many circuits of it have been counted as planned before it was made.
    """
    prepared.source.progress.plan(sum(math.prod(item.shape) for item in program.items) - planned)
    numbers = [(shots or {}).get(index, program.shots) for index in range(len(program.items))]
    _check_size(program, numbers)
    results = []
    for index, (item, number) in enumerate(zip(program.items, numbers, strict=True)):
        circuit = _on_device(prepared, item.circuit, qubits)
        values, drawn = parameter_values(_item(item, circuit), seeds.item(index), "a circuit of the program")
        parities = _parities(circuit, asked[index], len(values)) if index < len(asked) else None
        with prepared.source.progress.stage(stages[index] if index < len(stages) else ""):
            found = _all_registers(prepared, item.shape, circuit, values, number, seeds.item(index), parities)
        results.append({**drawn, **found})
    return QuantumProgramResult(results, passthrough_data=program.passthrough_data)


def _on_device(prepared: PreparedDevice, template: QuantumCircuit, qubits: Sequence[int] | None) -> QuantumCircuit:
    """Return a template as it is run."""
    where = None if qubits is None else tuple(qubits)
    decoupling = prepared.options.decoupling if prepared.options.decoupling.enable else None
    known = _last_placed.of(template, prepared.device, dict)
    if (where, decoupling) not in known:
        circuit = placed(opened(template), where, prepared.device.num_qubits)
        if decoupling is not None:
            circuit = decoupled(circuit, prepared.device, decoupling, "a circuit of the program")
        known[where, decoupling] = circuit
    return known[where, decoupling]


# A template is an object that is kept for later jobs of the same worker (`mitigation.built`).
_last_placed: Final = LastCircuits[dict[tuple[tuple[int, ...] | None, Decoupling | None], QuantumCircuit]](MOST_KEPT)


def _item(item: quantum_program.QuantumProgramItem, circuit: QuantumCircuit) -> Item:
    """Return an item of the library's as one of ours, with `circuit` in the place of its own."""
    if isinstance(item, quantum_program.CircuitItem):
        table = np.broadcast_to(item.circuit_arguments, (*item.shape, circuit.num_parameters))
        return CircuitItem(circuit=circuit, arguments=table, shape=item.shape, chunk_size=None)
    return SamplexItem(
        circuit=circuit, samplex=item.samplex, arguments=item.samplex_arguments, shape=item.shape, chunk_size=None
    )


def _parities(circuit: QuantumCircuit, asked: Sequence[Parities], elements: int) -> list[Parities]:
    """Return the parities of each element in classical bits."""
    (register,) = (register for register in circuit.cregs if register.name == _MEASURED)
    bits = [circuit.find_bit(bit).index for bit in register]
    own = [[tuple(bits[qubit] for qubit in parity) for parity in parities] for parities in asked]
    return [own[element % len(own)] for element in range(elements)]


def _all_registers(  # noqa: PLR0913, PLR0917 - an item, taken apart
    prepared: PreparedDevice,
    shape: tuple[int, ...],
    circuit: QuantumCircuit,
    values: NDArray[np.float64],
    shots: int,
    seeds: SeedPath,
    parities: Sequence[Parities] | None,
) -> dict[str, BitTensor]:
    """Return the bits of every classical register, shape ``(*shape, shots, register size)``."""
    bits = {register.name: np.empty((len(values), shots, register.size), np.bool_) for register in circuit.cregs}
    for rows, part in registers(prepared, circuit, values, shots, seeds, parities):
        for name, found in part.items():
            bits[name][rows] = found
    return {name: found.reshape(*shape, *found.shape[1:]) for name, found in bits.items()}


def _check_size(program: quantum_program.QuantumProgram, shots: Sequence[int]) -> None:
    bits = sum(
        math.prod(item.shape) * number * item.circuit.num_clbits
        for item, number in zip(program.items, shots, strict=True)
    )
    if bits > MAX_BITS:
        raise TooManyShotsError(
            f"The job's randomizations take {bits // 2**20} million bits; {MAX_BITS // 2**20} million are allowed. Use"
            " fewer shots, randomizations or parameter sets, or several jobs; PEC takes more for stronger noise."
        )


def placed(circuit: QuantumCircuit, qubits: Sequence[int] | None, num_qubits: int) -> QuantumCircuit:
    """Return `circuit` on `qubits` of a circuit of `num_qubits` qubits; the circuit itself if None."""
    if qubits is None:
        return circuit
    wide = QuantumCircuit(num_qubits)
    wide.add_bits(circuit.clbits)
    for register in circuit.cregs:
        wide.add_register(register)
    wide.compose(circuit, qubits, circuit.clbits, inplace=True)
    return wide
