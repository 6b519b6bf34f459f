"""What docs/explanation/physics says of the noise model is so."""

import json
from pathlib import Path

import numpy as np
import pytest
from qiskit import generate_preset_pass_manager
from qiskit.circuit import QuantumCircuit
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import DensityMatrix, SuperOp, average_gate_fidelity

from kit.quantum.recording_executor import RecordingExecutor
from qiskit_runtime_server.backends.fake import fake_files
from qiskit_runtime_server.programs.device.device import Device, load_device
from qiskit_runtime_server.simulation.noise import DeviceNoise, Use, gate_error, readout_matrix

PAGE = Path(__file__).parents[4] / "docs" / "explanation" / "physics" / "noise-model.md"


@pytest.fixture(scope="module")
def device() -> Device:
    return load_device(RecordingExecutor().catalog, "fake_manila", ideal_qubits=5)


@pytest.fixture(scope="module")
def noise(device: Device) -> DeviceNoise:
    assert device.noise is not None
    return device.noise


def error_after(noise: DeviceNoise, name: str, *qubits: int) -> SuperOp | None:
    use: Use = (name, tuple(range(len(qubits))))
    model = noise.restricted_to(qubits, frozenset({use}))
    error = None if model is None else gate_error(model, use)
    return None if error is None else SuperOp(error)


def relaxed(device: Device, name: str, qubit: int) -> tuple[float, float]:
    """Return what a gate leaves of a qubit's population of 1, and of its coherence."""
    seconds = device.target[name][(qubit,)].duration
    known = device.target.qubit_properties[qubit]
    return np.exp(-seconds / known.t1), np.exp(-seconds / min(known.t2, 2 * known.t1))


@pytest.mark.parametrize(("name", "qubits"), [("x", (0,)), ("sx", (2,)), ("sx", (3,)), ("cx", (0, 1)), ("cx", (2, 1))])
def test_a_gate_has_the_average_fidelity_of_its_calibration_or_that_of_relaxation(
    device: Device, noise: DeviceNoise, name: str, qubits: tuple[int, ...]
) -> None:
    calibrated: float = 1 - device.target[name][qubits].error
    if len(qubits) == 1:
        calibrated = min(calibrated, fidelity(*relaxed(device, name, *qubits)))
    assert average_gate_fidelity(error_after(noise, name, *qubits)) == pytest.approx(calibrated, abs=1e-12)


def fidelity(population: float, coherence: float) -> float:
    """Return the average gate fidelity of a relaxation that leaves so much."""
    return 0.5 + (population + 2 * coherence) / 6


@pytest.mark.parametrize("qubit", range(5))
def test_depolarisation_comes_first_and_relaxation_after_it(device: Device, noise: DeviceNoise, qubit: int) -> None:
    population, coherence = relaxed(device, "x", qubit)
    left = fidelity(population, coherence)
    p = max(0.0, 2 * (left - 1 + device.target["x"][(qubit,)].error) / (2 * left - 1))
    error = error_after(noise, "x", qubit)
    one = DensityMatrix([[0, 0], [0, 1]]).evolve(error).data
    plus = DensityMatrix([[0.5, 0.5], [0.5, 0.5]]).evolve(error).data
    assert one[1, 1].real == pytest.approx((1 - p / 2) * population, abs=1e-12)
    assert plus[0, 1].real == pytest.approx((1 - p) * coherence / 2, abs=1e-12)


def test_frames_change_without_errors(noise: DeviceNoise) -> None:
    assert error_after(noise, "rz", 0) is None


def test_a_reset_and_the_start_are_exact(noise: DeviceNoise) -> None:
    ground = DensityMatrix([[1, 0], [0, 0]])
    error = error_after(noise, "reset", 0)
    assert error is None or np.allclose(ground.evolve(error).data, ground.data, atol=1e-15)


def test_a_measurement_has_readout_errors_alone(noise: DeviceNoise) -> None:
    assert error_after(noise, "measure", 0) is None
    readouts = noise.readouts(range(5))
    assert readouts is not None
    assert set(readouts) == set(range(5))


@pytest.mark.parametrize("qubit", range(5))
def test_both_values_are_misread_by_the_error_of_the_target_unless_asked_otherwise(
    device: Device, noise: DeviceNoise, qubit: int
) -> None:
    use: Use = ("measure", (0,))
    error = device.target["measure"][(qubit,)].error
    matrices = [
        readout_matrix(model, 0)
        for source in (noise, device.asymmetric_noise)
        if (model := source.restricted_to((qubit,), frozenset({use}))) is not None
    ]
    symmetric, asymmetric = matrices
    assert symmetric is not None
    assert asymmetric is not None
    assert np.allclose(symmetric, [[1 - error, error], [error, 1 - error]])
    assert asymmetric[1, 0] > asymmetric[0, 1]
    assert asymmetric[1, 0] + asymmetric[0, 1] == pytest.approx(2 * error)


def test_qubits_relax_during_delays_only() -> None:
    shares = []
    for delayed in (False, True):
        circuit = QuantumCircuit(5, 1)
        circuit.x(0)
        circuit.barrier()
        for _ in range(60):
            circuit.cx(3, 4)
        if delayed:
            circuit.delay(100, 0, unit="us")
        circuit.barrier()
        circuit.measure(0, 0)
        executor = RecordingExecutor()
        pub = SamplerPub.coerce((circuit, None, 20_000))
        result = executor.execute_sampler([pub], {"simulator": {"seed_simulator": 1}}, "fake_manila")
        shares.append(result[0].data.c.get_int_counts()[1] / 20_000)
    # T1 is 131 us: a delay of 100 us leaves 47 %. Five standard deviations.
    assert shares[0] == pytest.approx(1 - 0.0353, abs=0.01)
    assert shares[1] == pytest.approx(0.0353 + (1 - 2 * 0.0353) * np.exp(-100 / 131.5), abs=0.018)


def test_the_figures_of_lopsided_readout_are_those_of_the_fake_devices() -> None:
    pairs = []
    for _, properties in fake_files().values():
        for parameters in json.loads(properties.read_text())["qubits"] if properties else ():
            values = {parameter["name"]: parameter["value"] for parameter in parameters}
            pairs.append((values["prob_meas0_prep1"], values["prob_meas1_prep0"]))
    one, zero = np.array(pairs).T
    page = " ".join(PAGE.read_text().split()).replace(" %", "%")
    assert f"on {np.mean(one > zero):.0%} of the {len(pairs):,} qubits" in page
    assert f"on {np.mean(one > 2 * zero):.0%} more than twice" in page


def test_a_scheduled_circuit_has_the_delays_that_the_page_speaks_of(device: Device) -> None:
    circuit = QuantumCircuit(5)
    circuit.x(0)
    circuit.cx(1, 2)
    circuit.cx(0, 1)
    manager = generate_preset_pass_manager(optimization_level=1, target=device.target, scheduling_method="alap")
    assert manager.run(circuit).count_ops()["delay"] > 0
