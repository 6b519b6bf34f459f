"""Expectation values from circuits that a samplex draws variants of: gate twirling, ZNE, PEC and PEA.

The client library has the methods; here legacy options are put into its terms, and its results into legacy ones.
Their formulas and sources are in docs/explanation/physics: twirling (Wallman, Emerson, 2016,
https://doi.org/10.1103/PhysRevA.94.052325), folding (Giurgica-Tiron et al., 2020, https://arxiv.org/abs/2005.10921),
PEC (van den Berg et al., 2023, https://doi.org/10.1038/s41567-023-02042-2), and PEA (Kim et al., 2023,
https://doi.org/10.1038/s41586-023-06096-3).

    cx folded at factor 3     cx, cx^-1, cx
    PEC of a layer            its inverse channel: a Pauli drawn as often as it errs, and a sign; times gamma
    PEA at factor 3           the layer's errors drawn with 2 times their rates, on top of its own
"""

import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Final

import numpy as np
from qiskit.circuit import CircuitInstruction, Gate, QuantumCircuit
from qiskit.primitives import DataBin
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.quantum_info import PauliLindbladMap
from qiskit_ibm_runtime.decoders.executor_estimator.post_processor_v0_1 import rename_databin_fields
from qiskit_ibm_runtime.executor_estimator.prepare import prepare
from qiskit_ibm_runtime.options_models import EstimatorOptions
from qiskit_ibm_runtime.results import LayerError, QuantumProgramResult
from qiskit_mitigation import PEA, GateFolding, MitigationTask
from qiskit_mitigation.utils.utils import load_tasks_from_result
from qiskit_mitigation.zne.gate_folding import SUPPORTED_FOLDED_GATES
from samplomatic.quantum_program import QuantumProgram

from qiskit_runtime_server.errors import UnsupportedOptionError
from qiskit_runtime_server.programs import run_items
from qiskit_runtime_server.programs.device.boxes import opened
from qiskit_runtime_server.programs.device.progress import numbered
from qiskit_runtime_server.programs.mitigation.built import BUILT
from qiskit_runtime_server.programs.mitigation.error_bars import Calibration, Errors, asked_parities, errors_of
from qiskit_runtime_server.programs.mitigation.extrapolation import can_fit, has_residuals
from qiskit_runtime_server.programs.mitigation.final_measurements import without_final_measurements
from qiskit_runtime_server.programs.mitigation.layers import Layer, LayerKey, found_layers, known_errors, layer_error
from qiskit_runtime_server.programs.mitigation.learning import circuits_of_layer, learned
from qiskit_runtime_server.programs.mitigation.narrowing import narrowed, used_qubits, values_of
from qiskit_runtime_server.programs.mitigation.plan import Plan, support
from qiskit_runtime_server.programs.options.mitigation import AUTO, Methods, Randomizations, Resilience, Zne
from qiskit_runtime_server.programs.prepared import PreparedDevice
from qiskit_runtime_server.programs.private_names import annotations_of_boxes, fits_with_errors, folding_by
from qiskit_runtime_server.programs.wire.reading import damage
from qiskit_runtime_server.simulation.components.last_circuits import MOST_KEPT, LastCircuits


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerNoise:
    """What is known of the errors of a job's layers.

    Attributes:
        qubits: Of the device, for those of the narrowed circuits.
        model: For each layer, its box in the narrowed circuits and its errors; none where nothing is known.
        layers: What the result says of each layer; no errors where nothing is known.
        overheads: Of each layer whose errors are known, by what it is: gamma = exp(2 * sum of rates), the factor by
            which cancelling all of them makes standard errors grow (Nature Physics 19, 1116, equation 5).
        learned: How many layers were learned for this job.
        unknown: How many layers are taken to be free of errors.
    """

    qubits: Sequence[int]
    model: Sequence[tuple[CircuitInstruction, PauliLindbladMap]]
    layers: Sequence[LayerError]
    overheads: Mapping[LayerKey, float]
    learned: int
    unknown: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Mitigated:
    """What came out of a pub.

    Attributes:
        data: With the fields of the legacy result.
        randomizations: Those that were drawn.
        resilience: What mitigation says about itself.
    """

    data: DataBin
    randomizations: Randomizations
    resilience: Mapping[str, Any]


def layer_noise(prepared: PreparedDevice, pubs: Sequence[EstimatorPub]) -> LayerNoise:
    """Return the errors of all layers of the pubs' circuits: those that the job brings along, or learned ones."""
    options = prepared.options
    qubits = _qubits(pubs, options.twirling.strategy)
    layers = found_layers([_narrowed_pub(pub, qubits).circuit for pub in pubs], options.twirling.strategy, qubits)
    known, learning = options.resilience.layer_noise_model, options.resilience.layer_noise_learning
    errors: list[PauliLindbladMap | None] = []
    number_learned = len(layers[: learning.max_layers_to_learn])
    if known is None:
        prepared.source.progress.plan(number_learned * circuits_of_layer(learning))
    for number, layer in enumerate(layers):
        if known is not None:
            errors.append(known_errors(layer, known))
        elif learning.max_layers_to_learn is None or number < learning.max_layers_to_learn:
            instruction = layer.instruction(prepared.device.num_qubits)
            with prepared.source.progress.stage(numbered("learning layer", number, number_learned)):
                errors.append(learned(prepared, instruction, learning, options.seeds.learning.layer(number)).errors)
        else:
            errors.append(None)
    unknown = sum(error is None for error in errors)
    return LayerNoise(
        qubits=qubits,
        model=[(layer.box, error or _no_errors(layer)) for layer, error in zip(layers, errors, strict=True)],
        layers=[layer_error(layer, error) for layer, error in zip(layers, errors, strict=True)],
        overheads={
            layer.key: float(np.exp(2 * error.rates.sum()))
            for layer, error in zip(layers, errors, strict=True)
            if error is not None
        },
        learned=0 if known is not None else len(layers) - unknown,
        unknown=unknown,
    )


def mitigated(prepared: PreparedDevice, plan: Plan, noise: LayerNoise | None, index: int, count: int) -> Mitigated:
    """Run one pub as planned.

    Args:
        prepared: Where to.
        plan: Its circuit has no control flow.
        noise: Of the layers, if the methods need it.
        index: Of the pub.
        count: How many circuits of it have been counted as planned.
    """
    options, pub, methods, planned = prepared.options, plan.pub, plan.methods, plan.randomizations
    folds = methods.zne and not methods.pea
    not_folded = _not_folded(pub.circuit, index) if folds else []
    qubits = _qubits([pub], options.twirling.strategy) if noise is None else noise.qubits
    narrow = _narrowed_pub(pub, qubits)
    seeds = options.seeds.pub(index)
    folding = folding_by(seeds.folding.generator())
    with damage(f"pubs[{index}]: {methods.names()} cannot be used"), folding, annotations_of_boxes(), BUILT.kept():
        program, _ = prepare([narrow], _options(prepared, methods, planned, noise))
    factors = _folded(narrow.circuit, program, options.resilience.zne, index) if folds else []
    # Cancelling errors takes more randomizations than were asked for.
    drawn = replace(planned, number=program.items[0].shape[0]) if methods.pec else planned
    learning = options.resilience.measure_noise_learning
    special = {len(program.items) - 1: plan.calibration_shots(learning)} if methods.trex else {}
    asked = [asked_parities(program)] * (len(program.items) - methods.trex)
    stages = _stages(methods, options.resilience, [item.shape[0] for item in program.items])
    result = run_items.run(
        prepared, program, seeds, shots=special, qubits=qubits, asked=asked, stages=stages, planned=count
    )
    (task,) = load_tasks_from_result(result)
    if folds:
        task.noise_factors = factors
    calibration = _calibration(result) if task.trex else None
    with warnings.catch_warnings(), fits_with_errors(drawn.total):
        # Without noise all shots may agree, and there is nothing to weigh by; there may be too few different factors.
        warnings.filterwarnings("ignore", "No positive, finite standard errors", UserWarning)
        warnings.simplefilter("ignore", np.exceptions.RankWarning)
        raw = task.postprocess(result, measure_noise_data=None if calibration is None else _readout_errors(calibration))
    errors = errors_of(task, result, calibration, raw.metadata.get("selected_extrapolators"))
    data = _with_errors(rename_databin_fields(raw, task).data, errors)
    if isinstance(task, GateFolding | PEA):
        data = _with_residuals(data, task, raw.metadata["selected_extrapolators"])
    about = _about(task, raw.metadata, data)
    if noise is not None:
        layers = found_layers([narrow.circuit], options.twirling.strategy, qubits)
        about["layer_noise"] = _about_layers(task, layers, noise)
    if folds and factors != [*options.resilience.zne.noise_factors]:
        about["zne"]["noise_factors"] = factors
    if not_folded:
        about["zne"]["gates_not_folded"] = not_folded
    return Mitigated(data=data, randomizations=drawn, resilience=about)


def _stages(methods: Methods, resilience: Resilience, randomizations: Sequence[int]) -> list[str]:
    """Return what people call the items of a program: those for noise factors, if there are, and TREX's calibration."""
    numbers = randomizations[: len(randomizations) - methods.trex]
    names = [f"{number} randomizations" if number > 1 else "" for number in numbers]
    factors = resilience.zne.noise_factors
    if methods.zne and len(factors) == len(names):
        amplified = [f"noise factor {factor:g}" for factor in factors]
        names = [", ".join(filter(None, parts)) for parts in zip(amplified, names, strict=True)]
    return [*names, *["readout calibration"] * methods.trex]


def _not_folded(circuit: QuantumCircuit, index: int) -> list[str]:
    """Return the gates of several qubits whose errors folding leaves as they are, by name.

    Raises:
        UnsupportedOptionError: If there are no others: values would be extrapolated from equal circuits.
    """
    gates = [each.operation for each in circuit.data if isinstance(each.operation, Gate) and len(each.qubits) > 1]
    names = sorted({gate.name for gate in gates if not isinstance(gate, SUPPORTED_FOLDED_GATES)})
    if names and len(names) == len({gate.name for gate in gates}):
        raise UnsupportedOptionError(
            f"pubs[{index}]: resilience.zne_mitigation amplifies errors by folding ecr, cx, cy, cz and swap, "
            f"and the circuit has only {', '.join(names)}."
        )
    return names


def _folded(circuit: QuantumCircuit, program: QuantumProgram, zne: Zne, index: int) -> list[float]:
    """Return how many times as many gates that can be folded are in the program's circuits as in the pub's.

    These are the factors that errors are amplified by: of three gates, factor 2 folds one or two. They are those of the
    options if no gate can be folded, as all circuits are equal then, and so is the value at any factor.

    Raises:
        UnsupportedOptionError: If there are too few different ones for any extrapolator.
    """
    items = program.items[: len(zne.noise_factors)]
    once, *counts = (
        _last_counts.of(each, None, partial(_count_of_folded, each))
        for each in (circuit, *(item.circuit for item in items))
    )
    if not once:
        return [*zne.noise_factors]
    names = [zne.extrapolator] if isinstance(zne.extrapolator, str) else zne.extrapolator
    factors = [count / once for count in counts]
    if not any(can_fit(name, factors) for name in names):
        raise UnsupportedOptionError(
            f"pubs[{index}]: resilience.zne.noise_factors come out as {', '.join(f'{factor:g}' for factor in factors)},"
            f" as the circuit has {once} of the gates that are folded: too few different ones for {', '.join(names)}."
        )
    return factors


def _count_of_folded(circuit: QuantumCircuit) -> int:
    return sum(isinstance(part.operation, SUPPORTED_FOLDED_GATES) for part in opened(circuit).data)


# Circuits and templates are kept for later jobs of the same worker (`mitigation.built`).
_last_counts: Final = LastCircuits[int](MOST_KEPT)


def _calibration(result: QuantumProgramResult) -> Calibration:
    """Return what the calibration of TREX showed, which is the last item."""
    item = list(result)[-1]
    return Calibration.of(item["_meas"] ^ item["measurement_flips._meas"])


def _with_errors(data: DataBin, errors: Errors) -> DataBin:
    """Return the library's values with standard errors that cover, and what it calls errors under names of its own.

    What the library gives for `stds` is the error of the fit by its residuals, which a fit through as many points as it
    has parameters does not have, or the spread of randomizations without the calibration. With PEC, its identity is as
    uncertain as the signs.
    """
    shape = data.evs.shape
    first = errors.stds[:, 0].reshape(shape)
    if "evs_noise_factors" not in data:
        value = errors.values[:, 0].reshape(shape)
        twirl, ensemble = (found[:, 0].reshape(shape) for found in (errors.twirl_stds, errors.ensemble_stds))
        return DataBin(evs=value, stds=first, ensemble_standard_error=ensemble, twirl_stds=twirl, shape=shape)
    count = data.evs_noise_factors.shape[-1]
    fields = {
        "evs": data.evs,
        "stds": first,
        "evs_noise_factors": data.evs_noise_factors,
        "stds_noise_factors": errors.stds[:, -count:].reshape(*shape, count),
        "ensemble_stds_noise_factors": errors.ensemble_stds.reshape(*shape, count),
        "evs_extrapolated": data.evs_extrapolated,
        "stds_extrapolated": errors.stds[:, 1:-count].reshape(data.evs_extrapolated.shape),
        "fit_stds": data.stds,
        "fit_stds_extrapolated": data.stds_extrapolated,
    }
    return DataBin(**fields, shape=shape)


def _with_residuals(data: DataBin, task: GateFolding | PEA, selected: Sequence[Sequence[str]]) -> DataBin:
    """Return `data` with infinite errors for fits that have no residuals to tell them from."""
    unknown = [name for name in task.extrapolator if not has_residuals(name, task.noise_factors)]
    rows = np.array([not set(unknown).isdisjoint(names) for names in selected]).reshape(data.shape)
    columns = np.isin(task.extrapolator, unknown)[:, None]
    fields = {
        "fit_stds": np.where(rows, np.inf, data.fit_stds),
        "fit_stds_extrapolated": np.where(columns, np.inf, data.fit_stds_extrapolated),
    }
    return DataBin(**{**data, **fields}, shape=data.shape)


def _about(task: MitigationTask, metadata: Mapping[str, Any], data: DataBin) -> dict[str, Any]:
    """Return what the result says about the mitigation of a pub."""
    about: dict[str, Any] = {}
    if isinstance(task, GateFolding | PEA):
        chosen = [set(names) for names in metadata["selected_extrapolators"]]
        names = [name.pop() if len(name) == 1 else "multiple" for name in chosen]
        about["zne"] = {"extrapolator": np.array(names, dtype=object).reshape(data.evs.shape).tolist()}
    return about


def _about_layers(task: MitigationTask, layers: Sequence[Layer], noise: LayerNoise) -> dict[str, Any]:
    """Return what the result says about the layers of a pub, and about those of all pubs that had no errors."""
    mitigated_ones = [layer for layer in layers if layer.key in noise.overheads]
    return {
        "noise_overhead": getattr(task, "gamma", None),
        "total_mitigated_layers": sum(layer.occurrences for layer in mitigated_ones),
        "unique_mitigated_layers": len(mitigated_ones),
        "unique_mitigated_layers_noise_overhead": [noise.overheads[layer.key] for layer in mitigated_ones],
        "layers_learned": noise.learned,
        "layers_without_noise": noise.unknown,
    }


def _options(
    prepared: PreparedDevice, methods: Methods, randomizations: Randomizations, noise: LayerNoise | None
) -> EstimatorOptions:
    """Return the options of the client's own estimator that say the same."""
    resilience: Resilience = prepared.options.resilience
    zne, pec = resilience.zne, resilience.pec
    return EstimatorOptions(
        default_shots=randomizations.total,
        twirling={
            "enable_gates": methods.twirl_gates,
            "enable_measure": methods.twirl_measure,
            "num_randomizations": randomizations.number if methods.twirls else AUTO,
            "shots_per_randomization": randomizations.shots if methods.twirls else AUTO,
            "strategy": prepared.options.twirling.strategy,
        },
        resilience={
            "measure_mitigation": methods.trex,
            "measure_noise_learning": {"num_randomizations": resilience.measure_noise_learning.num_randomizations},
            "zne_mitigation": methods.zne,
            "zne": {name: getattr(zne, name) for name in type(zne).__slots__},
            "pec_mitigation": methods.pec,
            "pec": {"max_overhead": pec.max_overhead, "noise_gain": pec.noise_gain},
            "layer_noise_model": None if noise is None else list(noise.model),
        },
    )


def _readout_errors(calibration: Calibration) -> PauliLindbladMap:
    """Return readout errors with rates that scale expectation values by exactly the factors of the calibration.

    The client's own rates are the flip rates p, which scale by exp(2p).
    """
    rates = np.log(calibration.factors) / 2
    terms = [("X", [qubit], rate) for qubit, rate in enumerate(rates.tolist())]
    return PauliLindbladMap.from_sparse_list(terms, num_qubits=len(rates))


def _no_errors(layer: Layer) -> PauliLindbladMap:
    return PauliLindbladMap.from_sparse_list([("X", [0], 0.0)], num_qubits=len(layer.qubits))


def _qubits(pubs: Iterable[EstimatorPub], strategy: str) -> list[int]:
    """Return the qubits of the device that the pubs need, rising."""
    pubs = list(pubs)
    measured = set().union(*(support(pub.observables) for pub in pubs))
    return used_qubits([without_final_measurements(pub.circuit) for pub in pubs], strategy, measured) or [0]


def _narrowed_pub(pub: EstimatorPub, qubits: Sequence[int]) -> EstimatorPub:
    """Return `pub` on nothing but `qubits`, without precision."""
    circuit = BUILT.same(narrowed(without_final_measurements(pub.circuit), qubits))
    observables = [
        {"".join(term[-1 - qubit] for qubit in reversed(qubits)): value for term, value in observable.items()}
        for observable in pub.observables.ravel()
    ]
    array = ObservablesArray(observables, num_qubits=len(qubits)).reshape(pub.observables.shape)
    return EstimatorPub(circuit, array, values_of(circuit, pub.parameter_values))
