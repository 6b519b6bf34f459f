"""The exact reference itself: against closed forms, Qiskit's own states, and Aer's density matrices."""

import io
import math
from collections.abc import Callable

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, qpy
from qiskit.circuit import Delay, Parameter
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import RZGate, SXGate, UnitaryGate, XGate, get_standard_gate_name_mapping
from qiskit.circuit.random import random_circuit
from qiskit.quantum_info import DensityMatrix, Operator, SparsePauliOp, Statevector, random_unitary
from qiskit_aer import AerSimulator
from qiskit_aer.noise import (
    NoiseModel,
    QuantumError,
    ReadoutError,
    amplitude_damping_error,
    coherent_unitary_error,
    depolarizing_error,
    kraus_error,
    pauli_error,
    phase_damping_error,
    reset_error,
    thermal_relaxation_error,
)
from qiskit_ibm_runtime.fake_provider import FakeFractionalBackend, FakeJakartaV2, FakeLondonV2, FakeManilaV2

from kit.quantum.dynamic_circuits import CASES, Case
from kit.quantum.exact_expressions import Memory, UndefinedError
from kit.quantum.exact_noise import Errors, Relaxation, embedded
from kit.quantum.exact_reference import (
    EndlessLoopError,
    distribution,
    expectation_value,
    measured_values,
    shot_variance,
    state,
)

TRUE, FALSE = (expr.Value(value, types.Bool()) for value in (True, False))


def sent(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return `circuit` as it arrives: blocks have bits of their own then."""
    file = io.BytesIO()
    qpy.dump(circuit, file)
    file.seek(0)
    return qpy.load(file)[0]


def aer_state(circuit: QuantumCircuit, model: NoiseModel | None) -> np.ndarray:
    """Return Aer's density matrix, the classical memory traced out."""
    saved = circuit.copy()
    saved.save_density_matrix()
    result = AerSimulator(method="density_matrix", noise_model=model).run(saved, shots=1).result()
    return np.asarray(result.data()["density_matrix"].data)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("through", [QuantumCircuit.copy, sent], ids=["built", "sent"])
def test_control_flow_gives_what_one_works_out_by_hand(
    case: Callable[[], Case], through: Callable[[QuantumCircuit], QuantumCircuit]
) -> None:
    circuit, expected = case()
    found = {bits: chance for bits, chance in distribution(through(circuit)).items() if chance > 1e-9}
    assert found == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("seed", range(8))
def test_gates_are_those_of_statevector(seed: int) -> None:
    circuit = random_circuit(4, 8, max_operands=3, seed=seed)
    circuit.append(UnitaryGate(random_unitary(4, seed=seed)), [3, 1])
    assert state(circuit) == pytest.approx(DensityMatrix(Statevector(circuit)).data, abs=1e-9)


def test_every_standard_gate_acts_as_its_matrix_on_qubits_in_any_order() -> None:
    for name, gate in get_standard_gate_name_mapping().items():
        if name in {"measure", "reset", "delay"}:
            continue
        bound = type(gate)(*np.linspace(0.3, 1.1, len(gate.params))) if gate.params else gate
        circuit = QuantumCircuit(5)
        for qubit in range(5):
            circuit.ry(0.3 + qubit, qubit)
        circuit.append(bound, [4, 0, 2, 1, 3][: gate.num_qubits])
        assert state(circuit) == pytest.approx(DensityMatrix(Statevector(circuit)).data, abs=1e-9), name


def test_an_operator_is_embedded_as_in_qiskit() -> None:
    circuit = QuantumCircuit(3)
    gate = UnitaryGate(random_unitary(4, seed=5))
    circuit.append(gate, [2, 0])
    assert embedded(gate.to_matrix(), [2, 0], 3) == pytest.approx(Operator(circuit).data)


def every_kind_of_error() -> NoiseModel:
    rotation = Operator(RZGate(0.2)).data
    mixture = [math.sqrt(0.8) * np.eye(2), math.sqrt(0.2) * Operator(SXGate()).data]
    model = NoiseModel(basis_gates=["h", "sx", "x", "cx", "cz", "rz", "id", "rx"])
    model.add_all_qubit_quantum_error(depolarizing_error(0.05, 2), "cx")
    model.add_quantum_error(
        thermal_relaxation_error(5e-5, 3e-5, 1e-5).expand(amplitude_damping_error(0.2)), "cx", [2, 0]
    )
    model.add_all_qubit_quantum_error(pauli_error([("XY", 0.1), ("ZI", 0.05), ("II", 0.85)]), "cz")
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.1, 0.2), "h")
    model.add_quantum_error(phase_damping_error(0.3), "h", [1])
    model.add_quantum_error(coherent_unitary_error(rotation), "sx", [0])
    model.add_all_qubit_quantum_error(kraus_error(mixture), "sx")
    model.add_all_qubit_quantum_error(reset_error(0.1, 0.05), "x")
    model.add_all_qubit_quantum_error(thermal_relaxation_error(5e-5, 9e-5, 1e-5, 0.1), "rx")
    model.add_all_qubit_quantum_error(depolarizing_error(0.02, 1), "rx")
    model.add_all_qubit_quantum_error(pauli_error([("X", 0.1), ("I", 0.9)]), "reset")
    model.add_quantum_error(pauli_error([("Y", 0.2), ("I", 0.8)]), "measure", [1])
    return model


def mixed_circuit(seed: int) -> QuantumCircuit:
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(3, 3)
    for _ in range(25):
        name = rng.choice(["h", "sx", "x", "cx", "cz", "rx", "reset", "measure"], p=[0.14] * 6 + [0.08, 0.08])
        qubits = rng.permutation(3).tolist()
        if name in {"cx", "cz"}:
            getattr(circuit, name)(*qubits[:2])
        elif name == "rx":
            circuit.rx(rng.uniform(0, 6), qubits[0])
        elif name == "measure":
            circuit.measure(qubits[0], qubits[1])
        else:
            getattr(circuit, name)(qubits[0])
    return circuit


@pytest.mark.parametrize("seed", range(6))
def test_errors_of_every_kind_act_as_in_aer(seed: int) -> None:
    circuit, model = mixed_circuit(seed).remove_final_measurements(inplace=False), every_kind_of_error()
    # Aer's density matrix of one shot is one branch; a circuit that measures nothing has only one.
    unread = circuit.copy_empty_like()
    for instruction in circuit.data:
        if instruction.name != "measure":
            unread.append(instruction)
    assert state(unread, Errors.of_model(model)) == pytest.approx(aer_state(unread, model), abs=1e-9)


def chances(circuit: QuantumCircuit, model: NoiseModel) -> dict[int, float]:
    shots = 20_000
    counts = AerSimulator(method="density_matrix", noise_model=model).run(circuit, shots=shots, seed_simulator=7)
    return {int(bits, 16): n / shots for bits, n in counts.result().data()["counts"].items()}


@pytest.mark.parametrize("seed", range(3))
def test_measurements_in_the_middle_and_misread_bits_are_those_of_aer(seed: int) -> None:
    circuit, model = mixed_circuit(seed), every_kind_of_error()
    model.add_all_qubit_readout_error(ReadoutError([[0.95, 0.05], [0.2, 0.8]]))
    model.add_readout_error(ReadoutError([[0.7, 0.3], [0.1, 0.9]]), [1])
    circuit.measure([0, 1], [0, 1])
    exact = distribution(circuit, Errors.of_model(model))
    seen = chances(circuit, model)
    assert seen.keys() <= exact.keys()
    # 5 sigma of 20,000 shots.
    for bits, chance in exact.items():
        assert seen.get(bits, 0) == pytest.approx(chance, abs=5 * math.sqrt(chance * (1 - chance) / 20_000) + 1e-9)


@pytest.mark.parametrize("backend", [FakeManilaV2(), FakeFractionalBackend(), FakeJakartaV2()], ids=lambda b: b.name)
def test_errors_of_a_device_are_those_of_aer(backend: FakeManilaV2) -> None:
    circuit = QuantumCircuit(3)
    two = "cz" if "cz" in backend.operation_names else "cx"
    circuit.sx([0, 1])
    for low, high in ((0, 1), (1, 2)):
        qubits = (low, high) if (low, high) in backend.target[two] else (high, low)
        getattr(circuit, two)(*qubits)
    circuit.delay(20, 0, unit="us")
    circuit.delay(100_000, 1, unit="dt")
    circuit.x(2)
    circuit.delay(3e-5, 2, unit="s")
    circuit.sx(0)
    model = NoiseModel.from_backend(backend)
    assert state(circuit, Errors.of_backend(backend, range(3))) == pytest.approx(aer_state(circuit, model), abs=1e-8)


def test_a_legacy_device_has_its_errors_under_the_new_names() -> None:
    backend = FakeLondonV2()
    old, new = QuantumCircuit(1), QuantumCircuit(1)
    old.append(get_standard_gate_name_mapping()["u3"].base_class(math.pi, 0, math.pi), [0])
    new.x(0)
    expected = aer_state(old, NoiseModel.from_backend(backend))
    assert state(new, Errors.of_backend(backend)) == pytest.approx(expected, abs=1e-8)
    assert abs(expected[0, 0]) > 1e-5


@pytest.mark.parametrize(
    ("duration", "unit"),
    [(2e-5, "s"), (0.02, "ms"), (20, "us"), (20_000, "ns"), (20_000_000, "ps"), (100_000, "dt")],
)
def test_a_delay_relaxes_in_every_unit(duration: float, unit: str) -> None:
    relaxation = Relaxation(t1=[1e-4], t2=[5e-5], dt=2e-10)
    circuit = QuantumCircuit(1)
    circuit.sx(0)
    circuit.append(Delay(duration, unit), [0])
    found = state(circuit, Errors(relaxation=relaxation))
    assert found[1, 1] == pytest.approx(math.exp(-0.2) / 2)
    assert abs(found[0, 1]) == pytest.approx(math.exp(-0.4) / 2)


def test_a_delay_without_a_limit_of_time_changes_nothing() -> None:
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.delay(1, 0, unit="s")
    relaxation = Relaxation(t1=[math.inf], t2=[math.inf], dt=None)
    assert state(circuit, Errors(relaxation=relaxation)) == pytest.approx(np.full((2, 2), 0.5))


@pytest.mark.parametrize(
    ("label", "named", "flips"),
    [(None, False, 0.3), ("mine", False, 0.3), ("mine", True, 0.1)],
    ids=["no label", "a label that the model does not name", "a label that the model names"],
)
def test_a_label_counts_only_where_the_model_names_it(label: str | None, named: bool, flips: float) -> None:  # noqa: FBT001
    model = NoiseModel()
    model.add_all_qubit_quantum_error(pauli_error([("X", 0.3), ("I", 0.7)]), "x")
    if named:
        model.add_all_qubit_quantum_error(pauli_error([("X", 0.1), ("I", 0.9)]), "mine")
    circuit = QuantumCircuit(1, 1)
    circuit.append(XGate(label=label), [0])
    circuit.measure(0, 0)
    assert distribution(circuit, Errors.of_model(model))[0] == pytest.approx(flips)


def test_a_label_changes_nothing_on_a_device() -> None:
    errors = Errors.of_backend(FakeManilaV2())
    found = []
    for label in (None, "x2"):
        circuit = QuantumCircuit(2)
        circuit.append(XGate(label=label), [0])
        delay = Delay(20, "us")
        delay.label = label
        circuit.append(delay, [0])
        found.append(state(circuit, errors))
    assert found[0] == pytest.approx(found[1])
    assert found[0][1, 1] < 0.9


def test_local_errors_go_before_those_of_all_qubits_and_heed_the_order_of_qubits() -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(pauli_error([("IX", 0.5), ("II", 0.5)]), "cx")
    model.add_quantum_error(pauli_error([("XI", 1.0)]), "cx", [1, 0])
    circuit = QuantumCircuit(2, 2)
    circuit.cx(1, 0)
    circuit.measure([0, 1], [0, 1])
    assert distribution(circuit, Errors.of_model(model)) == pytest.approx({0b01: 1.0})
    other = QuantumCircuit(2, 2)
    other.cx(0, 1)
    other.measure([0, 1], [0, 1])
    assert distribution(other, Errors.of_model(model)) == pytest.approx({0b00: 0.5, 0b01: 0.5})


U8, U3 = types.Uint(8), types.Uint(3)
A, B = expr.lift(5, U3), expr.lift(6, U3)


@pytest.mark.parametrize(
    ("node", "worth"),
    [
        (expr.bit_and(A, B), 4),
        (expr.bit_or(A, B), 7),
        (expr.bit_xor(A, B), 3),
        (expr.bit_not(A), 2),
        (expr.add(A, B), 3),
        (expr.sub(A, B), 7),
        (expr.mul(A, B), 6),
        (expr.div(B, expr.lift(4, U3)), 1),
        (expr.shift_left(A, 1), 2),
        (expr.shift_left(A, 7), 0),
        (expr.shift_right(A, 2), 1),
        (expr.less(A, B), True),
        (expr.less_equal(A, A), True),
        (expr.greater(A, B), False),
        (expr.greater_equal(A, B), False),
        (expr.equal(A, B), False),
        (expr.not_equal(A, B), True),
        (expr.logic_and(TRUE, FALSE), False),
        (expr.logic_or(TRUE, FALSE), True),
        (expr.logic_not(TRUE), False),
        (expr.bit_xor(TRUE, TRUE), False),
        (expr.bit_not(FALSE), True),
        (expr.index(A, 1), False),
        (expr.index(A, 2), True),
        (expr.cast(expr.lift(200, U8), U3), 0),
        (expr.cast(expr.lift(201, U8), U3), 1),
        (expr.cast(expr.lift(4, U8), types.Bool()), True),
        (expr.cast(TRUE, U8), 1),
        (expr.cast(A, U8), 5),
        (expr.negate(expr.lift(0.5)), -0.5),
        (expr.cast(A, types.Float()), 5.0),
    ],
    ids=str,
)
def test_expressions_have_qiskits_values(node: expr.Expr, worth: float) -> None:
    found = Memory(0, {}, {}).value(node)
    assert (found, type(found)) == (worth, type(worth))


@pytest.mark.parametrize("node", [expr.div(A, expr.lift(0, U3)), expr.index(A, 7)], ids=str)
def test_an_expression_that_qiskit_leaves_open_has_no_value(node: expr.Expr) -> None:
    with pytest.raises(UndefinedError):
        Memory(0, {}, {}).value(node)


def test_bits_and_registers_are_stored_to_whole_or_bit_by_bit() -> None:
    circuit = QuantumCircuit(QuantumRegister(1), ClassicalRegister(3, "a"), ClassicalRegister(2, "b"))
    a, b = circuit.cregs
    number = circuit.add_var("n", expr.lift(1, U3))
    circuit.store(a, 6)
    circuit.store(circuit.clbits[3], expr.index(a, 1))
    circuit.store(expr.index(number, 2), TRUE)
    with circuit.if_test(expr.equal(number, 5)):
        circuit.store(expr.index(b, 1), TRUE)
    assert distribution(circuit) == pytest.approx({0b11110: 1.0})


def test_registers_may_share_bits() -> None:
    circuit = QuantumCircuit(1, 2)
    circuit.add_register(ClassicalRegister(name="r", bits=list(reversed(circuit.clbits))))
    circuit.x(0)
    circuit.measure(0, 0)
    with circuit.switch(circuit.cregs[-1]) as case, case(2):
        circuit.store(circuit.clbits[1], TRUE)
    assert distribution(circuit) == pytest.approx({0b11: 1.0})


def test_a_variable_of_a_block_starts_anew_in_each_round() -> None:
    circuit = QuantumCircuit(1, 1)
    with circuit.for_loop(range(2)):
        own = circuit.add_var("own", FALSE)
        circuit.store(circuit.clbits[0], own)
        circuit.store(own, TRUE)
    assert distribution(circuit) == pytest.approx({0: 1.0})


def test_a_loop_that_never_ends_is_told() -> None:
    circuit = QuantumCircuit(1, 1)
    with circuit.while_loop((circuit.clbits[0], 0)):
        circuit.x(0)
    with pytest.raises(EndlessLoopError):
        distribution(circuit)


def test_a_loop_ends_as_often_as_a_geometric_law_says() -> None:
    circuit = QuantumCircuit(1, 3)
    count = circuit.add_var("count", expr.lift(0, types.Uint(2)))
    with circuit.while_loop((circuit.clbits[0], 0)):
        circuit.h(0)
        circuit.measure(0, 0)
        circuit.store(count, expr.add(count, 1))
    for bit in range(2):
        circuit.store(circuit.clbits[1 + bit], expr.index(count, bit))
    # Rounds modulo 4: 1, 5, 9, ... have 1/2 + 1/32 + ... = 8/15.
    expected = {0b011: 8 / 15, 0b101: 4 / 15, 0b111: 2 / 15, 0b001: 1 / 15}
    assert distribution(circuit) == pytest.approx(expected, abs=1e-9)


def test_unbound_parameters_are_refused() -> None:
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("t"), 0)
    with pytest.raises(ValueError, match="without values"):
        state(circuit)


@pytest.mark.parametrize("seed", range(4))
def test_values_of_observables_are_those_of_quantum_info(seed: int) -> None:
    circuit = random_circuit(3, 5, max_operands=2, seed=seed)
    terms = {"XYZ": 0.7, "IZZ": -1.2, "XII": 0.4, "III": 2.0}
    found = expectation_value(state(circuit), terms)
    assert found == pytest.approx(Statevector(circuit).expectation_value(SparsePauliOp.from_list(terms.items())).real)


def test_projectors_add_up_to_pauli_matrices() -> None:
    rho = state(random_circuit(1, 4, seed=3))
    for letter, plus, minus in (("X", "+", "-"), ("Y", "r", "l"), ("Z", "0", "1")):
        assert expectation_value(rho, {plus: 1.0, minus: -1.0}) == pytest.approx(expectation_value(rho, {letter: 1.0}))


def test_measured_values_are_those_of_the_state_where_nothing_goes_wrong() -> None:
    circuit = random_circuit(3, 5, max_operands=2, seed=11)
    rotations = {"X": [RZGate(math.pi / 2), SXGate()], "Y": [SXGate()]}
    terms = {"XYZ": 0.5, "IYZ": 1.5, "XI1": -0.5, "+rI": 0.25, "III": 1.0}
    mean, variance = measured_values(circuit, terms, rotations=rotations)
    rho = state(circuit)
    assert mean == pytest.approx(expectation_value(rho, terms))
    assert variance == pytest.approx(shot_variance(rho, terms))


def test_measured_values_have_the_errors_of_reading() -> None:
    model = NoiseModel()
    model.add_all_qubit_readout_error(ReadoutError([[0.9, 0.1], [0.3, 0.7]]))
    circuit = QuantumCircuit(2)
    circuit.x(1)
    mean, variance = measured_values(circuit, {"ZZ": 1.0}, Errors.of_model(model))
    assert mean == pytest.approx((1 - 2 * 0.1) * (2 * 0.3 - 1))
    assert variance == pytest.approx(1 - mean**2)


def test_terms_that_need_two_measurements_are_refused() -> None:
    with pytest.raises(ValueError, match="more than one"):
        measured_values(QuantumCircuit(1), {"X": 1.0, "Z": 1.0})


def test_an_error_of_several_parts_acts_in_their_order() -> None:
    error = QuantumError([([(XGate(), [0]), (SXGate(), [0])], 0.25), ([(SXGate(), [0])], 0.75)])
    model = NoiseModel()
    model.add_all_qubit_quantum_error(error, "h")
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.3), "h")
    circuit = QuantumCircuit(1)
    circuit.h(0)
    circuit.s(0)
    circuit.h(0)
    assert state(circuit, Errors.of_model(model)) == pytest.approx(aer_state(circuit, model), abs=1e-9)
