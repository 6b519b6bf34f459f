"""mthree: calibrated and corrected readout errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.fake_provider import FakeKolkataV2

from kit.quantum.exact_device import ExactDevice
from kit.server.ran_circuits import FIVE_SIGMA, distribution_p_value, ran_circuits

GHZ = ("00000", "11111")


def test_mthree_calibrates_and_corrects_the_readout(
    run: Callable[[str], dict[str, Any]], service: QiskitRuntimeService
) -> None:
    found = run("mthree_ghz")
    shots = found["shots"]
    device = ExactDevice(FakeKolkataV2())
    for qubit, calibration in found["calibrations"].items():
        exact = np.transpose([_outcomes(device, int(qubit), flipped=flipped) for flipped in (False, True)])
        bounds = 5 * np.sqrt(exact * (1 - exact) / shots)
        assert (np.abs(np.array(calibration) - exact) < bounds).all(), (qubit, calibration, exact)

    (ran,) = ran_circuits(service, found["jobs"])
    assert distribution_p_value([ran], [device.probabilities(ran.circuit)]) > FIVE_SIGMA
    well_read = device.probabilities(ran.circuit, readout=False)
    corrected = sum(found["mitigated"][bits] for bits in GHZ)
    raw = sum(found["counts"][bits] for bits in GHZ) / shots
    # Its standard deviation is a bound for an operator of eigenvalues -1 and 1; a projector's are half as far apart.
    assert abs(corrected - well_read[[0, -1]].sum()) < 5 * found["std"] / 2
    assert well_read[[0, -1]].sum() - raw > 10 * np.sqrt(raw * (1 - raw) / shots)
    ideal = dict.fromkeys(GHZ, 0.5)
    assert (
        _distance(found["mitigated"], ideal) < _distance({b: n / shots for b, n in found["counts"].items()}, ideal) / 2
    )


def _outcomes(device: ExactDevice, qubit: int, *, flipped: bool) -> np.ndarray:
    """Return how often 0 and 1 are read from a qubit that is prepared in 0, or in 1 by a gate."""
    circuit = QuantumCircuit(27, 1)
    if flipped:
        circuit.x(qubit)
    circuit.measure(qubit, 0)
    return device.probabilities(circuit)


def _distance(one: dict[str, float], other: dict[str, float]) -> float:
    """Return the total variation distance."""
    return sum(abs(one.get(bits, 0) - other.get(bits, 0)) for bits in one.keys() | other.keys()) / 2
