"""How a pub of the estimator is run: what is done against noise, with how many shots, and what stands against it.

A mean of N shots of an observable with eigenvalues of -1 and 1 has a standard error of 1 / sqrt(N) at most, so a
precision says how many shots to take (McClean et al., 2016, https://arxiv.org/abs/1509.04279):

    precision 0.02, level 0       2,500 shots of each basis
    the same at level 1           shared out to 32 randomizations, 79 shots of each
    control flow, no level set    level 0 in place of 1; the metadata says why
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray

from qiskit_runtime_server.errors import UnsupportedOptionError
from qiskit_runtime_server.programs.mitigation.final_measurements import without_final_measurements
from qiskit_runtime_server.programs.options.mitigation import AUTO, Methods, Randomizations, ReadoutLearning
from qiskit_runtime_server.programs.options.options import DEFAULT_PRECISION, Options, estimator_methods
from qiskit_runtime_server.programs.prepared import PreparedDevice


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a pub is run.

    Attributes:
        where: What to call the pub in messages.
        precision: That the shots are meant for.
        randomizations: Of every parameter set and basis.
        readouts: The readout matrices of all qubits that its observables act on; None if more than that goes wrong when
            they are measured.
        fallback: Why it is run at level 0 although the job is at the default level; empty if it is not.
    """

    where: str
    pub: EstimatorPub
    methods: Methods
    precision: float
    randomizations: Randomizations
    readouts: Mapping[int, NDArray[np.float64]] | None
    fallback: str

    @property
    def direct(self) -> bool:
        """Whether it goes to the engine as it is; else a samplex draws variants of it."""
        return not self.methods.rewrites and (not self.methods.twirls or self.readouts is not None)

    def calibration_shots(self, learning: ReadoutLearning) -> int:
        """Return the shots of each randomization that TREX learns readout errors from.

        If the options leave it open, they are those of the pub, and as many in all as the pub has at least: a few might
        show no misread bit, and would not show either how little they know.
        """
        if learning.shots_per_randomization != AUTO:
            return int(learning.shots_per_randomization)
        return max(self.randomizations.shots, math.ceil(self.randomizations.total / learning.num_randomizations))

    def metadata(self, drawn: Randomizations, resilience: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the result says about the pub.

        Args:
            drawn: PEC draws more randomizations than were planned.
            resilience: What mitigation says about itself.
        """
        fallback = {"resilience_level": self.methods.level, "level_reason": self.fallback} if self.fallback else {}
        return {
            "target_precision": self.precision,
            "shots": drawn.total,
            "circuit_metadata": self.pub.circuit.metadata or {},
            "resilience": {**fallback, **resilience},
            "num_randomizations": drawn.number,
        }


def plan_for(prepared: PreparedDevice, pub: EstimatorPub, where: str) -> Plan:
    """Return how to run `pub`: at the level that the options say or, if they say none, at level 1 where it can be.

    Raises:
        UnsupportedOptionError: If something that the options ask for cannot be done with this pub.
    """
    options = prepared.options
    methods, fallback = estimator_methods(options), ""
    readouts = prepared.readouts({qubit: qubit for qubit in support(pub.observables)})
    independent = readouts is not None
    obstacle = _obstacle(pub, methods, independent=independent)
    if obstacle and options.resilience.level is None:
        methods, fallback = estimator_methods(options, 0), obstacle
        obstacle = _obstacle(pub, methods, independent=independent)
    if obstacle:
        raise UnsupportedOptionError(f"{where}: {methods.names()} cannot be used for {obstacle}.")
    precision, shots = shots_for_precision(pub, options)
    randomizations = Randomizations(1, shots)
    if methods.twirls:
        randomizations = options.twirling.randomizations(shots, pub_says=pub.precision is not None, pec=methods.pec)
    if not pub.precision:
        precision = 1 / math.sqrt(randomizations.total) if options.twirling.product and methods.twirls else precision
    return Plan(
        where=where,
        pub=pub,
        methods=methods,
        precision=precision,
        randomizations=randomizations,
        readouts=readouts,
        fallback=fallback,
    )


def _obstacle(pub: EstimatorPub, methods: Methods, *, independent: bool) -> str:
    """Return what in the pub stands against `methods`, or ""; `independent` says that bits are misread one by one."""
    circuit = pub.circuit
    dynamic = circuit.has_control_flow_op() or "store" in circuit.count_ops()
    if dynamic and (methods.twirls or methods.rewrites or methods.decouple):
        return "circuits with control flow"
    if methods.trex and _has_projectors(pub):
        return "observables with projectors"
    if methods.rewrites or (methods.twirls and not independent):
        operations = without_final_measurements(circuit).count_ops()
        if "reset" in operations or "measure" in operations:
            return "circuits with reset or measurements in their middle"
    return ""


def _has_projectors(pub: EstimatorPub) -> bool:
    letters = {letter for observable in pub.observables.ravel() for term in observable for letter in term}
    return not letters <= set("IXYZ")


def support(observables: ObservablesArray) -> set[int]:
    """Return the qubits that any of the observables acts on."""
    return {
        len(term) - 1 - place
        for observable in observables.ravel()
        for term in observable
        for place, letter in enumerate(term)
        if letter != "I"
    }


def shots_for_precision(pub: EstimatorPub, options: Options) -> tuple[float, int]:
    """Return the precision and the shots for it, ``1 / precision^2`` rounded up (source: head of the module)."""
    if pub.precision is None and options.default_shots is not None:
        return 1 / math.sqrt(options.default_shots), options.default_shots
    precision = pub.precision or options.default_precision or DEFAULT_PRECISION
    shots = precision**-2
    # 1/sqrt(n) must give n again, whatever the rounding.
    whole = round(shots)
    return precision, max(1, whole if math.isclose(shots, whole, rel_tol=1e-9) else math.ceil(shots))
