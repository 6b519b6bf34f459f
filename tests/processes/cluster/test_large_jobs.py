"""Cancelling a job that fills its slot."""

import pytest

from kit.server.cluster_processes import Cluster
from kit.server.http_jobs import signed_in
from kit.server.large_jobs import cancelled, largest_that_fits, state_bytes


@pytest.mark.serial
def test_a_cancelled_job_of_28_qubits_gives_its_memory_back_at_once_and_the_next_one_runs(cluster: Cluster) -> None:
    qubits = largest_that_fits()
    executor = cluster.executor(f"--memory={state_bytes(qubits) * 5 // 4}", name="aer")
    with signed_in(cluster.api(executor.url, name="aer").url) as client:
        rounds = [cancelled(client, executor, qubits) for _ in range(2)]
    print(qubits, rounds)
    # Bounds for a busy machine; `make bench` has those of a quiet one.
    assert min(each.gone for each in rounds) < 2
    assert min(each.next_end for each in rounds) < 10
