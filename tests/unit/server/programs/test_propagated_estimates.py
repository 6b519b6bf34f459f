"""Estimates from Pauli propagation are those of exact simulation, at every level of mitigation."""

from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.primitives import DataBin
from qiskit.quantum_info import SparsePauliOp

from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.programs.device.shots import SimulatedShots
from qiskit_runtime_server.programs.options.options import Options
from qiskit_runtime_server.programs.prepared import PreparedDevice
from qiskit_runtime_server.simulation.plan import PROPAGATION, Noise, Plan

OBSERVABLES = [{"IIIIZ": 1.0, "IIIXI": 0.5}, {"IIZZI": 1.0, "IIIZI": -0.5, "IIIII": 0.25}, {"IIXXX": 1.0}]

MITIGATED: dict[str, dict[str, Any]] = {
    "level 0": {"resilience_level": 0},
    "TREX": {"resilience_level": 1},
    "twirled gates": {"resilience_level": 0, "twirling": {"enable_gates": True, "num_randomizations": 8}},
    "ZNE": {"resilience_level": 2, "twirling": {"num_randomizations": 8}},
    "asymmetric": {"resilience_level": 0, "experimental": {"noise": {"readout": "asymmetric"}}},
}


def circuit() -> QuantumCircuit:
    made = QuantumCircuit(5)
    for angle in (0.4, 0.9):
        for qubit in range(3):
            made.rz(angle, qubit)
            made.sx(qubit)
        made.cx(0, 1)
        made.cx(1, 2)
    return made


@pytest.mark.parametrize("name", MITIGATED)
def test_estimates_agree_with_exact_simulation(name: str) -> None:
    def estimate(method: str, seed: int) -> DataBin:
        options = {
            **MITIGATED[name],
            "default_precision": 0.01,
            "simulator": {"method": method, "seed_simulator": seed},
        }
        (result,) = AerExecutor(threads=1).execute_estimator([(circuit(), OBSERVABLES)], options, "fake_manila")
        methods = {way["method"] for way in result.metadata["simulation"]} - {"product"}
        assert methods == {"pauli-propagation" if method == "pauli-propagation" else "density-matrix"}
        assert all(way["truncation_error"] == 0 for way in result.metadata["simulation"])
        return result.data

    exact, propagated = estimate("executor", 1), estimate("pauli-propagation", 2)
    # Five standard errors of each difference.
    assert (np.abs(exact.evs - propagated.evs) <= 5 * np.hypot(exact.stds, propagated.stds)).all()
    if name == "ZNE":
        # What is extrapolated by which model is chance.
        off = np.abs(exact.evs_noise_factors - propagated.evs_noise_factors)
        assert (off <= 5 * np.hypot(exact.stds_noise_factors, propagated.stds_noise_factors)).all()
        assert propagated.ensemble_stds_noise_factors == pytest.approx(exact.ensemble_stds_noise_factors, rel=0.1)
    else:
        # That of all shots together, which few randomizations know well too.
        assert propagated.ensemble_standard_error == pytest.approx(exact.ensemble_standard_error, rel=0.1)


def test_projectors_are_propagated_too() -> None:
    observables = [{"II01I": 1.0}, {"II+Z0": 1.0}]
    found = [
        AerExecutor(threads=1)
        .execute_estimator(
            [(circuit(), observables)],
            {"resilience_level": 0, "simulator": {"method": method, "seed_simulator": 3}},
            "fake_manila",
        )[0]
        .data
        for method in ("executor", "pauli-propagation")
    ]
    assert (np.abs(found[0].evs - found[1].evs) <= 5 * np.hypot(found[0].stds, found[1].stds)).all()
    assert found[0].stds == pytest.approx(found[1].stds, rel=0.2)


def test_terms_that_cannot_be_drawn_together_are_drawn_in_bases_of_their_own() -> None:
    ladder = QuantumCircuit(7)
    for qubit in range(7):
        ladder.rz(0.3 + qubit, qubit)
        ladder.sx(qubit)
    for pair in ((0, 1), (1, 2), (1, 3), (3, 5), (5, 4), (5, 6)):
        ladder.cx(*pair)
    ising = SparsePauliOp.from_sparse_list(
        [("ZZ", [qubit, qubit + 1], 1.0) for qubit in range(6)]
        + [("Z", [qubit], 0.5) for qubit in range(7)]
        + [("X", [qubit], 0.25) for qubit in range(7)],
        7,
    )

    def estimate(method: str, level: int) -> DataBin:
        options = {"resilience_level": level, "simulator": {"method": method, "seed_simulator": 5}}
        (result,) = AerExecutor(threads=1).execute_estimator([(ladder, [ising, "IIIIIZZ"])], options, "fake_nairobi")
        methods = {way["method"] for way in result.metadata["simulation"]}
        assert methods == {"pauli-propagation" if method == "pauli-propagation" else "density-matrix"}
        return result.data

    for level in (0, 1):
        exact, propagated = estimate("executor", level), estimate("pauli-propagation", level)
        assert (np.abs(exact.evs - propagated.evs) <= 5 * np.hypot(exact.stds, propagated.stds)).all()
        # Correlations between terms of a basis are left out.
        assert propagated.stds == pytest.approx(exact.stds, rel=0.7)


def test_an_error_is_an_estimate_if_that_of_some_rows_is() -> None:
    prepared = PreparedDevice.of(SimulatedShots(AerExecutor(threads=1)), Options(), "fake_manila")
    for error, bounded in ((0.0, True), (0.003, False), (0.01, True)):
        prepared.plans.append(
            Plan(qubits=(0, 1), method=PROPAGATION, noise=Noise.DEVICE, truncation_error=error, bounded=bounded)
        )
    (said,) = prepared.simulated()
    assert (said["truncation_error"], said["truncation_error_is"]) == (0.01, "estimate")
    assert prepared.simulated() == []
