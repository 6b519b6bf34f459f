"""qiskit-experiments: T1, randomized benchmarking, state and process tomography."""

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from qiskit.quantum_info import Choi, Operator, pauli_basis
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.fake_provider import FakeManilaV2, FakeQuitoV2
from scipy.optimize import curve_fit

from kit.quantum.exact_device import ExactDevice
from kit.quantum.linear_inversion import LinearInversion
from kit.server.ran_circuits import FIVE_SIGMA, RanCircuit, distribution_p_value, ran_circuits

Run = Callable[[str], dict[str, Any]]
# The operators whose expectation values are fidelities: with a Bell state, and of a process with a cx.
BELL = np.array([[1, 0, 0, 1], [0, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 1]]) / 2
CX = Choi(Operator([[1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0], [0, 1, 0, 0]])).data / 16


@pytest.mark.thorough
def test_t1_is_the_calibrated_one(run: Run, service: QiskitRuntimeService) -> None:
    found = run("experiments_t1")
    t1 = FakeManilaV2().qubit_properties(1).t1
    assert found["std"] < 0.02 * t1
    assert abs(found["t1"] - t1) < 5 * found["std"]
    ran = ran_circuits(service, found["jobs"])
    device = ExactDevice(FakeManilaV2())
    exact = [device.probabilities(one.circuit) for one in ran]
    assert distribution_p_value(ran, exact) > FIVE_SIGMA


@pytest.mark.slow
def test_randomized_benchmarking_finds_the_errors_of_the_gates(run: Run, service: QiskitRuntimeService) -> None:
    found = run("experiments_rb")
    device = ExactDevice(FakeQuitoV2())
    for name, qubits, gates in (("one qubit", (1,), {"sx": (1,), "x": (1,)}), ("two qubits", (0, 1), {"cx": (0, 1)})):
        errors = found[name]
        ran = ran_circuits(service, errors["jobs"])
        exact = [device.probabilities(one.circuit) for one in ran]
        assert distribution_p_value(ran, exact) > FIVE_SIGMA
        dimension = 2 ** len(qubits)
        epc, std = errors["EPC"]
        assert std < 0.1 * epc
        assert abs(epc - _fitted_error_per_clifford(ran, exact, dimension)) < 5 * std
        assert abs(epc - _error_per_clifford_of(device, ran, qubits)) < 5 * std
        for gate, operands in gates.items():
            value, std = errors[f"EPG_{gate}"]
            infidelity = (1 - device.process_fidelity(gate, operands)) * dimension / (dimension + 1)
            assert abs(value - infidelity) < 5 * std


def _fitted_error_per_clifford(ran: Sequence[RanCircuit], exact: Sequence[np.ndarray], dimension: int) -> float:
    """Return what the fit of a p^m + b to the exact probabilities of the sequences gives."""
    lengths = [one.circuit.metadata["xval"] for one in ran]
    survivals = [probabilities[0] for probabilities in exact]

    def decay(length: np.ndarray, a: float, p: float, b: float) -> np.ndarray:
        return a * p**length + b

    start = (1 - 1 / dimension, 0.99, 1 / dimension)
    (_, p, _), _ = curve_fit(decay, np.array(lengths, dtype=float), survivals, p0=start)
    return float((1 - p) * (dimension - 1) / dimension)


def _error_per_clifford_of(device: ExactDevice, ran: Sequence[RanCircuit], qubits: tuple[int, ...]) -> float:
    """Return the error per Clifford from the errors of the gates alone.

    A twirled channel of process fidelity F is depolarizing with the parameter (d^2 F - 1) / (d^2 - 1), and those of
    gates in a row multiply. [Magesan, Gambetta, Emerson, doi:10.1103/PhysRevA.85.042311]
    """
    dimension = 2 ** len(qubits)
    gates: Counter[tuple[str, tuple[int, ...]]] = Counter()
    for one in ran:
        for instruction in one.circuit:
            operands = tuple(one.circuit.find_bit(qubit).index for qubit in instruction.qubits)
            gates[instruction.operation.name, operands] += 1
    cliffords = sum(one.circuit.metadata["xval"] + 1 for one in ran)
    logarithm = 0.0
    for (gate, operands), number in gates.items():
        if gate in {"sx", "x", "cx"}:
            fidelity = device.process_fidelity(gate, operands)
            logarithm += number * np.log((dimension**2 * fidelity - 1) / (dimension**2 - 1))
    return float((1 - np.exp(logarithm / cliffords)) * (dimension - 1) / dimension)


@pytest.mark.slow
@pytest.mark.thorough
def test_tomography_finds_the_exact_states_and_process(run: Run, service: QiskitRuntimeService) -> None:
    found = run("experiments_tomography")
    device = ExactDevice(FakeManilaV2())
    readout = [device.readout(qubit) for qubit in (0, 1)]
    for name, quantity, known_readout in (
        ("state", BELL, None),
        ("mitigated state", BELL, readout),
        ("process", CX, None),
    ):
        ran = ran_circuits(service, found[name]["jobs"])
        exact = [device.probabilities(one.circuit) for one in ran]
        assert distribution_p_value(ran, exact) > FIVE_SIGMA
        chosen = [(setting, one) for one, setting in zip(exact, map(_setting, ran), strict=True) if setting]
        settings, probabilities = [setting for setting, _ in chosen], [one for _, one in chosen]
        inversion = LinearInversion(
            [setting["m_idx"] for setting in settings], [setting.get("p_idx") for setting in settings], known_readout
        )
        expected = inversion.matrix(probabilities)
        shots = ran[0].shots

        def agrees(value: float, operator: np.ndarray) -> bool:
            """Say whether an expectation value is the exact one within five standard deviations."""
            exact_value = np.trace(operator @ expected).real  # noqa: B023 - called in this round only
            variance = inversion.std_of_overlap(probabilities, operator, shots=shots) ** 2  # noqa: B023
            if known_readout is not None:  # noqa: B023
                variance += exact_value**2 * _relative_variance_of_calibration(readout, shots)  # noqa: B023
            return bool(abs(value - exact_value) < 5 * np.sqrt(variance) + 1e-9)

        assert agrees(found[name]["fidelity"], quantity), name
        matrix = np.array(found[name]["matrix"][0]) + 1j * np.array(found[name]["matrix"][1])
        for pauli in pauli_basis(round(np.log2(len(matrix)))):
            assert agrees(np.trace(pauli.to_matrix() @ matrix).real, pauli.to_matrix()), (name, pauli)


def _relative_variance_of_calibration(readout: Sequence[np.ndarray], shots: int) -> float:
    """Return the relative variance of a value that was divided by 1 - P(1|0) - P(0|1) of each qubit, as calibrated."""
    parts = [
        (one[0, 1] * one[0, 0] + one[1, 0] * one[1, 1]) / shots / (1 - one[0, 1] - one[1, 0]) ** 2 for one in readout
    ]
    return float(sum(parts))


def _setting(ran: RanCircuit) -> dict[str, Any] | None:
    """Return which bases a circuit of tomography has; none for the calibration of the readout."""
    metadata = ran.circuit.metadata
    if "composite_metadata" in metadata:
        metadata = metadata["composite_metadata"][0]
    return metadata if "m_idx" in metadata else None
