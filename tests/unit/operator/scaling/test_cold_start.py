"""What a cold start is made of, as the first pod tells."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kit.kubernetes.runtime_servers import AER, runtime_server
from qiskit_runtime_operator.resource.model import Manifest
from qiskit_runtime_operator.resource.names import EXECUTOR_LABEL
from qiskit_runtime_operator.scaling.cold_start import PHASES, phases_of

START = datetime(2026, 11, 29, 12, tzinfo=UTC)
(EXECUTOR,) = runtime_server({"executors": [{**AER, "autoscale": {"maxReplicas": 2}}]}).spec.executors


def at(seconds: float) -> str:
    """Return a time as Kubernetes writes it, in whole seconds."""
    return (START + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def pod(made: float, scheduled: float, ran: float | None, *, executor: str = "aer") -> Manifest:
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(scheduled)}]
    proxy: dict[str, Any] = {"name": "proxy", "state": {"running": {"startedAt": at(made)}}}
    state = {"waiting": {}} if ran is None else {"running": {"startedAt": at(ran)}}
    server: dict[str, Any] = {"name": "server", "state": state}
    return {
        "metadata": {"labels": {EXECUTOR_LABEL: executor}, "creationTimestamp": at(made)},
        "status": {"conditions": conditions, "containerStatuses": [proxy, server]},
    }


def seconds(*pods: Manifest, woken: float = 0, counted: float = 20) -> list[float]:
    moments = (START + timedelta(seconds=moment) for moment in (woken, counted))
    phases = phases_of(EXECUTOR, pods, **dict(zip(("woken", "counted"), moments, strict=True)))
    assert list(phases) in ([], list(PHASES))
    return [took.total_seconds() for took in phases.values()]


def test_each_phase_is_what_the_pod_says() -> None:
    assert seconds(pod(1, 3, 10)) == [1, 2, 7, 10]


def test_they_add_up_to_the_whole() -> None:
    assert sum(seconds(pod(1, 3, 10), woken=0.4, counted=16.5)) == pytest.approx(16.1)


def test_times_in_whole_seconds_make_no_phase_negative() -> None:
    # Made in the second in which it was decided, seen to run in the one in which it was counted.
    assert seconds(pod(2, 2, 5), woken=2.7, counted=5.2) == [0, 0, 3, pytest.approx(0.2)]


def test_of_several_the_first_that_runs_counts() -> None:
    assert seconds(pod(1, 1, 9), pod(1, 2, 3), pod(1, 1, None)) == [1, 1, 1, 17]


def test_pods_of_before_of_others_and_those_that_do_not_run_say_nothing() -> None:
    before, other, waiting = pod(-9, -8, -7), pod(1, 2, 3, executor="other"), pod(1, 2, None)
    assert seconds(before, other, waiting) == []


def test_a_pod_of_which_little_is_known_says_nothing() -> None:
    assert seconds({"metadata": {"labels": {EXECUTOR_LABEL: "aer"}}}) == []
    bare = {"metadata": {"labels": {EXECUTOR_LABEL: "aer"}, "creationTimestamp": at(1)}, "status": {"phase": "Pending"}}
    assert seconds(bare) == []
