"""Runs quantum programs that this server makes itself, on the way to the results of other programs.

An item is a circuit and, with a samplex, a distribution of its parameter values: each draw is a randomization, which
leaves the ideal outcome as it is and makes of the errors what twirling makes of them (Wallman, Emerson, 2016,
https://doi.org/10.1103/PhysRevA.94.052325).

    item of shape (32, 5), 128 shots, 3 bits     32 randomizations of 5 parameter sets
    its registers                                bits of shape (32, 5, 128, 3)
    beside them                                  what was drawn: flips of measurements, signs of Paulis
"""

import math
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit_ibm_runtime.results import QuantumProgramResult
from samplomatic.quantum_program import CircuitItem, QuantumProgram, QuantumProgramItem

from qiskit_runtime_server.errors import TooManyShotsError
from qiskit_runtime_server.programs.device.boxes import opened
from qiskit_runtime_server.programs.mitigation.decoupling import decoupled
from qiskit_runtime_server.programs.prepared import PreparedDevice
from qiskit_runtime_server.programs.wire import samplexes
from qiskit_runtime_server.simulation.seeds import SeedPath

MAX_BITS: Final = 2**31
"""Of one program; each takes a byte."""


def run(
    prepared: PreparedDevice,
    program: QuantumProgram,
    seeds: SeedPath,
    *,
    shots: Mapping[int, int] | None = None,
    qubits: Sequence[int] | None = None,
) -> QuantumProgramResult:
    """Run all items of `program`, with dynamical decoupling if the job asks for it.

    Args:
        prepared: Where to.
        program: Its items' arguments are complete.
        seeds: Of this program.
        shots: Of the items, by their numbers, that do not take those of the program.
        qubits: Of the device, for those of the circuits; by default the first ones.
    """
    numbers = [(shots or {}).get(index, program.shots) for index in range(len(program.items))]
    _check_size(program, numbers)
    results = []
    for index, (item, number) in enumerate(zip(program.items, numbers, strict=True)):
        circuit = placed(opened(item.circuit), qubits, prepared.device.num_qubits)
        if prepared.options.decoupling.enable:
            circuit = decoupled(circuit, prepared.device, prepared.options.decoupling, "a circuit of the program")
        values, drawn = _values(item, circuit, seeds.item(index).randomizations)
        registers = _registers(prepared, circuit, values, number, seeds.item(index).shots)
        shaped = {name: bits.reshape(*item.shape, *bits.shape[1:]) for name, bits in registers.items()}
        results.append({**drawn, **shaped})
    return QuantumProgramResult(results, passthrough_data=program.passthrough_data)


def _check_size(program: QuantumProgram, shots: Sequence[int]) -> None:
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
    for register in circuit.cregs:
        wide.add_register(register)
    wide.compose(circuit, qubits, circuit.clbits, inplace=True)
    return wide


def _values(
    item: QuantumProgramItem, circuit: QuantumCircuit, seeds: SeedPath
) -> tuple[NDArray[np.float64], dict[str, NDArray[np.generic]]]:
    """Return the parameter values of all elements, shape ``(elements, k)``, and what else was drawn for them."""
    elements = math.prod(item.shape)
    if isinstance(item, CircuitItem):
        table = item.circuit_arguments
        return np.broadcast_to(table, (*item.shape, circuit.num_parameters)).reshape(
            elements, circuit.num_parameters
        ), {}
    outputs = samplexes.draw(
        item.samplex.finalize(),
        item.samplex_arguments,
        item.shape,
        seeds,
        "the samplex",
    )
    values = outputs.pop(samplexes.PARAMETER_VALUES, np.empty((elements, 0)))
    return values.reshape(elements, values.shape[-1]).astype(np.float64), outputs


def _registers(
    prepared: PreparedDevice, circuit: QuantumCircuit, values: NDArray[np.float64], shots: int, seeds: SeedPath
) -> dict[str, NDArray[np.bool_]]:
    """Return the bits of every classical register, shape ``(elements, shots, bits)``."""
    columns = {register.name: [circuit.find_bit(bit).index for bit in register] for register in circuit.cregs}
    bits = {name: np.empty((len(values), shots, len(places)), np.bool_) for name, places in columns.items()}
    for rows, part in prepared.sample(circuit, values, shots, seeds):
        for name, places in columns.items():
            bits[name][rows] = part[..., places]
    return bits
