"""Runs circuits as wide as a device on an executor that sees only their small, independent parts.

The state of independent parts is a product, and so is the distribution of their outcomes: each part is sampled alone,
from a seed of its own (Nielsen, Chuang, Quantum Computation and Quantum Information, section 2.2.8,
https://doi.org/10.1017/CBO9780511976667).

    h q0; cx q0, q1; x q2; measure all      (q0, q1) by the executor, with seed number 1
                                            q2 as a coin that shows 1 with the probability that `single_qubits` gives
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit

from qiskit_runtime_server.simulation import single_qubits
from qiskit_runtime_server.simulation.angles import evaluated
from qiskit_runtime_server.simulation.components import split
from qiskit_runtime_server.simulation.contract import BitTensor, SampleTask, Simulator
from qiskit_runtime_server.simulation.noise import DeviceNoise
from qiskit_runtime_server.simulation.seeds import SeedPath


def sample(  # noqa: PLR0913 - all of them are needed to fix the bits
    executor: Simulator,
    circuit: QuantumCircuit,
    parameter_values: NDArray[np.float64],
    shots: int,
    *,
    noise: DeviceNoise | None,
    seeds: SeedPath,
    first: int = 0,
) -> BitTensor:
    """Take `shots` of `circuit` for every row of `parameter_values`.

    Args:
        executor: Simulates the parts that are larger than one qubit.
        circuit: Its qubits are the first ones of the device.
        parameter_values: Shape ``(n, k)``, columns in the order of ``circuit.parameters``.
        shots: For every row.
        noise: Of the device, or None if nothing goes wrong.
        seeds: Of the circuit; they and the numbers of the rows fix all bits.
        first: The number of the first row: rows give the same bits in whatever batches they come.

    Returns:
        Bits of shape ``(n, shots, circuit.num_clbits)``; the last axis is little-endian. Unwritten bits are False.

    Raises:
        InvalidInputError: If the circuit, or a value in it, makes no sense.
        CircuitTooLargeError: If a part of it does not fit into the executor's memory.
    """
    rows = slice(first, first + len(parameter_values))
    bits = np.zeros((len(parameter_values), shots, circuit.num_clbits), dtype=np.bool_)
    chances: dict[int, NDArray[np.float64]] = {}
    labels = frozenset[str]() if noise is None else noise.labels
    for number, component in enumerate(split(circuit, labels)):
        values = evaluated(component.angles, circuit.parameters, parameter_values)
        model = None if noise is None else noise.restricted_to(component.qubits, component.uses)
        chance = single_qubits.chance_of_one(component.circuit, values, model)
        if chance is not None:
            chances[component.clbits[0]] = chance
            continue
        task = SampleTask(
            circuit=component.circuit,
            parameter_values=values,
            shots=shots,
            noise=model,
            seeds=seeds.component(number).rows(rows),
        )
        bits[:, :, component.clbits] = executor.sample(task)[:, :, : len(component.clbits)]
    if chances:
        table = np.stack(list(chances.values()), axis=1)
        for row, coins in enumerate(_coins(table, shots, seeds.single_qubits.rows(rows))):
            bits[row][:, list(chances)] = coins
    return bits


def _coins(chances: NDArray[np.float64], shots: int, seeds: NDArray[np.uint64]) -> Iterator[BitTensor]:
    """Yield independent bits of shape ``(shots, bits)`` for each row of `chances`, which are those of True."""
    for row, seed in zip(chances, seeds.tolist(), strict=True):
        yield np.random.default_rng(seed).random((shots, len(row))) < row
