"""The parts of a device's noise are those of Aer's model of the whole device."""

import warnings
from collections.abc import Callable, Sequence

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Delay, Instruction
from qiskit.circuit.library import RXGate
from qiskit.quantum_info import Kraus, SuperOp
from qiskit_aer import AerSimulator
from qiskit_aer.noise import (
    NoiseModel,
    QuantumError,
    ReadoutError,
    amplitude_damping_error,
    coherent_unitary_error,
    depolarizing_error,
    pauli_error,
    thermal_relaxation_error,
)
from qiskit_aer.noise.passes import LocalNoisePass
from qiskit_ibm_runtime.fake_provider import FakeGuadalupeV2, FakeManilaV2, FakeMarrakesh, FakeSherbrooke

from qiskit_runtime_server.errors import InvalidInputError, UnsupportedOptionError
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.simulation import engine
from qiskit_runtime_server.simulation.noise import DeviceNoise, error_channel
from qiskit_runtime_server.simulation.noise import channel as superoperator
from qiskit_runtime_server.simulation.seeds import SeedPath
from qiskit_runtime_server.simulation.statevector.channels import channel

DeviceOf = Callable[[str], Device]


def local_errors(model: NoiseModel, qubits: Sequence[int]) -> dict[tuple[str, tuple[int, ...]], np.ndarray]:
    """Return the channels of all errors within `qubits`, renumbered; readout errors as their matrices."""
    places = {qubit: place for place, qubit in enumerate(qubits)}
    found = {}
    for label, errors in model._local_quantum_errors.items():
        for group, error in errors.items():
            if set(group) <= places.keys():
                found[label, tuple(places[qubit] for qubit in group)] = SuperOp(error).data
    for group, error in model._local_readout_errors.items():
        if set(group) <= places.keys():
            found["readout", tuple(places[qubit] for qubit in group)] = np.array(error.probabilities)
    return found


def assert_same_errors(part: NoiseModel, whole: NoiseModel, qubits: Sequence[int]) -> None:
    ours, theirs = local_errors(part, range(len(qubits))), local_errors(whole, qubits)
    assert ours.keys() == theirs.keys()
    for use, error in ours.items():
        np.testing.assert_allclose(error, theirs[use], atol=1e-12, err_msg=str(use))


@pytest.mark.parametrize(
    ("fake", "name", "parts"),
    [
        (FakeManilaV2, "fake_manila", [(0, 1, 2), (4, 3), (2,)]),
        (FakeGuadalupeV2, "fake_guadalupe", [(5, 3, 1), (0,)]),
        pytest.param(FakeSherbrooke, "fake_sherbrooke", [(0, 1, 14), (126, 125)], marks=pytest.mark.slow),
        pytest.param(FakeMarrakesh, "fake_marrakesh", [(10, 11), (155,)], marks=pytest.mark.slow),
    ],
    ids=["manila", "guadalupe", "sherbrooke", "marrakesh"],
)
def test_a_part_has_the_errors_that_aer_gives_the_whole_device(
    device: DeviceOf, fake: Callable[[], object], name: str, parts: list[tuple[int, ...]]
) -> None:
    whole = NoiseModel.from_backend(fake())
    noise = device(name).noise
    assert noise is not None
    for qubits in parts:
        part = noise.restricted_to(qubits)
        assert part is not None
        assert_same_errors(part, whole, qubits)
        (relaxation,) = whole._custom_noise_passes
        (cut,) = part._custom_noise_passes
        for place, qubit in enumerate(qubits):
            for delay in (Delay(1000), Delay(3, "us"), Delay(2e-6, "s"), Delay(0)):
                ours, theirs = cut.error(delay, place), relaxation._thermal_relaxation_error(delay, [qubit])
                np.testing.assert_allclose(SuperOp(ours).data, SuperOp(theirs).data, atol=1e-12)


def test_a_part_for_some_instructions_has_no_others(device: DeviceOf) -> None:
    noise = device("fake_manila").noise
    assert noise is not None
    part = noise.restricted_to((1, 0), frozenset({("sx", (1,)), ("measure", (0,)), ("cx", (0, 1))}))
    assert part is not None
    assert local_errors(part, (0, 1)).keys() == {("sx", (1,)), ("readout", (0,)), ("cx", (0, 1))}
    assert not part._custom_noise_passes
    assert noise.restricted_to((0,), frozenset({("rz", (0,))})) is None


def test_parts_and_errors_are_built_once(device: DeviceOf) -> None:
    noise = device("fake_manila").noise
    assert noise is not None
    uses = frozenset({("cx", (0, 1))})
    assert noise.restricted_to((0, 1), uses) is noise.restricted_to((0, 1), uses)
    other = noise.restricted_to((0, 1), uses | {("x", (0,))})
    same = noise.restricted_to((0, 1), uses)
    assert other is not None
    assert same is not None
    assert other._local_quantum_errors["cx"][0, 1] is same._local_quantum_errors["cx"][0, 1]


def users_model() -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.05, 1), ["sx", "x"])
    correlated = pauli_error([("XX", 0.2), ("II", 0.8)])
    model.add_quantum_error(correlated, "cx", [1, 0])
    model.add_quantum_error(amplitude_damping_error(0.3), "x", [2])
    model.add_all_qubit_readout_error(ReadoutError([[0.95, 0.05], [0.1, 0.9]]))
    model.add_readout_error(ReadoutError([[0.7, 0.3], [0.2, 0.8]]), [2])
    return model


def dumped(model: NoiseModel) -> NoiseModel:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="from_dict has been deprecated", category=DeprecationWarning)
        return NoiseModel.from_dict(model.to_dict())


def flipping() -> QuantumCircuit:
    circuit = QuantumCircuit(4, 4)
    circuit.x([0, 2, 3])
    circuit.cx(1, 0)
    circuit.sx(1)
    circuit.measure([0, 1, 2, 3], [3, 2, 1, 0])
    return circuit


def test_a_users_model_acts_as_in_aer(shots_of: Callable[..., np.ndarray], agree: Callable[..., None]) -> None:
    circuit = flipping()
    model = dumped(users_model())
    counts = (
        AerSimulator().run(circuit, shots=8000, noise_model=model, seed_simulator=5).result().results[0].data.counts
    )
    expected = np.repeat([int(outcome, 16) for outcome in counts], list(counts.values()))
    agree(shots_of(circuit, noise=DeviceNoise.from_model(model, 5), shots=8000), expected)


def test_errors_of_measurements_and_delays_in_a_users_model_act_as_in_aer(
    shots_of: Callable[..., np.ndarray], agree: Callable[..., None]
) -> None:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(pauli_error([("X", 0.25), ("I", 0.75)]), "measure")
    model.add_quantum_error(amplitude_damping_error(0.4), "delay", [0])
    model.add_quantum_error(QuantumError(Kraus([np.diag([1, 0.6]), [[0, 0.8], [0, 0]]])), "reset", [1])
    circuit = QuantumCircuit(2, 2)
    circuit.x([0, 1])
    circuit.delay(10, 0)
    circuit.reset(1)
    circuit.h(1)
    circuit.measure([0, 1], [0, 1])
    counts = (
        AerSimulator().run(circuit, shots=8000, noise_model=model, seed_simulator=5).result().results[0].data.counts
    )
    expected = np.repeat([int(outcome, 16) for outcome in counts], list(counts.values()))
    agree(shots_of(circuit, noise=DeviceNoise.from_model(model, 2), shots=8000), expected)


def test_a_model_made_from_a_device_keeps_its_delays(device: DeviceOf) -> None:
    whole = NoiseModel.from_backend(FakeManilaV2())
    noise = device("fake_manila").noise
    assert noise is not None
    for qubits in ((3, 2), (4,)):
        part, ours = DeviceNoise.from_model(whole, 5).restricted_to(qubits), noise.restricted_to(qubits)
        assert part is not None
        assert ours is not None
        assert_same_errors(part, whole, qubits)
        delayed, ours_delayed = (error_channel(model, Delay(5000), (0,)) for model in (part, ours))
        assert delayed is not None
        assert ours_delayed is not None
        np.testing.assert_allclose(delayed, ours_delayed, atol=1e-12)


def test_a_noise_pass_of_a_users_own_is_refused_by_name() -> None:
    class Sparks(LocalNoisePass):  # type: ignore[misc] # Qiskit Aer ships no types
        def __init__(self) -> None:
            super().__init__(self._error)

        def _error(self, operation: Instruction, qubits: Sequence[int]) -> None:
            return None

    model = NoiseModel()
    model._custom_noise_passes.append(Sparks())
    with pytest.raises(UnsupportedOptionError, match=r"noise_model.*Sparks"):
        DeviceNoise.from_model(model, 5)


def test_errors_of_qubits_that_do_not_exist_are_refused() -> None:
    with pytest.raises(InvalidInputError, match=r"qubits \[2\]"):
        DeviceNoise.from_model(users_model(), 2)


def test_a_model_without_errors_leaves_a_circuit_ideal() -> None:
    assert DeviceNoise.from_model(NoiseModel(), 2).restricted_to((0, 1)) is None


@pytest.mark.parametrize("gates", [(), ("x",)])
@pytest.mark.parametrize("width", [1, 2])
def test_zeros_and_ones_are_misread_each_at_their_own_rate(gates: tuple[str, ...], width: int) -> None:
    model = NoiseModel()
    model.add_all_qubit_readout_error(ReadoutError([[1, 0], [0.2, 0.8]]))
    circuit = QuantumCircuit(width)
    for gate in gates:
        getattr(circuit, gate)(range(width))
    if width > 1:
        circuit.cz(0, 1)
    circuit.measure_all()
    noise = DeviceNoise.from_model(model, 5)
    seeds = SeedPath((1,))
    bits = engine.sample(AerExecutor(), circuit, np.empty((1, 0)), 20_000, noise=noise, seeds=seeds)
    # Five standard errors of 20,000 shots.
    assert bits.mean(axis=(0, 1)) == pytest.approx([0.8 if gates else 0.0] * width, abs=0.015)


def errors() -> list[QuantumError]:
    one, other = thermal_relaxation_error(50e3, 70e3, 300), thermal_relaxation_error(60e3, 100e3, 300)
    custom = QuantumCircuit(1, name="x")
    custom.h(0)
    named = QuantumCircuit(1)
    named.append(custom.to_instruction(), [0])
    return [
        one,
        other,
        depolarizing_error(0.1, 2).compose(one.expand(other)),
        other.expand(one).compose(pauli_error([("XY", 0.1), ("ZI", 0.2), ("II", 0.7)])),
        amplitude_damping_error(0.2).tensor(one),
        coherent_unitary_error(RXGate(0.1).to_matrix()),
        QuantumError([(named, 0.5), (QuantumCircuit(1), 0.5)]),
        QuantumError(Kraus(depolarizing_error(0.1, 2))),
        depolarizing_error(0.1, 3),
    ]


@pytest.mark.parametrize("error", errors(), ids=range(9))
def test_the_channel_of_an_error_is_that_of_qiskit(error: QuantumError) -> None:
    np.testing.assert_allclose(superoperator(error), SuperOp(error).data, rtol=0, atol=1e-14)


def test_a_small_turn_is_no_error_that_does_nothing() -> None:
    """A thousand gates with it turn a qubit by 0.05."""
    assert not channel(coherent_unitary_error(RXGate(5e-5).to_matrix())).does_nothing
    assert channel(coherent_unitary_error(np.exp(0.3j) * np.eye(2))).does_nothing
