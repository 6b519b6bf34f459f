"""Random observables of random circuits, estimated on the executors, beside what they are exactly."""

import math
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.circuit.library import RZGate, SXGate
from qiskit.primitives.containers.estimator_pub import EstimatorPub

from kit.quantum.case_runs import executor
from kit.quantum.exact_reference import measured_values
from kit.quantum.random_circuits import RandomCase, random_case
from qiskit_runtime_server.errors import InternalError, JobError

SHOTS = 4096
"""Of each basis."""

# What the server turns X and Y into Z with where there are rz and sx; all devices of the cases have both.
_ROTATIONS = {"X": (RZGate(math.pi / 2), SXGate()), "Y": (SXGate(),)}
_LETTERS = {"X": "X+-", "Y": "Yrl", "Z": "ZZ01"}


@dataclass(frozen=True, kw_only=True)
class Estimates:
    """What an executor says of one observable, again and again.

    Attributes:
        values: Of independent repetitions, dtype float64; `errors` are the reported standard errors of them.
        exact: What they should be on average.
        exact_error: The standard error that they should have; None if the terms need more than one basis.
        refused: The message of the error that the executor refuses the case with; None if it runs.
    """

    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    exact: float
    exact_error: float | None
    refused: str | None = None

    @property
    def pulls(self) -> NDArray[np.float64]:
        """Return by how many reported standard errors each repetition is off."""
        return (self.values - self.exact) / self.errors


def estimated(seed: int, name: str, repetitions: int) -> Estimates:
    """Return what an executor says of the random observable of a seed; for a `CaseProcess`."""
    case, terms, exact, error = _drawn(seed)
    try:
        values, errors = _run(case, terms, name, repetitions)
    except InternalError:
        raise
    except JobError as refusal:
        message = f"{type(refusal).__name__}: {refusal}"
        return Estimates(values=np.empty(0), errors=np.empty(0), exact=exact, exact_error=error, refused=message)
    return Estimates(values=values, errors=errors, exact=exact, exact_error=error)


def described(seed: int) -> str:
    """Return all that is needed to look into a seed."""
    case, terms, exact, error = _drawn(seed)
    return f"observable {terms}, exactly {exact} with an error of {error}\n{case.described()}"


@lru_cache(maxsize=1)
def _drawn(seed: int) -> tuple[RandomCase, dict[str, float], float, float | None]:
    case = random_case(seed, measured=False)
    case = replace(case, circuit=_repeatable(case.circuit, case.qubits[0]))
    case = replace(case, values=np.random.default_rng([seed, 5]).uniform(0, 1.5, (1, case.circuit.num_parameters)))
    terms = _observable(np.random.default_rng([seed, 6]), case)
    exact = sum(_exact(case, {label: c})[0] for label, c in terms.items())
    try:
        _, variance = _exact(case, terms)
    except ValueError:
        return case, terms, exact, None
    return case, terms, exact, math.sqrt(variance / SHOTS)


def _exact(case: RandomCase, terms: Mapping[str, float]) -> tuple[float, float]:
    return measured_values(case.bound(0), terms, case.noise.errors, _ROTATIONS)


def _repeatable(circuit: QuantumCircuit, qubit: int) -> QuantumCircuit:
    """Return a circuit with a parameter at least: only rows with values of their own are estimated one by one."""
    if circuit.num_parameters:
        return circuit
    changed = circuit.copy_empty_like()
    changed.rz(Parameter("row"), qubit)
    for instruction in circuit.data:
        changed.append(instruction)
    return changed


def _observable(rng: np.random.Generator, case: RandomCase) -> dict[str, float]:
    """Return up to four terms: all in one basis, or each as it comes."""
    shared = {qubit: str(rng.choice(list("XYZ"))) for qubit in case.qubits}
    alike = rng.random() < 0.6
    terms: dict[str, float] = {}
    for _ in range(int(rng.integers(1, 5))):
        letters = ["I"] * case.circuit.num_qubits
        for qubit in case.qubits:
            if rng.random() < 0.6:
                basis = shared[qubit] if alike else str(rng.choice(list("XYZ")))
                letters[-1 - qubit] = str(rng.choice(list(_LETTERS[basis])))
        terms["".join(letters)] = float(rng.uniform(-2, 2))
    return terms


def _run(
    case: RandomCase, terms: Mapping[str, float], name: str, repetitions: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    options: dict[str, Any] = {"resilience_level": 0, "simulator": {"seed_simulator": case.seed}}
    if case.noise.model is not None:
        options["simulator"]["noise_model"] = case.noise.model
    names = tuple(parameter.name for parameter in case.circuit.parameters)
    rows = np.repeat(case.values, repetitions, axis=0)
    pub = EstimatorPub.coerce((case.circuit, dict(terms), {names: rows}, 1 / math.sqrt(SHOTS)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (result,) = executor(name).execute_estimator([pub], options, case.device)
    return np.asarray(result.data.evs), np.asarray(result.data.stds)
