"""Measurements that a circuit ends in mean nothing to an estimator, at any level; all others do."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from qiskit.circuit import ClassicalRegister, Parameter, QuantumCircuit, QuantumRegister
from qiskit.circuit.classical import expr
from qiskit.primitives import DataBin
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit_aer.noise import NoiseModel, pauli_error

from kit.quantum.plain_executor import PlainExecutor
from qiskit_runtime_server.errors import UnsupportedOptionError
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.executors.base import BaseExecutor
from qiskit_runtime_server.programs.mitigation.final_measurements import without_final_measurements

METHODS: dict[str, dict[str, Any]] = {
    "default": {},
    "level 0": {"resilience_level": 0},
    "level 1": {"resilience_level": 1},
    "level 2": {"resilience_level": 2, "resilience": {"zne": {"extrapolator": "linear"}}},
    "gate twirling": {"resilience_level": 1, "twirling": {"enable_gates": True}},
    "decoupling": {"resilience_level": 0, "dynamical_decoupling": {"enable": True}},
}
FRONT = ("default", "level 0", "level 1")
"""Those that take circuits with measurements in their middle."""

VALUES = {"IIIXX": 1, "IIIYY": -1, "IIIZZ": 1, "IIXII": 1, "IIIIZ": 0}
"""Of `prepared`."""


def plus(circuit: QuantumCircuit, qubit: int) -> None:
    circuit.rz(math.pi / 2, qubit)
    circuit.sx(qubit)
    circuit.rz(math.pi / 2, qubit)


def prepared(*registers: ClassicalRegister) -> QuantumCircuit:
    """A Bell pair of qubits 0 and 1, and qubit 2 in an eigenstate of X."""
    circuit = QuantumCircuit(QuantumRegister(5, "q"), *registers)
    plus(circuit, 0)
    plus(circuit, 2)
    circuit.cx(0, 1)
    return circuit


def run(
    circuit: QuantumCircuit,
    observables: list[str],
    options: dict[str, Any],
    *,
    noise: NoiseModel | None = None,
    executor: BaseExecutor | None = None,
) -> DataBin:
    simulator = {"seed_simulator": 2, "noise_model": noise or NoiseModel()}
    pubs = [EstimatorPub.coerce((circuit, observables))]
    chosen = executor or AerExecutor()
    return chosen.execute_estimator(pubs, {**options, "simulator": simulator}, "fake_manila")[0].data


def measured_all() -> QuantumCircuit:
    circuit = prepared()
    circuit.measure_all()
    return circuit


def measured_into_several_registers() -> QuantumCircuit:
    circuit = prepared(ClassicalRegister(1, "a"), ClassicalRegister(3, "b"))
    circuit.measure([0, 1, 2], [0, 2, 1])
    return circuit


def measured_before_barrier() -> QuantumCircuit:
    circuit = prepared(ClassicalRegister(3, "a"))
    circuit.barrier()
    circuit.measure([0, 1], [0, 1])
    circuit.barrier()
    circuit.measure(2, 2)
    circuit.barrier(0, 2)
    return circuit


def measured_twice() -> QuantumCircuit:
    circuit = measured_into_several_registers()
    circuit.measure([0, 1], [1, 1])
    return circuit


def measured_in_part() -> QuantumCircuit:
    circuit = prepared(ClassicalRegister(2, "_meas"))
    circuit.measure(0, 1)
    return circuit


ENDS = (measured_all, measured_into_several_registers, measured_before_barrier, measured_twice, measured_in_part)


class TestFinalMeasurements:
    @pytest.mark.parametrize("method", METHODS)
    @pytest.mark.parametrize("circuit", ENDS)
    def test_they_change_no_value_at_any_level(self, method: str, circuit: Callable[[], QuantumCircuit]) -> None:
        data = run(circuit(), list(VALUES), METHODS[method])
        # Four values are exact on an ideal device; Z of half a Bell pair is a fair coin, to five standard errors.
        np.testing.assert_allclose(data.evs[:-1], list(VALUES.values())[:-1], atol=1e-6)
        assert 0 < abs(data.evs[-1]) <= 5 * data.stds[-1]

    def test_they_change_no_value_on_an_executor_without_an_engine_of_its_own(self) -> None:
        data = run(measured_all(), list(VALUES), METHODS["level 0"], executor=PlainExecutor())
        np.testing.assert_allclose(data.evs[:-1], list(VALUES.values())[:-1])

    @pytest.mark.parametrize("method", FRONT)
    def test_their_errors_do_not_act_a_second_time(self, method: str) -> None:
        noise = NoiseModel()
        noise.add_all_qubit_quantum_error(pauli_error([("X", 0.1), ("I", 0.9)]), "measure")
        circuit = QuantumCircuit(5)
        circuit.measure_all()
        wanted = 0.8 if method == "level 0" else 1.0
        data = run(circuit, ["IIIIZ"], METHODS[method], noise=noise)
        # Five standard errors; measured twice, it would be 0.64.
        assert abs(data.evs[0] - wanted) <= 5 * data.stds[0] < 0.12

    @pytest.mark.parametrize("method", FRONT)
    def test_parameters_keep_their_order(self, method: str) -> None:
        circuit = QuantumCircuit(5, 1)
        circuit.rz(Parameter("b"), 0)
        circuit.rz(Parameter("a"), 0)
        circuit.x(0)
        circuit.measure(0, 0)
        simulator = {"seed_simulator": 2, "noise_model": NoiseModel()}
        pub = EstimatorPub.coerce((circuit, "IIIIZ", [0.1, 0.2]))
        (result,) = AerExecutor().execute_estimator([pub], {**METHODS[method], "simulator": simulator}, "fake_manila")
        assert result.data.evs == -1


class TestMeasurementsInTheMiddle:
    @pytest.mark.parametrize("method", FRONT)
    def test_one_that_a_reset_follows_is_done(self, method: str) -> None:
        circuit = prepared(ClassicalRegister(1, "a"))
        circuit.measure(0, 0)
        circuit.reset(0)
        data = run(circuit, ["IIIXX", "IIIIZ", "IIIZI", "IIXII"], METHODS[method])
        # Qubit 0 is new, and its partner a fair coin.
        np.testing.assert_array_equal(data.evs[[1, 3]], [1, 1])
        assert np.all(np.abs(data.evs[[0, 2]]) <= 5 * data.stds[[0, 2]])

    @pytest.mark.parametrize("method", FRONT)
    def test_one_that_gates_follow_is_done(self, method: str) -> None:
        circuit = prepared(ClassicalRegister(2, "a"))
        circuit.measure([0, 2], [0, 1])
        circuit.x(2)
        circuit.measure_all()
        data = run(circuit, ["IIIXX", "IIXII"], METHODS[method])
        # That of qubit 0 is final; that of qubit 2 leaves nothing of X.
        assert data.evs[0] == 1
        assert abs(data.evs[1]) <= 5 * data.stds[1] < 0.1

    @pytest.mark.parametrize("method", FRONT)
    def test_one_before_a_barrier_that_is_not_final_is_done(self, method: str) -> None:
        circuit = prepared(ClassicalRegister(1, "a"))
        circuit.measure(2, 0)
        circuit.barrier()
        circuit.x(4)
        data = run(circuit, ["IIXII", "ZIIII", "IIIYY"], METHODS[method])
        assert abs(data.evs[0]) <= 5 * data.stds[0] < 0.1
        np.testing.assert_array_equal(data.evs[1:], [-1, -1])

    @pytest.mark.parametrize("method", ["level 2", "gate twirling"])
    def test_they_are_refused_where_circuits_are_rewritten(self, method: str) -> None:
        circuit = prepared(ClassicalRegister(1, "a"))
        circuit.measure(0, 0)
        circuit.x(0)
        circuit.measure_all()
        with pytest.raises(UnsupportedOptionError, match="reset or measurements in their middle"):
            run(circuit, ["IIIIZ"], METHODS[method])

    @pytest.mark.parametrize("method", ["default", "level 0"])
    def test_one_that_a_condition_reads_is_done_although_no_gate_follows_on_its_qubit(self, method: str) -> None:
        circuit = QuantumCircuit(5, 1)
        plus(circuit, 0)
        plus(circuit, 2)
        circuit.measure(0, 0)
        with circuit.if_test((0, 1)):
            circuit.x(1)
        circuit.measure_all()
        data = run(circuit, ["IIIZZ", "IIXII", "IIIIX"], METHODS[method])
        np.testing.assert_array_equal(data.evs[:2], [1, 1])
        assert abs(data.evs[2]) <= 5 * data.stds[2] < 0.1


def names(circuit: QuantumCircuit) -> list[list[tuple[str, tuple[int, ...]]]]:
    """The instructions on each qubit, in their order."""
    found: list[list[tuple[str, tuple[int, ...]]]] = [[] for _ in circuit.qubits]
    for instruction in circuit.data:
        qubits = tuple(circuit.find_bit(qubit).index for qubit in instruction.qubits)
        for qubit in qubits:
            found[qubit].append((instruction.name, qubits))
    return found


class TestRule:
    def test_it_is_that_of_qiskit_where_no_bit_is_read(self) -> None:
        rng = np.random.default_rng(4)
        shorter = 0
        for _ in range(300):
            circuit = QuantumCircuit(3, 3)
            for _ in range(rng.integers(1, 9)):
                first, second = rng.permutation(3)[:2].tolist()
                match rng.integers(7):
                    case 0:
                        circuit.x(first)
                    case 1:
                        circuit.cx(first, second)
                    case 2:
                        circuit.reset(first)
                    case 3:
                        circuit.barrier(*rng.permutation(3)[: rng.integers(1, 4)].tolist())
                    case _:
                        circuit.measure(first, second)
            ours = without_final_measurements(circuit)
            theirs = circuit.remove_final_measurements(inplace=False)
            dropped = ours.count_ops().get("measure", 0) < circuit.count_ops().get("measure", 0)
            shorter += dropped
            assert names(ours) == (names(theirs) if dropped else names(circuit))
            assert ours.count_ops().get("measure", 0) == theirs.count_ops().get("measure", 0)
        assert shorter > 100

    def test_a_circuit_without_any_is_returned_as_it_is(self) -> None:
        circuit = prepared()
        circuit.barrier()
        assert without_final_measurements(circuit) is circuit

    def test_a_bit_that_is_stored_elsewhere_is_read(self) -> None:
        circuit = QuantumCircuit(2, 2)
        circuit.measure([0, 1], [0, 1])
        seen = circuit.add_var("seen", expr.lift(circuit.clbits[0]))
        bare = without_final_measurements(circuit)
        assert [circuit.find_bit(i.qubits[0]).index for i in bare.data if i.name == "measure"] == [0]
        assert seen in set(bare.iter_vars())

    def test_a_register_in_an_expression_is_read(self) -> None:
        circuit = QuantumCircuit(2)
        circuit.add_register(ClassicalRegister(2, "a"), ClassicalRegister(2, "b"))
        circuit.measure([0, 1], [0, 3])
        circuit.store(circuit.cregs[1], expr.bit_not(circuit.cregs[0]))
        kept = [i for i in without_final_measurements(circuit).data if i.name == "measure"]
        assert len(kept) == 2

    def test_bits_that_nothing_else_uses_go_with_them(self) -> None:
        bare = without_final_measurements(measured_in_part())
        assert bare.num_clbits == 0
        assert bare.qregs == measured_in_part().qregs
