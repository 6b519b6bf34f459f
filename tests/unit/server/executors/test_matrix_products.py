"""Matrix product states of Aer: the order of their qubits, and what truncation does to them."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import Statevector
from qiskit_aer.noise import NoiseModel, ReadoutError, amplitude_damping_error, depolarizing_error

from qiskit_runtime_server.backends.ideal import ideal_configuration
from qiskit_runtime_server.errors import CircuitTooLargeError, CircuitTooLongError
from qiskit_runtime_server.executors.aer import AerExecutor, calls
from qiskit_runtime_server.executors.aer.matrix_products import (
    bond_bound,
    decompositions,
    placed,
    seconds_at_most,
    seconds_of,
)
from qiskit_runtime_server.simulation import engine
from qiskit_runtime_server.simulation.contract import SampleTask, Truncation
from qiskit_runtime_server.simulation.noise import DeviceNoise
from qiskit_runtime_server.simulation.plan import Plan
from qiskit_runtime_server.simulation.seeds import SeedPath
from qiskit_runtime_server.simulation.wish import Approximation, Wish

AER = AerExecutor(memory_bytes=2**28, threads=1)
TRUNCATED = Wish(approximation=Approximation.TRUNCATED)


ONLY_PRODUCTS = AerExecutor(memory_bytes=2**20, threads=1)
"""Too small for state vectors."""


def lattice(num_qubits: int) -> QuantumCircuit:
    """Return gates along and across two rows of qubits, twice."""
    circuit = QuantumCircuit(num_qubits, num_qubits)
    for layer in range(2):
        for qubit in range(num_qubits):
            circuit.ry(0.4 + 0.3 * qubit + layer, qubit)
        for qubit in range(num_qubits - 2):
            circuit.cx(qubit, qubit + 2)
        for qubit in range(0, num_qubits, 2):
            circuit.cx(qubit, qubit + 1)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


def tree(num_qubits: int) -> QuantumCircuit:
    """Return a GHZ state that is made along a binary tree, level by level, and no Clifford gate at its end."""
    circuit = QuantumCircuit(num_qubits, num_qubits)
    circuit.h(0)
    for qubit in range(1, num_qubits):
        circuit.cx((qubit - 1) // 2, qubit)
    circuit.rx(0.3, num_qubits - 1)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


def brickwork(num_qubits: int, depth: int, angle: float | Parameter = 0.4) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits, num_qubits)
    for layer in range(depth):
        for qubit in range(num_qubits):
            circuit.rx(0.3 + 0.1 * qubit + layer, qubit)
        for qubit in range(layer % 2, num_qubits - 1, 2):
            circuit.rzz(angle, qubit, qubit + 1)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


def task_of(circuit: QuantumCircuit, shots: int, noise: NoiseModel | None = None, values: object = ((),)) -> SampleTask:
    table = np.array(values, dtype=np.float64)
    seeds = np.arange(5, 5 + len(table), dtype=np.uint64)
    return SampleTask(circuit=circuit, parameter_values=table, shots=shots, noise=noise, seeds=seeds)


def chances_of(circuit: QuantumCircuit) -> NDArray[np.float64]:
    found: NDArray[np.float64] = Statevector(circuit.remove_final_measurements(inplace=False)).probabilities()
    return found


def distance(bits: NDArray[np.bool_], chances: NDArray[np.float64]) -> tuple[float, float]:
    """Return the total variation of shots from some chances, and the mean of what shot noise alone makes."""
    outcomes = bits @ (1 << np.arange(bits.shape[1]))
    seen = np.bincount(outcomes, minlength=len(chances)) / len(bits)
    noise = np.sqrt(2 * chances * (1 - chances) / math.pi / len(bits)).sum() / 2
    return float(np.abs(seen - chances).sum() / 2), float(noise)


def test_qubits_of_a_tree_stand_subtree_by_subtree() -> None:
    circuit = tree(40)
    order, bond = placed(circuit)
    assert sorted(order) == list(range(40))
    assert bond_bound(circuit) == 2**20
    assert bond == bond_bound(circuit, order) == 32


def test_an_order_that_is_good_enough_stays() -> None:
    circuit = brickwork(20, 6)
    assert placed(circuit) == (list(range(20)), 8)


def test_qubits_of_a_lattice_do_not_stay_where_a_gate_brought_them() -> None:
    """Aer leaves them there: the bonds of this circuit grew past 512, and its LAPACK read past the end of a matrix."""
    bits = ONLY_PRODUCTS.sample(task_of(lattice(20), 4000))[0]
    places = [0, 7, 12, 19]
    chances = Statevector(lattice(20).remove_final_measurements(inplace=False)).probabilities(places)
    counts = np.bincount(bits[:, places] @ [1, 2, 4, 8], minlength=16)
    # Sixteen outcomes: by chance, one in a million distances is larger.
    assert np.abs(counts / 4000 - chances).sum() / 2 < 0.06


@pytest.mark.parametrize("truncation", [None, Truncation(bond=64, weight=1e-9)], ids=["exact", "truncated"])
def test_all_gates_of_the_ideal_device_run_as_matrix_products(truncation: Truncation | None) -> None:
    """Aer's method does not know controlled rotations by name."""
    parameter = Parameter("a")
    circuit = QuantumCircuit(18, 18)
    circuit.h(range(18))
    known = get_standard_gate_name_mapping()
    for number, name in enumerate(ideal_configuration("ideal", 18)["basis_gates"]):
        gate = known[name].base_class(*[parameter] * len(known[name].params))
        circuit.append(gate, [number % 16, number % 16 + 1][: gate.num_qubits])
    for qubit in range(17):
        circuit.crx(parameter, qubit, qubit + 1)
    circuit.measure(range(18), range(18))
    task = task_of(circuit, 4000, values=[[0.7]])
    bits = ONLY_PRODUCTS.sample(replace(task, truncation=truncation))[0]
    gates = circuit.remove_final_measurements(inplace=False).assign_parameters([0.7])
    places = [0, 5, 11, 17]
    chances = Statevector(gates).probabilities(places)
    counts = np.bincount(bits[:, places] @ [1, 2, 4, 8], minlength=16)
    # As above.
    assert np.abs(counts / 4000 - chances).sum() / 2 < 0.06


def test_a_tree_of_forty_qubits_runs_exactly_with_noise_of_its_own_qubits() -> None:
    circuit = tree(40)
    model = NoiseModel()
    # Only one qubit is misread, and only one errs: they must still be these after the qubits have changed places.
    model.add_readout_error(ReadoutError([[0.7, 0.3], [0.3, 0.7]]), [17])
    model.add_quantum_error(depolarizing_error(1.0, 2), "cx", [9, 20])
    noise = DeviceNoise.from_model(model, 40)
    told: list[Plan] = []
    bits = engine.sample(AER, circuit, np.empty((1, 0)), 600, noise=noise, seeds=SeedPath((3,)), report=told.append)[0]
    assert [(plan.method, plan.truncation_error) for plan in told] == [("matrix-product-state", 0.0)]
    others = [qubit for qubit in range(40) if qubit not in {9, 17, 20, 39}]
    assert (bits[:, others] == bits[:, :1]).all()
    assert 0.4 < bits[:, 0].mean() < 0.6
    assert abs((bits[:, 17] != bits[:, 0]).mean() - 0.3) < 0.08
    assert abs((bits[:, 9] != bits[:, 0]).mean() - 0.5) < 0.09
    assert abs((bits[:, 20] != bits[:, 0]).mean() - 0.5) < 0.09
    assert abs((bits[:, 39] != bits[:, 0]).mean() - math.sin(0.15) ** 2) < 0.02


@pytest.mark.parametrize("most_error", [0.3, 0.05, 0.001])
def test_truncated_shots_are_as_far_from_exact_ones_as_is_said(most_error: float) -> None:
    circuit = brickwork(8, 8)
    task = task_of(circuit, 30_000)
    offer = AER.offer_truncated(task, most_error)
    assert offer.truncation is not None
    assert 0 < offer.truncation_error <= most_error
    (bits,) = AER.sample(replace(task, truncation=offer.truncation))
    found, noise = distance(bits, chances_of(circuit))
    assert found < offer.truncation_error + 1.5 * noise


def test_a_hard_truncation_is_seen_and_said() -> None:
    """That the test above can fail: what bonds of 2 leave out changes outcomes by more than shot noise."""
    circuit = brickwork(8, 8)
    (bits,) = AER.sample(replace(task_of(circuit, 30_000), truncation=Truncation(bond=2, weight=1e-16)))
    found, noise = distance(bits, chances_of(circuit))
    assert found > 3 * noise


def test_rows_and_noise_are_truncated_too() -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.01, 2), "rzz")
    circuit = brickwork(9, 6, Parameter("a"))
    task = task_of(circuit, 300, model, ((0.2,), (0.7,)))
    offer = AER.offer_truncated(task, 0.1)
    assert 0 < offer.truncation_error <= 0.1
    bits = AER.sample(replace(task, truncation=offer.truncation))
    assert bits.shape == (2, 300, 9)


def test_a_row_is_truncated_alike_whatever_stands_beside_it() -> None:
    circuit = brickwork(20, 60, Parameter("a"))
    kept = [AER.offer_truncated(task_of(circuit, 4, None, ((0.001,),) * rows), 0.3).truncation for rows in (1, 9)]
    assert kept[0] == kept[1]


def test_the_time_that_truncated_states_take_at_most_grows_with_the_bonds_of_the_cuts_that_gates_cross() -> None:
    chain = QuantumCircuit(100)
    chain.h(0)
    for qubit in range(99):
        chain.cx(qubit, qubit + 1)

    def seconds(circuit: QuantumCircuit) -> float:
        return seconds_at_most(circuit, range(circuit.num_qubits), 256, None).evolution

    assert seconds(chain) < 0.1
    near, far = QuantumCircuit(100), QuantumCircuit(100)
    near.cx(0, 1)
    far.cx(0, 99)
    assert seconds(far) > 40 * seconds(near)
    shallow, deep = brickwork(40, 4), brickwork(40, 40)
    assert seconds(deep) > 100 * seconds(shallow)
    assert seconds(deep) < seconds_of(256, len(deep.data))
    toffoli = QuantumCircuit(40)
    toffoli.ccx(0, 20, 39)
    assert 0 < seconds(toffoli) < seconds_of(256, 40)


def test_what_would_take_far_too_long_is_refused_before_anything_is_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_arguments: object, **_options: object) -> None:
        pytest.fail("Aer was run")

    monkeypatch.setattr(AerExecutor, "_run", run)
    with pytest.raises(CircuitTooLongError, match=r"by matrix-product-state their simulation would take about .* s"):
        list(
            engine.plans(
                AER, brickwork(60, 60, 1.2), np.empty((1, 0)), 100, noise=None, wish=TRUNCATED, limit_seconds=5
            )
        )


def test_what_is_refused_runs_truncated_and_says_so() -> None:
    circuit = brickwork(40, 20, 0.03)
    with pytest.raises(CircuitTooLargeError, match=r"Truncated states may run it.*simulator\.approximation: truncated"):
        list(engine.plans(AER, circuit, np.empty((1, 0)), 100, noise=None))
    told: list[Plan] = []
    bits = engine.sample(
        AER, circuit, np.empty((1, 0)), 100, noise=None, seeds=SeedPath((1,)), wish=TRUNCATED, report=told.append
    )
    expected, plan = told
    assert (expected.method, expected.approximates) == (plan.method, False)
    assert 0 < expected.seconds < math.inf
    assert bits.shape == (1, 100, 40)
    assert plan.approximates
    assert 0 < plan.truncation_error <= TRUNCATED.max_truncation_error
    assert "truncated, which may change results by" in str(plan)
    assert plan.document()["truncation_error"] == plan.truncation_error


def test_what_is_too_entangled_is_refused_with_its_error(monkeypatch: pytest.MonkeyPatch) -> None:
    circuit = brickwork(40, 20, 1.2)
    # As bonds of 256 are too little for wider circuits, which take minutes here.
    monkeypatch.setattr("qiskit_runtime_server.executors.aer.matrix_products._TRUNCATED_ROW_SECONDS", 0.2)
    with pytest.raises(CircuitTooLargeError, match=r"with bonds of \d+, truncation could change results by"):
        list(engine.plans(AER, circuit, np.empty((1, 0)), 100, noise=None, wish=TRUNCATED, limit_seconds=60))


def test_what_discards_too_much_is_refused_by_its_beginning(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole trajectories of the device's errors on 127 qubits take minutes."""
    model = NoiseModel()
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.01), ["rx"])
    circuit = brickwork(16, 120, 1.2)
    tried: list[int] = []
    run = calls.run

    def counted(circuits: Sequence[QuantumCircuit], *arguments: Any, **options: Any) -> list[Any]:
        tried.append(sum(part.operation.num_qubits == 2 for part in circuits[0].data))
        return run(circuits, *arguments, **options)

    monkeypatch.setattr(calls, "run", counted)
    monkeypatch.setattr("qiskit_runtime_server.executors.aer.matrix_products._TRUNCATED_ROW_SECONDS", 0.2)
    with pytest.raises(CircuitTooLargeError, match=r"truncation could change results by [\d.]+ or more"):
        AER.offer_truncated(task_of(circuit, 100, model), 0.02)
    assert 0 < max(tried) <= decompositions(circuit) / 4
