"""Circuits that measure and decide on their way, against what one can work out by hand, and against Aer."""

from collections.abc import Callable

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit.classical import expr, types
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error, thermal_relaxation_error

from kit.quantum.dynamic_circuits import CASES, Case
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.simulation.noise import DeviceNoise
from qiskit_runtime_server.simulation.statevector.classical import Expression

WAYS = pytest.mark.parametrize(("batched_qubits", "shots"), [(20, 4000), (0, 500)], ids=["batched", "one by one"])


@WAYS
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_control_flow_gives_what_it_says(
    shots_of: Callable[..., np.ndarray],
    expect: Callable[..., None],
    executor: Callable[..., object],
    case: Callable[[], Case],
    batched_qubits: int,
    shots: int,
) -> None:
    circuit, distribution = case()
    expect(shots_of(circuit, executor=executor(batched_qubits=batched_qubits), shots=shots), distribution)


def teleported() -> QuantumCircuit:
    circuit = QuantumCircuit(3, 3)
    circuit.ry(1.1, 0)
    circuit.h(1)
    circuit.cx(1, 2)
    circuit.cx(0, 1)
    circuit.h(0)
    circuit.measure([0, 1], [0, 1])
    with circuit.if_test((circuit.clbits[1], 1)):
        circuit.x(2)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.z(2)
    circuit.h(2)
    circuit.measure(2, 2)
    return circuit


def repeated_until_success() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    circuit.ry(0.9, 1)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure(0, 0)
    with circuit.while_loop((circuit.clbits[0], 1)):
        circuit.reset(0)
        circuit.h(0)
        circuit.cx(0, 1)
        circuit.measure(0, 0)
    circuit.h(1)
    circuit.measure(1, 1)
    return circuit


@WAYS
@pytest.mark.parametrize("make", [teleported, repeated_until_success])
def test_noisy_decisions_agree_with_aer(
    shots_of: Callable[..., np.ndarray],
    agree: Callable[..., None],
    executor: Callable[..., object],
    make: Callable[[], QuantumCircuit],
    batched_qubits: int,
    shots: int,
) -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.1, 2), "cx")
    model.add_all_qubit_quantum_error(thermal_relaxation_error(50e3, 70e3, 10e3), ["h", "x", "reset"])
    model.add_all_qubit_readout_error(ReadoutError([[0.95, 0.05], [0.1, 0.9]]))
    noise = DeviceNoise.from_model(model, 3)
    ours = shots_of(make(), noise=noise, executor=executor(batched_qubits=batched_qubits), shots=shots)
    theirs = shots_of(make(), noise=noise, executor=AerExecutor(threads=1), shots=8000)
    agree(ours, theirs)


def test_a_misread_bit_decides_as_it_was_read(
    shots_of: Callable[..., np.ndarray], expect: Callable[..., None], executor: Callable[..., object]
) -> None:
    circuit = QuantumCircuit(2, 2)
    circuit.x(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure(1, 1)
    model = NoiseModel()
    model.add_readout_error(ReadoutError([[1, 0], [0.25, 0.75]]), [0])
    expect(shots_of(circuit, noise=DeviceNoise.from_model(model, 2), executor=executor()), {0b00: 0.25, 0b11: 0.75})


def test_expressions_are_worked_out_as_qiskit_says() -> None:
    register = ClassicalRegister(3, "c")
    circuit = QuantumCircuit(QuantumRegister(1), register)
    scope = {bit: place for place, bit in enumerate(circuit.clbits)}
    value = expr.lift(5, types.Uint(3))
    operations: dict[Callable[..., expr.Expr], Callable[[int], int]] = {
        expr.bit_and: lambda c: c & 5,
        expr.bit_or: lambda c: c | 5,
        expr.bit_xor: lambda c: c ^ 5,
        expr.add: lambda c: (c + 5) % 8,
        expr.sub: lambda c: (c - 5) % 8,
        expr.mul: lambda c: (c * 5) % 8,
        expr.div: lambda c: c // 5,
        expr.shift_left: lambda c: (c << 5) % 8,
        expr.shift_right: lambda c: c >> 5,
        expr.equal: lambda c: c == 5,
        expr.not_equal: lambda c: c != 5,
        expr.less: lambda c: c < 5,
        expr.less_equal: lambda c: c <= 5,
        expr.greater: lambda c: c > 5,
        expr.greater_equal: lambda c: c >= 5,
    }
    every = np.arange(8)
    bits = (every[:, None] >> np.arange(3) & 1).astype(bool)
    for operation, wanted in operations.items():
        got = Expression(operation(register, value), scope).number(bits)
        assert got.tolist() == [int(wanted(c)) for c in range(8)], operation.__name__
    assert Expression(expr.bit_not(register), scope).number(bits).tolist() == [7 - c for c in every]
    assert Expression(expr.index(register, 1), scope).number(bits).tolist() == [c >> 1 & 1 for c in every]
    assert Expression(expr.cast(register, types.Bool()), scope).number(bits).tolist() == [int(c > 0) for c in every]
    assert Expression(expr.logic_not(register), scope).number(bits).tolist() == [int(c == 0) for c in every]
    assert Expression((register, 6), scope).number(bits).tolist() == [int(c == 6) for c in every]
