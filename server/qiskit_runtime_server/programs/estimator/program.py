"""The program `estimator`: expectation values from shots in as few measurement bases as needed.

For each parameter set, the terms of the observables that are asked for it are grouped into bases of qubit-wise
commuting terms. A basis is measured once; its shots give the mean of every observable's part in it, and that part's
variance, correlations of its terms included. Measurements that the circuit itself ends in are left out
(`final_measurements`). Mitigation of readout errors (TREX, level 1) is done here as well: it only twirls measurements,
and scales terms. `mitigation` does all that changes circuits beyond that.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives import DataBin, PrimitiveResult, PubResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub

from qiskit_runtime_server.errors import InvalidInputError, TooManyShotsError
from qiskit_runtime_server.programs.device import isa
from qiskit_runtime_server.programs.device.boxes import opened
from qiskit_runtime_server.programs.device.device import Device
from qiskit_runtime_server.programs.device.progress import numbered
from qiskit_runtime_server.programs.device.shots import ShotSource
from qiskit_runtime_server.programs.estimator.bases import Basis, distinct_observables, measured_in, parities_of
from qiskit_runtime_server.programs.estimator.statistics import Calibration, Outcomes, add_outcomes, collected, grouped
from qiskit_runtime_server.programs.mitigation.decoupling import decoupled
from qiskit_runtime_server.programs.mitigation.final_measurements import without_final_measurements
from qiskit_runtime_server.programs.mitigation.measurement_twirling import flip_rates, trex_factors
from qiskit_runtime_server.programs.mitigation.plan import Plan, plan_for, shots_for_precision
from qiskit_runtime_server.programs.mitigation.rewritten import LayerNoise, layer_noise, mitigated
from qiskit_runtime_server.programs.options.options import Options, estimator_methods
from qiskit_runtime_server.programs.prepared import PreparedDevice
from qiskit_runtime_server.simulation.contract import BitTensor
from qiskit_runtime_server.simulation.pauli_propagation.parities import TooManyParitiesError
from qiskit_runtime_server.simulation.seeds import SeedPath

MAX_SHOTS: Final = 1_000_000
"""For one basis, where the device allows fewer: the shots of a basis need not be taken in one run."""


def execute(
    source: ShotSource, pubs: Sequence[EstimatorPub], options: Options, backend_name: str
) -> PrimitiveResult[PubResult]:
    """Run `pubs` with shots from `source`; other arguments and errors as in `BaseExecutor.execute_estimator`."""
    prepared = PreparedDevice.of(source, options, backend_name)
    pubs = [EstimatorPub.coerce(pub) for pub in pubs]
    for index, pub in enumerate(pubs):
        _check(pub, prepared.device, prepared.options, f"pubs[{index}]")
    pubs = [EstimatorPub(opened(pub.circuit), pub.observables, pub.parameter_values, pub.precision) for pub in pubs]
    plans = [plan_for(prepared, pub, f"pubs[{index}]") for index, pub in enumerate(pubs)]
    if prepared.options.twirling.product is not None:
        for index, plan in enumerate(plans):
            most = max(MAX_SHOTS, prepared.device.max_shots)
            isa.check_shots(plan.randomizations.total, most, prepared.device, f"pubs[{index}]")
    counts = [_num_circuits(plan, prepared.options) for plan in plans]
    source.progress.plan(sum(counts))
    layered = [plan.pub for plan in plans if plan.methods.needs_layers]
    noise = layer_noise(prepared, layered) if layered else None
    results = []
    for index, plan in enumerate(plans):
        with source.progress.stage(numbered("pub", index, len(plans))):
            results.append(_run(prepared, plan, noise, index, counts[index]))
    metadata = _job_metadata(prepared.options)
    if noise is not None:
        metadata["resilience"]["layer_noise_model"] = list(noise.layers)
    return PrimitiveResult(results, metadata)


def _run(prepared: PreparedDevice, plan: Plan, noise: LayerNoise | None, index: int, count: int) -> PubResult:
    if plan.direct:
        data = _estimate_pub(prepared, plan, index)
        return PubResult(data, plan.metadata(plan.randomizations, {}) | {"simulation": prepared.simulated()})
    outcome = mitigated(prepared, plan, noise, index, count)
    metadata = plan.metadata(outcome.randomizations, outcome.resilience)
    return PubResult(outcome.data, metadata | {"simulation": prepared.simulated()})


def _num_circuits(plan: Plan, options: Options) -> int:
    """Return about how many circuits a pub is: exactly as many if it is direct, else before its variants are drawn."""
    configurations = num_configurations(plan.pub)
    if plan.direct:
        return configurations
    factors = len(options.resilience.zne.noise_factors) if plan.methods.zne else 1
    return configurations * plan.randomizations.number * factors


def num_configurations(pub: EstimatorPub, *, apart: bool = False) -> int:
    """Return how many pairs of a parameter set and a measurement basis the pub takes shots for; `apart` as there."""
    return sum(len(group.rows) * len(group.parts) for group in grouped(*distinct_observables(pub), apart=apart))


def _job_metadata(options: Options) -> dict[str, Any]:
    methods = estimator_methods(options)
    twirling: dict[str, Any] = {"enable_gates": methods.twirl_gates, "enable_measure": methods.twirl_measure}
    if methods.twirls:
        twirling = asdict(options.twirling) | twirling
    resilience: dict[str, Any] = {
        "measure_mitigation": methods.trex,
        "zne_mitigation": methods.zne,
        "pec_mitigation": methods.pec,
    }
    chosen = options.resilience
    if methods.trex:
        resilience["measure_noise_learning"] = asdict(chosen.measure_noise_learning)
    if methods.zne:
        resilience["zne"] = asdict(chosen.zne)
    if methods.pec:
        resilience["pec"] = asdict(chosen.pec)
    return {
        "dynamical_decoupling": asdict(options.decoupling) if methods.decouple else {"enable": False},
        "twirling": twirling,
        "resilience": resilience,
        "resilience_level": methods.level,
        "version": 2,
        **options.noise_metadata,
    }


def _check(pub: EstimatorPub, device: Device, options: Options, where: str) -> None:
    if pub.precision is not None and not (math.isfinite(pub.precision) and pub.precision > 0):
        raise InvalidInputError(f"{where}: precision must be greater than 0, not {pub.precision}.")
    if (pub.precision or options.default_precision or 1) < 1e-9:  # noqa: PLR2004 - its square must not overflow
        raise TooManyShotsError(f"{where}: a precision below 1e-9 cannot be reached with shots.")
    precision, shots = shots_for_precision(pub, options)
    most = max(MAX_SHOTS, device.max_shots)
    if shots > most:
        raise TooManyShotsError(
            f"{where}: precision {precision} takes {shots} shots; {device.name} allows at most {most}, that is"
            f" precision {1 / math.sqrt(most):.2g}."
        )
    isa.check_circuit(pub.circuit, device, options, where)
    isa.check_rzz_values(pub.circuit, pub.parameter_values, device, where)


def _estimate_pub(prepared: PreparedDevice, plan: Plan, index: int) -> DataBin:
    """Return a pub's values; where its terms cannot be drawn together, with fewer of them in each basis."""
    try:
        return _estimated(prepared, plan, index, apart=False)
    except TooManyParitiesError:
        prepared.plans.clear()
        prepared.source.progress.plan(num_configurations(plan.pub, apart=True))
        return _estimated(prepared, plan, index, apart=True)


def _estimated(prepared: PreparedDevice, plan: Plan, index: int, *, apart: bool) -> DataBin:
    pub = plan.pub
    observables, elements = distinct_observables(pub)
    groups = grouped(observables, elements, apart=apart)
    values = pub.parameter_values.ravel().as_array(pub.circuit.parameters)
    bases = dict.fromkeys(basis for group in groups for basis in group.parts)
    seeds = prepared.options.seeds.pub(index)
    calibration = _calibrated(prepared, plan, seeds) if plan.methods.trex else Calibration()
    for number, basis in enumerate(bases):
        users = [group for group in groups if basis in group.parts]
        rows = np.unique(np.concatenate([group.rows for group in users]))
        asked = parities_of(term for group in users for terms in group.parts[basis].values() for term, _ in terms)
        with prepared.source.progress.stage(numbered("basis", number, len(bases))):
            for part, bits in _shots_in(prepared, plan, basis, values[rows], seeds.basis(number), asked):
                outcomes = Outcomes.of(bits.reshape(-1, plan.randomizations.shots, bits.shape[-1]))
                for group in users:
                    add_outcomes(
                        group,
                        basis,
                        rows[part],
                        outcomes,
                        randomizations=plan.randomizations.number,
                        factors=calibration.factors,
                    )
    evs, variances, spreads, calibrated = collected(groups, elements, len(observables), calibration)
    fields = {"evs": evs, "stds": np.sqrt(spreads + calibrated), "ensemble_standard_error": np.sqrt(variances)}
    if plan.methods.twirls:
        fields["twirl_stds"] = np.sqrt(spreads)
    return DataBin(shape=pub.shape, **{name: field.reshape(pub.shape) for name, field in fields.items()})


def _shots_in(  # noqa: PLR0913, PLR0917 - what is measured, and how
    prepared: PreparedDevice,
    plan: Plan,
    basis: Basis,
    values: NDArray[np.float64],
    seeds: SeedPath,
    asked: Sequence[tuple[int, ...]],
) -> Iterator[tuple[slice, BitTensor]]:
    """Yield the bits of the basis' qubits, all shots of a randomization side by side; `asked` has parities' qubits."""
    circuit, columns = measured_in(without_final_measurements(plan.pub.circuit), basis, prepared.device)
    if plan.methods.decouple:
        circuit = decoupled(circuit, prepared.device, prepared.options.decoupling, plan.where)
    clbits = dict(zip(basis.qubits(), columns, strict=True))
    parities = [[tuple(clbits[qubit] for qubit in qubits) for qubits in asked]] * len(values)
    parts = (
        prepared.sample_twirled(
            circuit,
            values,
            plan.randomizations,
            prepared.readouts(clbits) or {},
            seeds,
            parities,
        )
        if plan.methods.twirls
        else prepared.sample(circuit, values, plan.randomizations.total, seeds, parities)
    )
    for rows, bits in parts:
        yield rows, bits[..., columns]


def _calibrated(prepared: PreparedDevice, plan: Plan, seeds: SeedPath) -> Calibration:
    """Measure by how much readout errors shrink the expectation value of each qubit, and return what undoes it.

    A factor ``f = 1 / (1 - 2p)`` changes by ``2f`` of itself for each unit of the measured flip rate ``p``.
    """
    readouts = plan.readouts or {}
    learning = prepared.options.resilience.measure_noise_learning
    shots = plan.calibration_shots(learning)
    (seed,) = seeds.calibration.rows(slice(0, 1)).tolist()
    rates, variances = flip_rates(readouts, list(readouts), learning.num_randomizations, shots, seed)
    factors = trex_factors(rates, learning.num_randomizations * shots)
    return Calibration(
        factors=dict(zip(readouts, factors.tolist(), strict=True)),
        variances=dict(zip(readouts, (4 * factors**2 * variances).tolist(), strict=True)),
    )
