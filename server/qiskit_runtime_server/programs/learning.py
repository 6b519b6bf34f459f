"""Learns the errors of layers of gates, by running the circuits of qiskit-noise-learning."""

from qiskit.circuit import CircuitInstruction
from qiskit.quantum_info import PauliLindbladMap
from qiskit_noise_learning.protocols import prepare_vanilla_program, process_vanilla_result

from qiskit_runtime_server.programs import items
from qiskit_runtime_server.programs.codec import damage
from qiskit_runtime_server.programs.methods import LayerLearning
from qiskit_runtime_server.programs.setup import Setup


def learned_errors(
    setup: Setup, instruction: CircuitInstruction, learning: LayerLearning, *key: int
) -> PauliLindbladMap:
    """Return the Pauli Lindblad model of a layer's errors, for its qubits in rising order.

    Args:
        setup: What errs.
        instruction: The layer, in a box on qubits of the device.
        learning: How much is measured.
        key: Tells this from all other parts of the job.

    Raises:
        InvalidInputError: If the layer is not one of self-inverse Clifford gates.
    """
    with damage("the errors of a layer cannot be learned"):
        program = prepare_vanilla_program(
            setup.device,
            [instruction],
            num_randomizations=learning.num_randomizations,
            shots_per_randomization=learning.shots_per_randomization,
            fragment_depths=learning.layer_pair_depths,
        )
        result = items.run(setup, program, *key)
        (errors,), _, _ = process_vanilla_result(result)
    return errors
