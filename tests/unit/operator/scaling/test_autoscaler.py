"""What the autoscaler makes of answers, Deployments and pods: what it takes for known, and what it forgets."""

from datetime import UTC, datetime, timedelta
from typing import Any

from prometheus_client import CollectorRegistry

from kit.kubernetes.runtime_servers import AER, runtime_server
from qiskit_runtime_operator.metrics import ScalingMetrics
from qiskit_runtime_operator.resource.model import Manifest
from qiskit_runtime_operator.resource.names import Key
from qiskit_runtime_operator.scaling.autoscaler import Autoscaler
from qiskit_runtime_operator.scaling.decision import Decision, ScaleReason
from qiskit_runtime_operator.scaling.load import ExecutorLoad, Load

KEY = Key("research", "lab")
START = datetime(2026, 11, 29, tzinfo=UTC)
SERVER = runtime_server({"executors": [{**AER, "slots": 2, "autoscale": {"maxReplicas": 4, "idleSeconds": 60}}]})


def load(queued: int = 0, running: int = 0, **more: Any) -> Load:
    return Load(executors={"aer": ExecutorLoad(queued=queued, running=running, **more)})


def deployment(replicas: int, **status: Any) -> Manifest:
    return {"metadata": {"name": "lab-executor-aer"}, "spec": {"replicas": replicas}, "status": status}


class Autoscaled:
    """A RuntimeServer and its autoscaler.

    Attributes:
        deployments: What the Deployments are.
        pods: What the pods are.
    """

    def __init__(self, *deployments: Manifest) -> None:
        self.registry = CollectorRegistry()
        self.autoscaler = Autoscaler(metrics=ScalingMetrics(self.registry))
        self.deployments, self.pods = list(deployments), list[Manifest]()

    def look(self, load: Load | None, seconds: float = 0) -> bool:
        now = START + timedelta(seconds=seconds)
        return self.autoscaler.look(SERVER, self.deployments, self.pods, load, now)

    @property
    def decision(self) -> Decision:
        return self.autoscaler.decisions(KEY)["aer"]

    def sample(self, name: str, /, **labels: str) -> float | None:
        return self.registry.get_sample_value(name, labels)


def test_only_another_decision_is_news() -> None:
    scaled = Autoscaled(deployment(0))
    assert scaled.look(load())
    assert not scaled.look(load(), 1)
    assert scaled.look(load(queued=3), 2)
    assert scaled.decision.replicas == 2
    assert not scaled.look(load(queued=2, running=2), 3)


def test_a_restart_of_the_operator_changes_nothing() -> None:
    scaled = Autoscaled(deployment(3))
    scaled.look(None)
    assert (scaled.decision.replicas, scaled.decision.reason) == (3, ScaleReason.LOAD_UNKNOWN)
    scaled.look(load(), 1)
    assert scaled.decision.replicas == 3


def test_one_lost_answer_is_nothing_and_a_silent_api_freezes_the_number() -> None:
    scaled = Autoscaled(deployment(0))
    scaled.look(load(queued=1))
    assert not scaled.look(None, 10)
    assert scaled.look(None, 16)
    assert scaled.decision.reason is ScaleReason.LOAD_UNKNOWN


def test_jobs_that_an_admin_keeps_from_starting_start_no_pod() -> None:
    scaled = Autoscaled(deployment(0))
    scaled.look(load(queued=9, draining=True))
    assert scaled.decision.replicas == 0


def test_jobs_that_their_accounts_limit_keeps_waiting_start_no_pod() -> None:
    scaled = Autoscaled(deployment(0))
    scaled.look(load(queued=9, startable=3))
    assert scaled.decision.replicas == 2


def test_an_api_that_sees_no_pod_takes_none_away() -> None:
    scaled = Autoscaled(deployment(3))
    for second in range(0, 200, 10):
        scaled.look(load(running=3), second)
    assert scaled.decision.replicas == 3
    for second in range(200, 400, 10):
        scaled.look(load(running=3, pods={"10.0.0.1": 2, "10.0.0.2": 1, "10.0.0.3": 0}), second)
    assert scaled.decision.replicas == 2


def test_a_quota_that_is_used_up_is_told() -> None:
    message = "exceeded quota: gpus"
    failure = {"type": "ReplicaFailure", "status": "True", "message": message}
    scaled = Autoscaled(deployment(1, conditions=[failure]))
    scaled.look(load(queued=9))
    assert (scaled.decision.replicas, scaled.decision.reason) == (1, ScaleReason.PODS_PENDING)
    assert message in scaled.decision.message


def test_pods_of_others_that_find_no_node_do_not_count() -> None:
    scaled = Autoscaled(deployment(1))
    condition = {"type": "PodScheduled", "status": "False", "message": "no node"}
    scaled.pods = [
        {"metadata": {"labels": {"runtimeserver.dev/executor": "other"}}, "status": {"conditions": [condition]}},
        {
            "metadata": {"labels": {"runtimeserver.dev/executor": "aer"}, "deletionTimestamp": "now"},
            "status": {"conditions": [condition]},
        },
    ]
    scaled.look(load(queued=4))
    assert scaled.decision.replicas == 2


def test_cold_starts_are_measured_until_the_api_counts_a_slot() -> None:
    scaled = Autoscaled(deployment(0))
    scaled.look(load(slots=0))
    for second in (1, 2, 3):
        scaled.look(load(queued=1, slots=0), second)
    assert scaled.sample("qro_cold_start_seconds_count") == 0
    scaled.look(load(running=1, slots=2), 7)
    scaled.look(load(running=1, slots=2), 8)
    assert scaled.sample("qro_cold_start_seconds_count") == 1
    assert scaled.sample("qro_cold_start_seconds_sum") == 6
    assert scaled.sample("qro_executor_desired_replicas", namespace="research", name="lab", executor="aer") == 1


def test_phases_of_a_cold_start_are_counted_when_the_pod_has_told_them() -> None:
    scaled = Autoscaled(deployment(0))
    scaled.look(load(slots=0))
    scaled.look(load(queued=1, slots=0), 1)
    conditions = [{"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-11-29T00:00:02Z"}]
    running = {"name": "server", "state": {"running": {"startedAt": "2026-11-29T00:00:03Z"}}}
    scaled.pods = [
        {
            "metadata": {
                "labels": {"runtimeserver.dev/executor": "aer"},
                "creationTimestamp": "2026-11-29T00:00:01Z",
            },
            "status": {"conditions": conditions, "containerStatuses": [running]},
        }
    ]
    scaled.look(load(running=1, slots=2), 7)
    took = {
        phase: scaled.sample("qro_cold_start_phase_seconds_sum", phase=phase)
        for phase in ("decide", "schedule", "pull", "start")
    }
    assert took == {"decide": 0, "schedule": 1, "pull": 1, "start": 4}


def test_what_is_gone_is_forgotten_with_its_metrics() -> None:
    scaled = Autoscaled(deployment(0))
    scaled.look(load(queued=1, pods={"10.0.0.1": 1}))
    assert scaled.autoscaler.busy(KEY) == {"10.0.0.1": 1}
    scaled.autoscaler.forget(keep=[])
    assert scaled.autoscaler.decisions(KEY) == {}
    assert scaled.autoscaler.busy(KEY) == {}
    assert scaled.sample("qro_executor_desired_replicas", namespace="research", name="lab", executor="aer") is None
