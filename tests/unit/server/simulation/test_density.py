"""Evolving many variants of a circuit at once gives the probabilities that Aer computes for each of them."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import CXGate, ECRGate
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime.fake_provider import FakeManilaV2, FakeSherbrooke
from samplomatic import Twirl, build
from samplomatic.samplex import Samplex
from threadpoolctl import threadpool_limits

from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.simulation import density, engine
from qiskit_runtime_server.simulation.channels import Act, channels
from qiskit_runtime_server.simulation.density import Evolution
from qiskit_runtime_server.simulation.noise import readout_matrix
from qiskit_runtime_server.simulation.seeds import SeedPath

DeviceOf = Callable[[str], Device]
PAIRS = [(0, 1), (1, 2), (2, 3), (3, 4)]
ENTANGLING = {5: CXGate(), 127: ECRGate()}


def scrambled(seed: int) -> QuantumCircuit:
    """Return a random circuit on fake_manila with parameters, delays, resets, and a qubit that is not measured."""
    rng = np.random.default_rng(seed)
    circuit = QuantumCircuit(5, 4)
    angles = [Parameter(f"a{i}") for i in range(6)]
    for _ in range(30):
        qubit = int(rng.integers(5))
        match int(rng.integers(6)):
            case 0:
                circuit.cx(*PAIRS[int(rng.integers(4))])
            case 1:
                circuit.delay(int(rng.integers(1, 2000)) * 16, qubit)
            case 2:
                circuit.rz(angles[int(rng.integers(6))], qubit)
            case 3:
                circuit.reset(qubit) if rng.random() < 0.3 else circuit.x(qubit)
            case _:
                circuit.sx(qubit)
    for qubit in range(5):
        circuit.rz(angles[qubit], qubit)
        circuit.sx(qubit)
    circuit.measure([3, 0, 1, 4], [0, 1, 2, 3])
    return circuit


def by_aer(circuit: QuantumCircuit, values: NDArray[np.float64], model: NoiseModel | None) -> NDArray[np.float64]:
    """Return what Aer says of each row by itself, with the errors of reading put in here."""
    measured = [circuit.find_bit(bit.qubits[0]).index for bit in circuit.data if bit.name == "measure"]
    simulator = AerSimulator(method="density_matrix", noise_model=model, max_parallel_threads=1)
    circuits = []
    for row in values:
        bound = circuit.assign_parameters(row).remove_final_measurements(inplace=False)
        bound.save_probabilities(measured)
        circuits.append(bound)
    table = [result.data.probabilities for result in simulator.run(circuits).result().results]
    reading: np.ndarray = np.eye(1)
    for qubit in measured:
        matrix = None if model is None else readout_matrix(model, qubit)
        reading = np.kron(np.eye(2) if matrix is None else matrix, reading)
    found: NDArray[np.float64] = np.array(table) @ reading
    return found


def evolution_of(circuit: QuantumCircuit, model: NoiseModel | None) -> tuple[Evolution, int]:
    """Return the evolution, and how many qubits are measured."""
    measured = [circuit.find_bit(bit.qubits[0]).index for bit in circuit.data if bit.name == "measure"]
    evolution = Evolution.of(circuit, measured, model)
    assert evolution is not None
    return evolution, len(measured)


def all_probabilities(circuit: QuantumCircuit, values: NDArray[np.float64], model: NoiseModel | None) -> np.ndarray:
    return probabilities_by(*evolution_of(circuit, model), values)


def probabilities_by(evolution: Evolution, measured: int, values: NDArray[np.float64]) -> np.ndarray:
    found = np.full((len(values), 2**measured), np.nan)
    for rows, places, table in evolution.probabilities(values):
        found[rows] = table[places]
    return found


@pytest.mark.parametrize("together", [2**19, 300], ids=["all at once", "in parts"])
@pytest.mark.parametrize("seed", range(6))
def test_probabilities_are_those_of_aer(
    device: DeviceOf, monkeypatch: pytest.MonkeyPatch, seed: int, together: int
) -> None:
    monkeypatch.setattr(density, "_TOGETHER", together)
    circuit = scrambled(seed)
    values = np.random.default_rng(seed).choice([0.0, 0.4, 1.1], (7, circuit.num_parameters))
    noise = device("fake_manila").noise
    assert noise is not None
    for model in (noise.restricted_to(range(5)), None):
        found = all_probabilities(circuit, values, model)
        np.testing.assert_allclose(found, by_aer(circuit, values, model), atol=1e-9)


def test_an_evolution_gives_the_same_bits_when_it_is_used_again_and_works_out_only_what_values_change(
    device: DeviceOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []

    def watched(act: Act, values: NDArray[np.float64], model: NoiseModel | None) -> NDArray[np.float64]:
        asked.append(bool(act.used))
        return channels(act, values, model)

    circuit = scrambled(1)
    noise = device("fake_manila").noise
    assert noise is not None
    model = noise.restricted_to(range(5))
    one, other = np.random.default_rng(1).uniform(0, 3, (2, 4, circuit.num_parameters))
    alone = [all_probabilities(circuit, values, model) for values in (one, other)]
    monkeypatch.setattr(density, "channels", watched)
    evolution = evolution_of(circuit, model)
    assert np.array_equal(probabilities_by(*evolution, one), alone[0])
    assert not all(asked)
    asked.clear()
    assert np.array_equal(probabilities_by(*evolution, other), alone[1])
    assert np.array_equal(probabilities_by(*evolution, one), alone[0])
    assert all(asked)


def test_probabilities_are_the_same_to_the_last_bit_on_any_number_of_cores() -> None:
    circuit = QuantumCircuit(8, 8)
    for layer in range(6):
        for qubit in range(8):
            circuit.ry(Parameter(f"a{layer}{qubit}"), qubit)
        for first in range(7):
            circuit.cx(first, first + 1)
    circuit.measure(range(8), range(8))
    values = np.random.default_rng(1).uniform(0, 3, (4, circuit.num_parameters))
    tables = []
    for threads in (1, 2, 3):
        with threadpool_limits(threads, user_api="blas"):
            tables.append(all_probabilities(circuit, values, None))
    assert np.array_equal(tables[0], tables[1])
    assert np.array_equal(tables[0], tables[2])


def test_gates_of_several_qubits_and_of_several_angles_are_known() -> None:
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(4, 4)
    circuit.h([0, 1, 2, 3])
    circuit.u(a, 0.3, b, 0)
    circuit.rzz(b, 2, 0)
    circuit.ccx(2, 0, 1)
    circuit.cp(a, 1, 3)
    circuit.h([0, 1, 2, 3])
    circuit.measure(range(4), range(4))
    values = np.random.default_rng(1).uniform(0, 3, (4, 2))
    np.testing.assert_allclose(all_probabilities(circuit, values, None), by_aer(circuit, values, None), atol=1e-9)


def test_a_long_chain_never_holds_more_than_two_qubits_as_a_density_matrix() -> None:
    circuit = QuantumCircuit(12, 12)
    circuit.h(0)
    for qubit in reversed(range(11)):
        circuit.rx(0.1, qubit)
    for qubit in range(11):
        circuit.cx(qubit, qubit + 1)
    circuit.measure(range(12), range(12))
    evolution = Evolution.of(circuit, range(12), None)
    assert evolution is not None
    assert evolution.largest <= 4 * 2**11


def test_variants_that_differ_in_final_flips_share_what_comes_before(monkeypatch: pytest.MonkeyPatch) -> None:
    flips = [Parameter(f"flip{qubit}") for qubit in range(4)]
    circuit = QuantumCircuit(4, 4)
    circuit.h(range(4))
    for _ in range(5):
        circuit.cx([0, 2, 1], [1, 3, 2])
        circuit.ry(0.3, range(4))
    for qubit, flip in enumerate(flips):
        circuit.rx(flip, qubit)
    circuit.measure(range(4), range(4))
    numbers = []
    matrices = Evolution._matrices

    def counted(*arguments: Any) -> NDArray[np.float64]:
        numbers.append(len(arguments[2]))
        return matrices(*arguments)

    monkeypatch.setattr(Evolution, "_matrices", counted)
    values = np.pi * (np.arange(16)[:, None] >> np.arange(4) & 1).astype(np.float64)
    found = all_probabilities(circuit, values, None)
    # One after the other, qubits 0 and 3 have their last gates, and then the other two together.
    assert numbers == [1] * 12 + [2, 4, 16]
    for row, pattern in enumerate(range(16)):
        np.testing.assert_allclose(found[row], found[0][np.arange(16) ^ pattern], atol=1e-9)


def twirled(qubits: list[int], num_qubits: int) -> tuple[QuantumCircuit, Samplex]:
    """Return a GHZ circuit along `qubits` with twirled gates and measurements."""
    circuit = QuantumCircuit(num_qubits, len(qubits))
    circuit.sx(qubits[0])
    for one, other in pairwise(qubits):
        with circuit.box([Twirl()]):
            circuit.sx(other)
            circuit.append(ENTANGLING[num_qubits], [one, other])
    with circuit.box([Twirl()]):
        circuit.measure(qubits, range(len(qubits)))
    template, samplex = build(circuit)
    return template, samplex


@pytest.mark.parametrize(
    ("fake", "name", "qubits"),
    [
        (FakeManilaV2, "fake_manila", [0, 1, 2]),
        pytest.param(FakeSherbrooke, "fake_sherbrooke", [1, 0, 14, 18], marks=pytest.mark.slow),
    ],
    ids=["fake_manila", "fake_sherbrooke"],
)
def test_twirled_variants_agree_with_aer_on_the_whole_device(
    device: DeviceOf, agree: Callable[..., None], fake: Callable[[], object], name: str, qubits: list[int]
) -> None:
    part = device(name)
    template, samplex = twirled(qubits, part.num_qubits)
    assert part.noise is not None
    drawn = samplex.sample(num_randomizations=20, rng=5)
    values, flips = drawn["parameter_values"], drawn["measurement_flips.c"]
    whole = AerSimulator.from_backend(fake())
    circuits = [template.assign_parameters(row) for row in values]
    results = whole.run(circuits, shots=400, seed_simulator=3).result().results
    powers = 1 << np.arange(len(qubits))
    masks = flips.reshape(20, -1) @ powers
    expected = [
        np.repeat([int(outcome, 16) for outcome in result.data.counts], list(result.data.counts.values())) ^ mask
        for result, mask in zip(results, masks, strict=True)
    ]
    seeds = SeedPath((3,))
    bits = engine.sample(AerExecutor(threads=1), template, values, 800, noise=part.noise, seeds=seeds)
    agree((bits @ powers ^ masks[:, None]).ravel(), np.concatenate(expected))
    # As they were read, too: reading a 1 goes wrong more often than reading a 0.
    agree((bits @ powers).ravel(), np.concatenate([one ^ mask for one, mask in zip(expected, masks, strict=True)]))
