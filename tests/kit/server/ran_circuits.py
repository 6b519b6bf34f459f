"""The circuits of finished sampler jobs beside their counts, as the server keeps them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import QiskitRuntimeService
from scipy.stats import chi2

# Two-sided, as of a normal distribution.
FIVE_SIGMA = 5.7e-7


@dataclass(frozen=True, slots=True, kw_only=True)
class RanCircuit:
    """An ISA circuit with one register, and how often each of its 2^n outcomes was found."""

    circuit: QuantumCircuit
    counts: NDArray[np.int64]

    @property
    def shots(self) -> int:
        return int(self.counts.sum())


def ran_circuits(service: QiskitRuntimeService, job_ids: Iterable[str]) -> list[RanCircuit]:
    """Return the circuits of sampler jobs without parameters, in the order of the jobs and of their pubs."""
    return [ran for job_id in job_ids for ran in _of_job(service, job_id)]


def distribution_p_value(ran: Sequence[RanCircuit], exact: Sequence[NDArray[np.float64]]) -> float:
    """Return the p-value of Pearson's test that all circuits together follow `exact`.

    Outcomes that are expected fewer than five times are counted as one.
    """
    statistic, degrees = 0.0, 0
    for one, probabilities in zip(ran, exact, strict=True):
        expected = probabilities * one.shots
        rare = expected < 5
        wanted = np.append(expected[~rare], expected[rare].sum())
        found = np.append(one.counts[~rare], one.counts[rare].sum())
        if wanted[-1] < 5:
            wanted, found = np.append(wanted[:-2], wanted[-2:].sum()), np.append(found[:-2], found[-2:].sum())
        statistic += float(((found - wanted) ** 2 / wanted).sum())
        degrees += len(wanted) - 1
    assert degrees > 0
    return float(chi2.sf(statistic, degrees))


def _of_job(service: QiskitRuntimeService, job_id: str) -> Iterable[RanCircuit]:
    job = service.job(job_id)
    for pub, result in zip(job.inputs["pubs"], job.result(), strict=True):
        circuit = pub[0]
        assert len(circuit.cregs) == 1, circuit.cregs
        counts = np.zeros(2**circuit.num_clbits, dtype=np.int64)
        for outcome, count in result.data[circuit.cregs[0].name].get_int_counts().items():
            counts[outcome] = count
        yield RanCircuit(circuit=circuit, counts=counts)
