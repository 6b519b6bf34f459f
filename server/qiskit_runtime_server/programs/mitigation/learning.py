"""Learns the errors of layers of gates and of measurements, by running the circuits of qiskit-noise-learning.

A layer that is its own inverse is repeated: each Pauli operator decays by its fidelity, and rates of a Pauli-Lindblad
model are fitted to all decays (van den Berg et al., 2023, https://doi.org/10.1038/s41567-023-02042-2). What a gate
turns into each other is learned as a product only (Chen et al., 2023, https://arxiv.org/abs/2206.06362).

    after d pairs of layers     A * (f_b * f_b')^d, with A of preparation and readout, b' = U b U^-1
    fidelity                    f_b = exp(-2 * sum of the rates of all Paulis that anticommute with b)
    rates                       least squares of M rates = -log(f) / 2, not below 0
"""

import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import CircuitInstruction, QuantumCircuit
from qiskit.circuit.library import XGate
from qiskit.quantum_info import PauliLindbladMap
from qiskit.transpiler import PassManager
from qiskit_mitigation.postselection.constants import DEFAULT_POST_CHECK_SUFFIX, DEFAULT_PRE_CHECK_SUFFIX
from qiskit_mitigation.postselection.passes import (
    AddPostCircuitNonMarkovianErrorChecks,
    AddPreCircuitNonMarkovianErrorChecks,
    AddSpectatorPostCircuitNonMarkovianErrorChecks,
    AddSpectatorPreCircuitNonMarkovianErrorChecks,
)
from qiskit_noise_learning.analysis import (
    AnalysisPipeline,
    AnalysisStage,
    Fit,
    FlipPostSelect,
    LeastSquaresSolve,
    suffix_creg_identifier,
)
from qiskit_noise_learning.models import split_pauli_lindblad_model
from qiskit_noise_learning.protocols import prepare_vanilla_program, process_vanilla_result

from qiskit_runtime_server.programs import private_names, run_items
from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.programs.options.mitigation import Checks, LayerLearning
from qiskit_runtime_server.programs.prepared import PreparedDevice
from qiskit_runtime_server.programs.wire.reading import damage
from qiskit_runtime_server.simulation.seeds import SeedPath

_BASES: Final = 9
"""How many measurement bases show all errors of pairs of qubits."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Learned:
    """What is known of a layer after it was measured.

    Attributes:
        errors: For the layer's qubits in rising order.
    """

    errors: PauliLindbladMap
    _name: str
    _fit: Fit
    _checks: Checks

    def standard_errors(self) -> NDArray[np.float64]:
        """Return the standard error of each rate, before rates below 0 were set to 0.

        They follow from the errors of the fitted decays, by linear regression.
        """
        with warnings.catch_warnings():
            # It says that few randomizations may agree by chance, and so seem to have no error.
            warnings.simplefilter("ignore", UserWarning)
            fit = AnalysisPipeline(LeastSquaresSolve(non_negative=False)).run(self._fit.copy())
        data = fit.model_data.dataset
        variances = np.clip(np.diag(data["covariance"].data), 0, None)
        data["parameter_values"].data = np.sqrt(variances)
        model = split_pauli_lindblad_model(fit.model).model
        maps = model.to_pauli_lindblad_maps(fit.model_data, include_spam=True, restrict_to_qubit_idxs=True)
        found = {(letters, tuple(places)): error for letters, places, error in maps[self._name].to_sparse_list()}
        return np.array([found[letters, tuple(places)] for letters, places, _ in self.errors.to_sparse_list()])

    def fractions_kept(self) -> dict[int, float]:
        """Return the share of shots that passed all checks, for each number of pairs of layers."""
        return private_names.fractions_kept(self._fit.raw_data)

    def success_rates(self) -> dict[int, dict[int, float]]:
        """Return for each number of pairs of layers how often the check flipped each qubit; 1 where none was made.

        It is the check after the circuit or, where there is none, the one before.
        """
        identifier = _AFTER if self._checks.post.enable or not self._checks.pre.enable else _before
        return private_names.success_rates(self._fit.raw_data, identifier)


def learned(
    prepared: PreparedDevice,
    instruction: CircuitInstruction,
    learning: LayerLearning,
    seeds: SeedPath,
    *,
    checks: Checks | None = None,
) -> Learned:
    """Return the Pauli Lindblad model of a layer's errors.

    Args:
        prepared: What errs.
        instruction: The layer, in a box on qubits of the device: self-inverse gates, or one measurement of each qubit.
        learning: How much is measured.
        seeds: Of the layer.
        checks: Which shots are dropped; by default none.

    Raises:
        InvalidInputError: If the layer is not one of self-inverse Clifford gates.
    """
    checks = Checks() if checks is None else checks
    with damage("the errors of a layer cannot be learned"):
        program = prepare_vanilla_program(
            prepared.device,
            [instruction],
            num_randomizations=learning.num_randomizations,
            shots_per_randomization=learning.shots_per_randomization,
            fragment_depths=learning.layer_pair_depths,
            pass_manager=_checking(prepared.device, checks),
        )
        for item in program.items:
            item.circuit = _with_known_pulses(item.circuit)
        result = run_items.run(prepared, program, seeds, planned=circuits_of_layer(learning))
        prepared.source.prepare_for_learning(result, seeds)
        (errors,), (name,), fit = process_vanilla_result(result, raw_data_stage=_dropping(checks))
    return Learned(errors=errors, _name=name, _fit=fit, _checks=checks)


def circuits_of_layer(learning: LayerLearning) -> int:
    """Return about how many circuits the errors of a layer of gates are learned from."""
    return _BASES * len(learning.layer_pair_depths) * learning.num_randomizations


def _checking(device: Device, checks: Checks) -> PassManager | None:
    """Return what adds the checks to circuits; the client's own preparation forgets a check before that is alone."""
    passes: list[object] = []
    coupling = device.target.build_coupling_map()
    if checks.pre.enable:
        passes.append(AddPreCircuitNonMarkovianErrorChecks(checks.pre.x_pulse_type))
        passes.append(AddSpectatorPreCircuitNonMarkovianErrorChecks(coupling, checks.pre.x_pulse_type))
    if checks.post.enable:
        passes.append(AddPostCircuitNonMarkovianErrorChecks(checks.post.x_pulse_type))
        passes.append(AddSpectatorPostCircuitNonMarkovianErrorChecks(coupling, checks.post.x_pulse_type))
    return PassManager(passes) if passes else None


def _dropping(checks: Checks) -> AnalysisStage | None:
    """Return what drops the shots that fail a check; the client's own forgets a check after that is alone."""
    checked = [(_before, checks.pre), (_AFTER, checks.post)]
    stages = [FlipPostSelect(identifier, check.strategy) for identifier, check in checked if check.enable]
    return None if not stages else stages[0] if len(stages) == 1 else stages[0] + stages[1]


def _before(names: Iterable[str]) -> Iterator[tuple[str, ...]]:
    """Yield the registers of the check before the circuit: their bits, flipped twice, have to be 0.

    The client's own compares them with those of the circuit's result.
    """
    return ((name,) for name in names if name.endswith(DEFAULT_PRE_CHECK_SUFFIX))


# Pairs of registers whose bits have to differ.
_AFTER: Final = suffix_creg_identifier(DEFAULT_POST_CHECK_SUFFIX)


def _with_known_pulses(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return `circuit` with the device's x for the slow pulse, which no description of a device has."""
    if "xslow" not in circuit.count_ops():
        return circuit
    known = circuit.copy_empty_like()
    for instruction in circuit.data:
        known.append(
            XGate() if instruction.name == "xslow" else instruction.operation, instruction.qubits, instruction.clbits
        )
    return known
