"""What the engine samples is what Aer samples of the whole device."""

from collections.abc import Callable

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer import AerSimulator
from qiskit_ibm_runtime.fake_provider import (
    FakeGuadalupeV2,
    FakeManilaV2,
    FakeMontrealV2,
    FakeSherbrooke,
    FakeTorino,
)

from qiskit_runtime_server.programs.device.device import Device

SHOTS = 4000


def ghz() -> QuantumCircuit:
    circuit = QuantumCircuit(4, 4)
    circuit.h(0)
    for qubit in range(3):
        circuit.cx(qubit, qubit + 1)
    circuit.measure(range(4), [2, 0, 3, 1])
    return circuit


def reused_qubit() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure(0, 0)
    circuit.reset(0)
    circuit.sx(0)
    circuit.measure(0, 1)
    circuit.measure(1, 2)
    return circuit


def delays() -> QuantumCircuit:
    circuit = QuantumCircuit(3, 3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.x(2)
    circuit.delay(30, 0, unit="us")
    circuit.delay(100_000, 1, unit="dt")
    circuit.delay(0.00002, 2, unit="s")
    circuit.cx(0, 1)
    circuit.h(0)
    circuit.measure(range(3), range(3))
    return circuit


def teleportation() -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(3, "q"), ClassicalRegister(2, "message"), ClassicalRegister(1, "out"))
    circuit.ry(1.1, 0)
    circuit.h(1)
    circuit.cx(1, 2)
    circuit.cx(0, 1)
    circuit.h(0)
    circuit.measure([0, 1], [0, 1])
    with circuit.if_test((circuit.clbits[1], 1)):
        circuit.x(2)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.delay(5, 2, unit="us")
        circuit.z(2)
    circuit.measure(2, 2)
    return circuit


def idle_and_independent() -> QuantumCircuit:
    """Two independent pairs, an idle qubit that is measured, and clbits that nothing is measured into."""
    circuit = QuantumCircuit(
        QuantumRegister(5, "q"), ClassicalRegister(3, "a"), ClassicalRegister(2, "empty"), ClassicalRegister(2, "b")
    )
    circuit.h([0, 3])
    circuit.cx(0, 1)
    circuit.cx(3, 4)
    circuit.measure([1, 4, 2, 0, 3], [5, 0, 2, 1, 6])
    return circuit


def overwritten() -> QuantumCircuit:
    circuit = QuantumCircuit(3, 2)
    circuit.h(0)
    circuit.measure(0, 0)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure(1, 0)
    circuit.measure(0, 1)
    circuit.x(2)
    return circuit


ALL = [ghz, reused_qubit, delays, teleportation, idle_and_independent, overwritten]
CASES = [
    (FakeManilaV2, "fake_manila", ALL),
    (FakeGuadalupeV2, "fake_guadalupe", ALL),
    (FakeMontrealV2, "fake_montreal", [ghz, delays]),
    pytest.param((FakeSherbrooke, "fake_sherbrooke", ALL), marks=pytest.mark.slow),
    # What Aer makes of all pairs of this device takes ten seconds; `test_noise` compares the errors of one of its kind.
    pytest.param((FakeTorino, "fake_torino", [ghz, teleportation]), marks=pytest.mark.thorough),
]


def compiled(circuit: QuantumCircuit, device: Device) -> QuantumCircuit:
    # Without the target's timing constraints, which allow only some delays.
    target = device.target
    passes = generate_preset_pass_manager(
        1,
        basis_gates=list(target.operation_names),
        coupling_map=target.build_coupling_map(),
        dt=target.dt,
        seed_transpiler=7,
    )
    return passes.run(circuit)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[1])
def test_every_kind_of_circuit_agrees_with_aer_on_the_whole_device(
    device: Callable[[str], Device],
    shots_of: Callable[..., np.ndarray],
    agree: Callable[..., None],
    case: tuple[Callable[[], object], str, list[Callable[[], QuantumCircuit]]],
) -> None:
    fake, name, builders = case
    whole = AerSimulator.from_backend(fake())
    part = device(name)
    circuits = [compiled(builder(), part) for builder in builders]
    results = whole.run(circuits, shots=SHOTS, seed_simulator=3).result()
    for circuit, result in zip(circuits, results.results, strict=True):
        expected = np.repeat([int(outcome, 16) for outcome in result.data.counts], list(result.data.counts.values()))
        agree(shots_of(circuit, noise=part.noise, shots=2 * SHOTS), expected)


def test_parameters_agree_with_values_put_in_before(
    device: Callable[[str], Device], shots_of: Callable[..., np.ndarray], agree: Callable[..., None]
) -> None:
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(3, 3)
    circuit.ry(2 * a + b / 3, 0)
    circuit.cx(0, 1)
    circuit.rx(a * b, 1)
    circuit.ry(b, 2)
    circuit.measure(range(3), range(3))
    part = device("fake_manila")
    isa = compiled(circuit, part)
    whole = AerSimulator.from_backend(FakeManilaV2())
    bound = isa.assign_parameters({a: 0.4, b: 1.3})
    counts = whole.run(bound, shots=SHOTS, seed_simulator=3).result().results[0].data.counts
    expected = np.repeat([int(outcome, 16) for outcome in counts], list(counts.values()))
    agree(shots_of(isa, noise=part.noise, values=(0.4, 1.3), shots=2 * SHOTS), expected)


def test_the_comparison_notices_a_missing_relaxation(
    device: Callable[[str], Device], shots_of: Callable[..., np.ndarray], agree: Callable[..., None]
) -> None:
    part = device("fake_manila")
    isa = compiled(delays(), part)
    undelayed = QuantumCircuit.from_instructions(
        [instruction for instruction in isa.data if instruction.name != "delay"], qubits=isa.qubits, clbits=isa.clbits
    )
    with pytest.raises(AssertionError, match="different distributions"):
        agree(shots_of(isa, noise=part.noise), shots_of(undelayed, noise=part.noise, seed=2))
