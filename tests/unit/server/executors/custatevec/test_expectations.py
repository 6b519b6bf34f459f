"""Exact expectation values are those that Qiskit gives."""

from collections.abc import Callable

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp, Statevector

from qiskit_runtime_server.errors import CircuitTooLargeError, InvalidInputError, UnsupportedOptionError
from qiskit_runtime_server.executors import AerExecutor, ExpectationTask
from qiskit_runtime_server.executors.custatevec.executor import CuStateVecExecutor


def circuit() -> QuantumCircuit:
    made = QuantumCircuit(3)
    for qubit in range(3):
        made.ry(Parameter(f"angle {qubit}"), qubit)
    made.cx(0, 1)
    made.rzz(0.7, 1, 2)
    made.h(2)
    return made


@pytest.mark.parametrize(("precision", "bound"), [("single", 1e-5), ("double", 1e-12)])
def test_they_are_those_of_the_state(executor: Callable[..., CuStateVecExecutor], precision: str, bound: float) -> None:
    observables = [
        SparsePauliOp(["XYZ", "IIZ", "III"], [0.5, -2, 3]),
        SparsePauliOp("ZZI"),
        SparsePauliOp.from_list([], num_qubits=3),
    ]
    values = np.random.default_rng(4).uniform(0, 6, (4, 3))
    task = ExpectationTask(circuit=circuit(), parameter_values=values, observables=observables)
    states = [Statevector(circuit().assign_parameters(row)) for row in values]
    wanted = [[state.expectation_value(observable).real for observable in observables] for state in states]
    assert executor(precision=precision).expectation_values(task) == pytest.approx(np.array(wanted), abs=10 * bound)


def test_chance_has_no_exact_values(executor: Callable[..., CuStateVecExecutor]) -> None:
    measured = QuantumCircuit(1, 1)
    measured.measure(0, 0)
    reset = QuantumCircuit(1)
    reset.reset(0)
    for wrong in (measured, reset):
        task = ExpectationTask(circuit=wrong, parameter_values=np.empty((1, 0)), observables=[SparsePauliOp("Z")])
        with pytest.raises(InvalidInputError, match="nothing but gates"):
            executor().expectation_values(task)


def test_executors_that_cannot_say_so() -> None:
    task = ExpectationTask(circuit=QuantumCircuit(1), parameter_values=np.empty((1, 0)), observables=[])
    with pytest.raises(UnsupportedOptionError, match="AerExecutor"):
        AerExecutor().expectation_values(task)


def test_a_state_that_does_not_fit_is_refused_first(executor: Callable[..., CuStateVecExecutor]) -> None:
    task = ExpectationTask(circuit=QuantumCircuit(45), parameter_values=np.empty((1, 0)), observables=[])
    with pytest.raises(CircuitTooLargeError, match="512 TiB"):
        executor().expectation_values(task)
