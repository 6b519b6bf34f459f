"""Clifford circuits of 40 to 127 qubits: against Aer's stabilizer method, and against closed forms."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit.classical import expr
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error, pauli_error
from scipy.stats import chi2_contingency, kstest, norm

from kit.quantum.goodness_of_fit import p_value
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.simulation import engine
from qiskit_runtime_server.simulation.components import Component, split
from qiskit_runtime_server.simulation.density import Evolution
from qiskit_runtime_server.simulation.measurements import terminal_measurements
from qiskit_runtime_server.simulation.noise import DeviceNoise
from qiskit_runtime_server.simulation.plan import Plan
from qiskit_runtime_server.simulation.seeds import SeedPath
from qiskit_runtime_server.simulation.wish import Method, Wish

SHOTS = 20_000


def noisy(misread: float = 0.02) -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.004, 2), ["cx", "cz"])
    model.add_all_qubit_quantum_error(pauli_error([("X", 0.002), ("Z", 0.01), ("I", 0.988)]), ["h", "s", "sx"])
    model.add_all_qubit_readout_error(ReadoutError([[1 - misread, misread], [2 * misread, 1 - 2 * misread]]))
    return model


def frames(circuit: QuantumCircuit, model: NoiseModel | None, shots: int = SHOTS) -> NDArray[np.bool_]:
    noise = None if model is None else DeviceNoise.from_model(model, circuit.num_qubits)
    told: list[Plan] = []
    bits = engine.sample(
        AerExecutor(threads=1),
        circuit,
        np.empty((1, 0)),
        shots,
        noise=noise,
        seeds=SeedPath((11,)),
        wish=Wish(method=Method.CLIFFORD),
        report=told.append,
    )
    assert {plan.method for plan in told} <= {"clifford-frames", "product"}
    found: NDArray[np.bool_] = bits[0]
    return found


def stabilizer(circuit: QuantumCircuit, model: NoiseModel, shots: int) -> NDArray[np.bool_]:
    """Return the shots of Aer alone."""
    result = AerSimulator(method="stabilizer", noise_model=model, seed_simulator=3).run(
        circuit, shots=shots, memory=True
    )
    rows = [[bit == "1" for bit in reversed(row)] for row in result.result().get_memory()]
    return np.array(rows, dtype=np.bool_)


def local_cliffords(num_qubits: int, depth: int, rng: np.random.Generator) -> QuantumCircuit:
    """Return random layers on a line, with resets and measurements between them."""
    circuit = QuantumCircuit(num_qubits, num_qubits)
    for layer in range(depth):
        for qubit in range(num_qubits):
            getattr(circuit, str(rng.choice(["h", "s", "sx", "x", "id"])))(qubit)
        for qubit in range(layer % 2, num_qubits - 1, 2):
            getattr(circuit, str(rng.choice(["cx", "cz"])))(qubit, qubit + 1)
        for qubit in rng.choice(num_qubits, 3, replace=False).tolist():
            circuit.reset(qubit) if rng.random() < 0.5 else circuit.measure(qubit, qubit)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


@pytest.mark.slow
@pytest.mark.parametrize("num_qubits", [40, 127])
def test_shots_agree_with_those_of_aers_stabilizer_states(num_qubits: int) -> None:
    rng = np.random.default_rng(num_qubits)
    circuit = local_cliffords(num_qubits, 5, rng)
    model = noisy()
    ours, theirs = frames(circuit, model), stabilizer(circuit, model, 2000)
    found = []
    # Parities of neighbours, which show correlations, and of random sets of bits.
    sets = [[qubit, qubit + 1, qubit + 2] for qubit in range(0, num_qubits - 2, 2)]
    sets += [rng.choice(num_qubits, int(rng.integers(1, 6)), replace=False).tolist() for _ in range(40)]
    for places in sets:
        codes = [bits[:, places] @ (1 << np.arange(len(places))) for bits in (ours, theirs)]
        table = np.array([np.bincount(code, minlength=1 << len(places)) for code in codes])
        table = table[:, table.sum(axis=0) > 20]
        if table.shape[1] > 1:
            found.append(chi2_contingency(table).pvalue)
    assert len(found) > 25
    assert min(found) > 1e-3 / len(found)


def kicked_ising(device: Device, steps: int, kick: float) -> QuantumCircuit:
    """Return the steps of Kim et al., 2023, https://doi.org/10.1038/s41586-023-06096-3, on all qubits, not measured."""
    pairs = sorted({(min(pair), max(pair)) for pair in device.target["ecr"]})
    circuit = QuantumCircuit(device.num_qubits, device.num_qubits)
    for _ in range(steps):
        for qubit in range(device.num_qubits):
            circuit.rx(kick, qubit)
        for pair in pairs:
            circuit.rzz(-math.pi / 2, *pair)
    return circuit


def test_marginals_at_127_qubits_are_those_of_their_light_cones(device: Callable[[str], Device]) -> None:
    """What a few bits depend on fits into an exact density matrix (Bravyi et al., https://arxiv.org/abs/1704.00690)."""
    sherbrooke = device("fake_sherbrooke")
    circuit = kicked_ising(sherbrooke, 2, math.pi / 2)
    model = NoiseModel()
    model.add_all_qubit_quantum_error(pauli_error([("X", 0.01), ("Z", 0.03), ("I", 0.96)]), "rx")
    model.add_all_qubit_quantum_error(depolarizing_error(0.02, 2), "rzz")
    model.add_all_qubit_readout_error(ReadoutError([[0.98, 0.02], [0.05, 0.95]]))
    whole = circuit.copy()
    whole.measure(range(127), range(127))
    bits = frames(whole, model)
    found = []
    for pair in [*sorted(sherbrooke.target["ecr"])[::9], (3, 100)]:
        small = circuit.copy()
        small.measure(pair, pair)
        codes = bits[:, sorted(pair)] @ (1, 2)
        chances: NDArray[np.float64] = np.ones(1)
        for component in sorted(split(small), key=lambda component: component.clbits):
            chances = np.asarray(np.kron(outcome_chances(component, model), chances), dtype=np.float64)
        counts = dict(zip(*(part.tolist() for part in np.unique(codes, return_counts=True)), strict=True))
        found.append(p_value(counts, dict(enumerate(chances.tolist()))) or 1.0)
    assert len(found) > 15
    assert min(found) > 1e-5
    assert kstest(found, "uniform").pvalue > 1e-3


def outcome_chances(component: Component, model: NoiseModel) -> NDArray[np.float64]:
    """Return the exact chances of a component's bits."""
    own = DeviceNoise.from_model(model, 127).restricted_to(component.qubits, component.uses)
    ends = terminal_measurements(component.circuit)
    assert ends is not None
    qubits = sorted(ends, key=lambda qubit: ends[qubit])
    evolution = Evolution.of(component.circuit, qubits, own)
    assert evolution is not None
    ((_, _, table),) = evolution.probabilities(np.empty((1, 0)))
    row: NDArray[np.float64] = table[0]
    return row


def ghz(num_qubits: int, angle: float | None = None) -> QuantumCircuit:
    """Return a GHZ state, measured in the basis of cos(angle) X + sin(angle) Y of each qubit, or in that of Z."""
    circuit = QuantumCircuit(num_qubits, num_qubits)
    circuit.h(0)
    for one, other in pairwise(range(num_qubits)):
        circuit.cx(one, other)
    if angle is not None:
        for qubit in range(num_qubits):
            circuit.rz(-angle, qubit)
            circuit.h(qubit)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


@pytest.mark.parametrize("quarter", range(4))
def test_the_parity_of_a_ghz_state_oscillates(quarter: int) -> None:
    """<P(a)^n> = cos(n a) on n qubits: Bollinger et al., 1996, https://doi.org/10.1103/PhysRevA.54.R4649."""
    bits = frames(ghz(127, quarter * math.pi / 2), None)
    parity = 1 - 2 * (bits.sum(axis=1) % 2).mean()
    wanted = math.cos(127 * quarter * math.pi / 2)
    assert abs(parity - wanted) < 6 / math.sqrt(SHOTS)
    assert parity == pytest.approx(round(wanted)) or round(wanted) == 0


def test_a_ghz_state_decays_as_its_errors_say() -> None:
    """Parity is the product of the eigenvalues of all errors that it meets: (1-p) for each depolarised gate."""
    num_qubits, chance = 100, 0.004
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(chance, 2), "cx")
    bits = frames(ghz(num_qubits, 0.0), model, 100_000)
    parity = 1 - 2 * (bits.sum(axis=1) % 2)
    wanted = (1 - chance) ** (num_qubits - 1)
    error = math.sqrt((1 - wanted**2) / len(bits))
    assert 2 * norm.sf(abs(parity.mean() - wanted) / error) > 1e-4


def test_a_bit_is_misread_as_often_as_its_value_says() -> None:
    circuit = QuantumCircuit(100, 100)
    for qubit in range(0, 100, 2):
        circuit.x(qubit)
    for qubit in range(99):
        circuit.cz(qubit, qubit + 1)
    circuit.measure(range(100), range(100))
    model = NoiseModel()
    model.add_all_qubit_readout_error(ReadoutError([[0.97, 0.03], [0.11, 0.89]]))
    bits = frames(circuit, model)
    ones, zeros = bits[:, ::2].mean(), bits[:, 1::2].mean()
    assert abs(zeros - 0.03) < 6 * math.sqrt(0.03 * 0.97 / bits.size * 2)
    assert abs(ones - 0.89) < 6 * math.sqrt(0.11 * 0.89 / bits.size * 2)


def test_a_ghz_state_by_feed_forward_on_127_qubits() -> None:
    """Of 64 qubits, joined by parities that 63 others measure: Baeumer et al., https://arxiv.org/abs/2308.13065."""
    circuit = QuantumCircuit(127, 127)
    for qubit in range(0, 127, 2):
        circuit.h(qubit)
    parity: expr.Expr | None = None
    for ancilla in range(1, 127, 2):
        circuit.cx(ancilla - 1, ancilla)
        circuit.cx(ancilla + 1, ancilla)
        circuit.measure(ancilla, ancilla)
    for ancilla in range(1, 127, 2):
        bit = expr.lift(circuit.clbits[ancilla])
        parity = bit if parity is None else expr.bit_xor(parity, bit)
        with circuit.if_test(parity):
            circuit.x(ancilla + 1)
    circuit.measure(range(0, 127, 2), range(0, 127, 2))
    bits = frames(circuit, None, 2000)
    assert (bits[:, ::2] == bits[:, :1]).all()
    assert 0.4 < bits[:, 0].mean() < 0.6
    assert 0.4 < bits[:, 1].mean() < 0.6
    # With errors of reading alone, neighbours differ where the parity between them was misread, or one of them.
    model = NoiseModel()
    model.add_all_qubit_readout_error(ReadoutError([[0.99, 0.01], [0.01, 0.99]]))
    noisy_bits = frames(circuit, model)
    # A misread parity flips all qubits behind it, so each pair sees one misread ancilla and two misread qubits.
    wanted = (1 - 0.98**3) / 2
    differ = noisy_bits[:, 2::2] != noisy_bits[:, :-2:2]
    assert abs(differ.mean() - wanted) < 6 * math.sqrt(wanted / differ.size * 3)


def test_a_state_is_teleported_through_127_qubits() -> None:
    """63 times (Bennett et al., 1993, https://doi.org/10.1103/PhysRevLett.70.1895)."""
    misread = 0.004
    circuit = QuantumCircuit(127, 127)
    circuit.x(0)
    for source in range(0, 125, 2):
        circuit.h(source + 1)
        circuit.cx(source + 1, source + 2)
        circuit.cx(source, source + 1)
        circuit.h(source)
        circuit.measure([source, source + 1], [source, source + 1])
        with circuit.if_test((source + 1, 1)):
            circuit.x(source + 2)
        with circuit.if_test((source, 1)):
            circuit.z(source + 2)
    circuit.measure(126, 126)
    assert frames(circuit, None, 500)[:, 126].all()
    model = NoiseModel()
    model.add_all_qubit_readout_error(ReadoutError([[1 - misread, misread], [misread, 1 - misread]]))
    ones = frames(circuit, model)[:, 126].mean()
    wanted = (1 + (1 - 2 * misread) ** 64) / 2
    assert abs(ones - wanted) < 6 * math.sqrt(wanted * (1 - wanted) / SHOTS)
