"""Mitigation brings values closer to the truth, by no more and no less than it should."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from plain_executor import Run
from qiskit.circuit import QuantumCircuit
from qiskit.primitives import PrimitiveResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit_aer.noise import NoiseModel, ReadoutError

from qiskit_runtime_server.executors.aer import AerExecutor

MISREAD = (0.02, 0.08)
"""Chances to read 1 for 0, and 0 for 1."""


def misreading(num_qubits: int = 5) -> NoiseModel:
    model = NoiseModel()
    zero, one = MISREAD
    for qubit in range(num_qubits):
        model.add_readout_error(ReadoutError([[1 - zero, zero], [one, 1 - one]]), [qubit])
    return model


@pytest.fixture
def mitigate() -> Run:
    """Runs estimator pubs on the fast executor."""

    def run(
        pubs: Sequence[Any],
        *,
        backend: str = "fake_manila",
        seed: int = 1,
        noise: NoiseModel | None = None,
        **options: Any,
    ) -> PrimitiveResult[Any]:
        simulator = {"seed_simulator": seed, "noise_model": noise}
        coerced = [EstimatorPub.coerce(pub) for pub in pubs]
        return AerExecutor().execute_estimator(coerced, {**options, "simulator": simulator}, backend)

    return run


def ones(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    circuit.x(range(num_qubits))
    return circuit


class TestReadoutMitigation:
    def test_it_recovers_values_under_a_known_readout_error(self, mitigate: Run) -> None:
        pubs = [(ones(3), ["IIZ", "IZZ", "ZZZ"], [], 0.005)]
        shrunk = mitigate(pubs, noise=misreading(), resilience_level=0)[0].data.evs
        # <Z> of a 1 that is read as 0 in 8 of 100 cases; to five standard errors.
        assert shrunk == pytest.approx([-0.84, 0.84**2, -(0.84**3)], abs=0.025)
        options = {
            "twirling": {"num_randomizations": 1000},
            "resilience": {"measure_mitigation": True, "measure_noise_learning": {"num_randomizations": 1000}},
        }
        data = mitigate(pubs, noise=misreading(), resilience_level=1, **options)[0].data
        # Twirled flips shrink values by 0.9 for each qubit; to five standard errors, those of calibration included.
        assert np.abs(data.evs - [-1, 1, -1]) == pytest.approx(0, abs=0.03)

    def test_values_are_unbiased_over_seeds(self, mitigate: Run) -> None:
        results = [mitigate([(ones(2), "ZZ")], seed=seed, noise=misreading())[0].data for seed in range(40)]
        evs = np.array([float(data.evs) for data in results])
        # 40 seeds; five standard errors of their mean.
        assert evs.mean() == pytest.approx(1, abs=5 * evs.std(ddof=1) / np.sqrt(40))
        # Calibration, which the errors do not count, is as uncertain as the values: 1.4 times, within 40 seeds.
        errors = np.array([float(data.stds) for data in results])
        assert 0.95 < evs.std(ddof=1) / errors.mean() < 2.3

    def test_a_twirled_measurement_misreads_both_values_alike(self, mitigate: Run) -> None:
        options = {"resilience": {"measure_mitigation": False}, "twirling": {"num_randomizations": 500}}
        for circuit, sign in ((ones(1), -1), (QuantumCircuit(1), 1)):
            (result,) = mitigate([(circuit, "Z", [], 0.005)], noise=misreading(), resilience_level=1, **options)
            assert float(result.data.evs) == pytest.approx(sign * 0.9, abs=0.025)
