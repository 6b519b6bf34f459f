"""Tests of a library that uses Qiskit Runtime: how it deals with queues, failures and a service that is away.

First: pip install ".[pytest]", in a checkout of the server
Then:  pytest examples/test_a_library.py
"""

from collections.abc import Mapping

import pytest
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import IBMBackend, RuntimeJobV2
from qiskit_ibm_runtime.exceptions import RuntimeJobFailureError
from qiskit_ibm_runtime.executor_sampler import Sampler


def submit(backend: IBMBackend) -> RuntimeJobV2:
    """Stand in for the library: submit a circuit that flips one qubit."""
    circuit = QuantumCircuit(1, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    return Sampler(mode=backend).run([circuit], shots=200)


def counts_or_none(backend: IBMBackend) -> Mapping[str, int] | None:
    """Stand in for the library: return counts, or None if the job failed."""
    try:
        counts: Mapping[str, int] = submit(backend).result()[0].data.c.get_counts()
    except RuntimeJobFailureError:
        return None
    return counts


def test_counts(runtime_backend: IBMBackend) -> None:
    counts = counts_or_none(runtime_backend)
    assert counts is not None
    assert counts["1"] > 150


@pytest.mark.runtime_faults("fail=8053")
def test_a_failed_job(runtime_backend: IBMBackend) -> None:
    assert counts_or_none(runtime_backend) is None


@pytest.mark.runtime_faults("queue=60")
def test_a_job_that_waits_can_be_cancelled(runtime_backend: IBMBackend) -> None:
    job = submit(runtime_backend)
    assert str(job.status()) == "QUEUED"
    job.cancel()
    assert str(job.status()) == "CANCELLED"


@pytest.mark.runtime_faults("status=503", "times=2")
def test_a_service_that_is_away_for_a_moment(runtime_backend: IBMBackend) -> None:
    assert counts_or_none(runtime_backend) is not None


@pytest.mark.runtime_faults("fail=9999", "fail_rate=0.5")
def test_of_these_jobs_the_same_ones_fail_each_time(runtime_backend: IBMBackend) -> None:
    failed = [counts_or_none(runtime_backend) is None for _ in range(8)]
    assert 0 < sum(failed) < 8
