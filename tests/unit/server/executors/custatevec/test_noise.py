"""Noisy circuits follow the distribution that Aer's density matrices give."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.quantum_info import Operator
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
    reset_error,
    thermal_relaxation_error,
)
from scipy.stats import chisquare

from qiskit_runtime_server.executors.base import SampleTask
from qiskit_runtime_server.executors.custatevec.executor import CuStateVecExecutor
from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.simulation.components import split
from qiskit_runtime_server.simulation.noise import readout_matrix
from qiskit_runtime_server.simulation.statevector import channels, lowering

FALSE_ALARM = 1e-6
"""How likely a comparison fails by chance, for a seed taken at random; the seeds are fixed."""

ERRORS = {
    "pauli": pauli_error([("X", 0.1), ("Y", 0.05), ("I", 0.85)]),
    "depolarizing": depolarizing_error(0.2, 1),
    "two qubits": depolarizing_error(0.3, 2),
    "relaxation, T2 < T1": thermal_relaxation_error(50e3, 40e3, 10e3),
    "relaxation, T2 > T1": thermal_relaxation_error(50e3, 70e3, 10e3, 0.1),
    "composed": depolarizing_error(0.1, 2).compose(
        thermal_relaxation_error(50e3, 70e3, 10e3).tensor(thermal_relaxation_error(50e3, 30e3, 10e3))
    ),
    "damping": amplitude_damping_error(0.3, excited_state_population=0.2),
    "reset": reset_error(0.1, 0.05),
    "coherent": coherent_unitary_error(Operator.from_label("T").data),
    "kraus": kraus_error([np.sqrt(0.7) * np.eye(2), np.sqrt(0.3) * np.array([[0, 1], [1, 0]])]),
}


@pytest.mark.parametrize("name", list(ERRORS))
def test_a_channel_is_the_error_it_is_made_of(name: str) -> None:
    error: QuantumError = ERRORS[name]
    channel = channels.channel(error)
    rest = 1 - channel.probabilities.sum()
    parts = [p * np.kron(u.conj(), u) for p, u in zip(channel.probabilities, channel.unitaries, strict=True)]
    parts += [rest * np.kron(k.conj(), k) for k in channel.residual]
    assert sum(parts) == pytest.approx(channel.superop, abs=1e-12)
    assert sum(np.kron(k.conj(), k) for k in channel.kraus) == pytest.approx(channel.superop, abs=1e-12)
    complete = sum(k.conj().T @ k for k in channel.kraus)
    assert complete == pytest.approx(np.eye(len(complete)), abs=1e-12)
    assert channel.unitaries[0] == pytest.approx(np.eye(len(complete)))


@pytest.mark.parametrize(("name", "least"), [("relaxation, T2 > T1", 0.8), ("composed", 0.5), ("pauli", 1.0)])
def test_most_of_an_error_is_drawn_without_a_look_at_the_state(name: str, least: float) -> None:
    assert channels.channel(ERRORS[name]).probabilities.sum() >= least - 1e-12


def noisy_circuit() -> QuantumCircuit:
    """Return gates on four qubits of which three are measured, errors among them right before the measurements."""
    circuit = QuantumCircuit(4, 3)
    for qubit in range(4):
        circuit.ry(0.4 + qubit, qubit)
    for one, other in ((0, 1), (2, 3), (1, 2), (3, 0)):
        circuit.cx(one, other)
        circuit.sx(one)
    circuit.cx(2, 0)
    circuit.measure([2, 0, 3], [0, 1, 2])
    return circuit


def model_with(error: QuantumError) -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(error, ["sx"] if error.num_qubits == 1 else ["cx"])
    model.add_quantum_error(pauli_error([("X", 0.05), ("I", 0.95)]), "measure", [2])
    for qubit in range(3):
        model.add_readout_error(ReadoutError([[0.97, 0.03], [0.06 + qubit / 50, 0.94 - qubit / 50]]), [qubit])
    return model


def exact(circuit: QuantumCircuit, model: NoiseModel) -> NDArray[np.float64]:
    """Return the distribution of the classical bits of a circuit that ends with its measurements."""
    evolution = QuantumCircuit(circuit.num_qubits)
    ends = {}
    for instruction in circuit.data:
        qubits = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
        if instruction.name == "measure":
            ends[circuit.find_bit(instruction.clbits[0]).index] = qubits[0]
        else:
            evolution.append(instruction.operation, qubits)
    # Errors of measurements come before them.
    for qubit in ends.values():
        error = model._local_quantum_errors.get("measure", {}).get((qubit,))
        if error is not None:
            evolution.append(error.to_instruction(), [qubit])
    measured = [ends[clbit] for clbit in sorted(ends)]
    evolution.save_probabilities(measured)
    result = AerSimulator(method="density_matrix", noise_model=model).run(evolution).result()
    tensor = result.data().get("probabilities").reshape((2,) * len(measured))
    for place, qubit in enumerate(measured):
        matrix = readout_matrix(model, qubit)
        if matrix is not None:
            axis = len(measured) - 1 - place
            tensor = np.moveaxis(np.tensordot(tensor, matrix, axes=(axis, 0)), -1, axis)
    found: NDArray[np.float64] = tensor.ravel()
    return found


def agrees(bits: NDArray[np.bool_], distribution: NDArray[np.float64]) -> None:
    """Fail if bits of shape ``(shots, clbits)`` do not come from a distribution (chi-square test, rare ones joined)."""
    counts = np.bincount(bits @ (1 << np.arange(bits.shape[1])), minlength=len(distribution))
    expected = distribution * len(bits)
    rare = expected < 10
    observed = [*counts[~rare], counts[rare].sum()]
    wanted = [*expected[~rare], expected[rare].sum()]
    if wanted[-1] < 10:
        assert observed.pop() < 40
        observed[0] += counts[rare].sum()
        wanted[0] += wanted.pop()
    assert chisquare(observed, wanted).pvalue > FALSE_ALARM


@pytest.mark.parametrize("batched_qubits", [20, pytest.param(0, marks=pytest.mark.slow)], ids=["batched", "one by one"])
@pytest.mark.parametrize("name", list(ERRORS))
def test_errors_act_as_they_do_in_aer(
    executor: Callable[..., CuStateVecExecutor], task: Callable[..., SampleTask], name: str, batched_qubits: int
) -> None:
    circuit, model = noisy_circuit(), model_with(ERRORS[name])
    shots = 20_000 if batched_qubits else 1_500
    bits = executor(precision="single", batched_qubits=batched_qubits).sample(task(circuit, noise=model, shots=shots))
    agrees(bits[0], exact(circuit, model))


def test_a_device_with_delays_acts_as_it_does_in_aer(
    device: Callable[[str], Device], executor: Callable[..., CuStateVecExecutor], task: Callable[..., SampleTask]
) -> None:
    sherbrooke = device("fake_sherbrooke")
    circuit = QuantumCircuit(sherbrooke.num_qubits, 4)
    circuit.x(1)
    circuit.sx(0)
    circuit.ecr(1, 0)
    circuit.delay(400_000, 1)
    circuit.sx(1)
    circuit.ecr(2, 1)
    circuit.rz(0.4, 1)
    circuit.sx(1)
    circuit.ecr(2, 3)
    circuit.delay(200_000, 2)
    circuit.sx(3)
    circuit.measure([0, 1, 2, 3], [0, 1, 2, 3])
    (component,) = split(circuit)
    assert sherbrooke.noise is not None
    model = sherbrooke.noise.restricted_to(component.qubits, component.uses)
    bits = executor().sample(task(component.circuit, noise=model, shots=40_000))
    agrees(bits[0], exact(component.circuit, model))


def test_errors_before_the_end_take_no_pass_over_the_state() -> None:
    circuit = QuantumCircuit(3, 2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.cx(0, 2)
    circuit.measure([0, 1], [0, 1])
    model = NoiseModel()
    model.add_quantum_error(ERRORS["two qubits"], "cx", [0, 2])
    model.add_quantum_error(ERRORS["pauli"], "measure", [1])
    program = lowering.program(circuit, model)
    assert not program.branches
    assert len(program.maps) == 2
    assert program.ends == (1, 0, 2)


def test_an_error_whose_coherences_matter_stays_where_it_is() -> None:
    circuit = QuantumCircuit(1, 1)
    circuit.h(0)
    circuit.measure(0, 0)
    model = NoiseModel()
    rotation = Operator.from_label("H").data
    model.add_all_qubit_quantum_error(coherent_unitary_error(rotation), "h")
    program = lowering.program(circuit, model)
    assert program.branches
    assert program.maps == ()


def test_an_error_that_does_nothing_is_left_out() -> None:
    circuit = QuantumCircuit(1, 1)
    circuit.h(0)
    circuit.sx(0)
    circuit.measure(0, 0)
    model = NoiseModel()
    model.add_all_qubit_quantum_error(pauli_error([("X", 0.0), ("I", 1.0)]), ["h"])
    model.add_all_qubit_quantum_error(ERRORS["pauli"], ["rx"])
    assert not lowering.program(circuit, model).branches
