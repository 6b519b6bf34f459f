"""What is in a noise model of Aer, which has no public names for it (Javadi-Abhari et al., https://arxiv.org/abs/2405.08810).

This is the only module that uses private names of Aer. An upgrade of Aer that changes one fails in its tests, and there
alone (`test_noise_models.py`).

    local_errors(model)["cx"][0, 1]     the error of cx on qubits 0 and 1
    default_errors(model)["sx"]         that of sx on qubits without one of their own
"""

from collections.abc import Mapping

from qiskit.circuit import Delay
from qiskit_aer.noise import NoiseModel, QuantumError, ReadoutError
from qiskit_aer.noise.passes import LocalNoisePass, RelaxationNoisePass


def local_errors(model: NoiseModel) -> Mapping[str, Mapping[tuple[int, ...], QuantumError]]:
    """Return the errors of instructions on some qubits, by the labels of the instructions and by the qubits."""
    errors: Mapping[str, Mapping[tuple[int, ...], QuantumError]] = model._local_quantum_errors
    return errors


def default_errors(model: NoiseModel) -> Mapping[str, QuantumError]:
    """Return the errors of instructions on all qubits that have none of their own, by the instructions' labels."""
    errors: Mapping[str, QuantumError] = model._default_quantum_errors
    return errors


def local_readout_errors(model: NoiseModel) -> Mapping[tuple[int, ...], ReadoutError]:
    """Return how some qubits are misread, by the qubits."""
    errors: Mapping[tuple[int, ...], ReadoutError] = model._local_readout_errors
    return errors


def default_readout_error(model: NoiseModel) -> ReadoutError | None:
    """Return how all qubits are misread that have no error of their own; None if they are not."""
    return model._default_readout_error


def readout_error(model: NoiseModel, qubit: int) -> ReadoutError | None:
    """Return how a qubit is misread; None if it is not."""
    return local_readout_errors(model).get((qubit,), default_readout_error(model))


def remove_readout_errors(model: NoiseModel) -> None:
    """Let `model` misread nothing."""
    model._local_readout_errors = {}
    model._default_readout_error = None


def passes(model: NoiseModel) -> list[LocalNoisePass]:
    """Return the passes that `model` runs on circuits; what is appended to them, it runs as well."""
    found: list[LocalNoisePass] = model._custom_noise_passes
    return found


def relaxation(noise_pass: RelaxationNoisePass, delay: Delay, qubit: int) -> QuantumError | None:
    """Return what a pass adds to a delay of a qubit."""
    return noise_pass._thermal_relaxation_error(delay, [qubit])
