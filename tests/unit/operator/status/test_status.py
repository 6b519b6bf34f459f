"""The status: what it says of a cluster that works, that does not yet, and that does not."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.kubernetes.played_messages import deployments
from kit.kubernetes.runtime_servers import (
    AER,
    GPU,
    contexts,
    render_context,
    runtime_server,
    runtime_servers,
)
from kit.kubernetes.runtime_servers import (
    body as body_of_server,
)
from qiskit_runtime_operator.errors import ClusterError, InvalidSpecError, StaleError
from qiskit_runtime_operator.render import RenderContext
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.scaling.decision import Decision, ScaleReason
from qiskit_runtime_operator.scaling.load import Load
from qiskit_runtime_operator.status.conditions import MAX_MESSAGE, ConditionType, Reason
from qiskit_runtime_operator.status.notes import transitions
from qiskit_runtime_operator.status.refusals import failed
from qiskit_runtime_operator.status.status import Observed, Refusal, fail, observe, refuse

CONTEXT = render_context()
NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LATER = NOW + timedelta(minutes=5)
UNSCHEDULABLE = "0/1 nodes are available: 1 Insufficient nvidia.com/gpu."


def pod(executor: str, status: Manifest) -> Manifest:
    labels = {"app.kubernetes.io/component": "executor", "runtimeserver.dev/executor": executor}
    return {"metadata": {"name": "pod", "labels": labels}, "status": status}


def unschedulable(executor: str) -> Manifest:
    condition = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": UNSCHEDULABLE}
    return pod(executor, {"phase": "Pending", "conditions": [condition]})


def with_container(executor: str, state: Manifest, last: Manifest | None = None) -> Manifest:
    container = {"name": "server", "state": state, "lastState": last or {}}
    return pod(executor, {"conditions": [{"type": "Ready", "status": "False"}], "containerStatuses": [container]})


def status_of(server: RuntimeServer, observed: Observed, previous: Manifest | None = None) -> Manifest:
    return observe(server, CONTEXT, observed, previous=previous or {}, now=NOW)


def condition(status: Manifest, name: ConditionType) -> tuple[str, str]:
    (found,) = [item for item in status["conditions"] if item["type"] == name]
    return found["status"], found["reason"]


def reasons(before: Manifest, after: Manifest) -> list[tuple[str, str]]:
    return [(note.type.value, note.reason.value) for note in transitions(before, after)]


@given(runtime_servers, contexts, st.none() | st.integers(0, 2))
def test_what_has_not_changed_is_not_written_again(
    server: RuntimeServer, context: RenderContext, ready: int | None
) -> None:
    observed = Observed(deployments=deployments(server, ready=ready))
    first = observe(server, context, observed, previous={}, now=NOW)
    assert observe(server, context, observed, previous=first, now=LATER) == first
    assert transitions(first, first) == ()


@given(runtime_servers)
def test_the_order_in_which_things_are_seen_does_not_matter(server: RuntimeServer) -> None:
    found = deployments(server, ready=0)
    pods = [unschedulable(executor.name) for executor in server.spec.executors]
    one = Observed(deployments=found, pods=pods)
    other = Observed(deployments=found[::-1], pods=pods[::-1])
    assert status_of(server, one) == status_of(server, other)


def test_a_server_with_all_its_pods_is_available_and_not_degraded() -> None:
    server = runtime_server({"executors": [{**AER, "replicas": 2}]})
    status = status_of(server, Observed(deployments=deployments(server)))
    assert condition(status, ConditionType.AVAILABLE) == ("True", Reason.READY)
    assert condition(status, ConditionType.PROGRESSING) == ("False", Reason.ROLLED_OUT)
    assert condition(status, ConditionType.DEGRADED) == ("False", Reason.AS_WANTED)
    assert status["executorsReady"] == "2/2"
    assert status["executors"] == [{"name": "aer", "ready": 2, "desired": 2}]
    assert status["api"]["selector"].count("app.kubernetes.io/") == 3
    assert status["observedGeneration"] == server.generation


def test_a_server_that_has_nothing_yet_is_progressing() -> None:
    status = status_of(runtime_server(), Observed(deployments=[]))
    assert condition(status, ConditionType.AVAILABLE) == ("False", Reason.API_NOT_READY)
    assert condition(status, ConditionType.PROGRESSING) == ("True", Reason.ROLLING_OUT)


def test_one_executor_that_is_short_degrades_and_repeats_the_scheduler() -> None:
    server = runtime_server({"executors": [dict(AER), dict(GPU)]})
    found = deployments(server)
    found[-1]["status"]["readyReplicas"] = 0
    status = status_of(server, Observed(deployments=found, pods=[unschedulable("custatevec")]))
    assert condition(status, ConditionType.AVAILABLE) == ("True", Reason.READY)
    assert condition(status, ConditionType.DEGRADED) == ("True", Reason.EXECUTOR_SHORT)
    assert status["executors"][1] == {"name": "custatevec", "ready": 0, "desired": 1, "message": UNSCHEDULABLE}
    assert UNSCHEDULABLE in status["conditions"][2]["message"]


def test_no_executor_at_all_makes_it_unavailable() -> None:
    server = runtime_server()
    found = deployments(server)
    found[1]["status"]["readyReplicas"] = 0
    status = status_of(server, Observed(deployments=found))
    assert condition(status, ConditionType.AVAILABLE) == ("False", Reason.NO_EXECUTOR_READY)


@pytest.mark.parametrize(
    ("state", "last", "words"),
    [
        (
            {"waiting": {"reason": "ErrImagePull", "message": "not found"}},
            None,
            "ErrImagePull: not found",
        ),
        (
            {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting failed container"}},
            {"terminated": {"exitCode": 1, "reason": "Error", "message": "starting\nerror: QRS_SLOTS: too small\n"}},
            "Error (exit code 1): error: QRS_SLOTS: too small",
        ),
        ({"running": {}}, {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}, "OOMKilled (exit code 137)"),
        ({"waiting": {"reason": "ContainerCreating"}}, None, "ContainerCreating"),
        # The last line is JSON, and deeper than any reader goes.
        ({"terminated": {"exitCode": 1, "message": "[" * 3000}}, None, f"Ended (exit code 1): {'[' * 1002}…"),
    ],
)
def test_a_pod_that_does_not_come_up_says_why(state: Manifest, last: Manifest | None, words: str) -> None:
    server = runtime_server()
    found = deployments(server, ready=0)
    pods = [with_container("aer", state, last)] * 2
    assert status_of(server, Observed(deployments=found, pods=pods))["executors"][0]["message"] == words


INITIALIZING = {"name": "server", "ready": False, "state": {"waiting": {"reason": "PodInitializing"}}}
FAILED = {"terminated": {"exitCode": 1, "reason": "Error", "message": "no route to the vault"}}
RUNNING: Manifest = {"running": {}}


@pytest.mark.parametrize(
    ("init", "beside", "words"),
    [
        (
            [
                {"name": "first", "ready": True, "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
                {"name": "secrets", "ready": False, "state": FAILED},
            ],
            [INITIALIZING],
            "PodInitializing; container secrets: Error (exit code 1): no route to the vault",
        ),
        (
            [{"name": "slow", "ready": False, "state": RUNNING}],
            [INITIALIZING],
            "PodInitializing; container slow: not ready",
        ),
        (
            [{"name": "later", "ready": False, "state": {"waiting": {"reason": "PodInitializing"}}}],
            [INITIALIZING],
            "PodInitializing",
        ),
        (
            [],
            [
                {"name": "server", "ready": True, "state": RUNNING, "lastState": FAILED},
                {"name": "mesh", "state": RUNNING},
            ],
            "container mesh: not ready",
        ),
    ],
)
def test_a_container_of_the_user_that_holds_a_pod_up_is_named(
    init: list[Manifest], beside: list[Manifest], words: str
) -> None:
    held = pod("aer", {"initContainerStatuses": init, "containerStatuses": beside})
    observed = Observed(deployments=deployments(runtime_server(), ready=0), pods=[held])
    assert status_of(runtime_server(), observed)["executors"][0]["message"] == words


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (
            {"phase": "Failed", "reason": "UnexpectedAdmissionError", "message": "Allocate failed: no healthy devices"},
            "UnexpectedAdmissionError: Allocate failed: no healthy devices",
        ),
        (
            {
                "conditions": [
                    {"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady", "message": "gate"}
                ]
            },
            "gate",
        ),
        # Anybody who may write conditions may leave out their messages.
        (
            {"conditions": [{"type": "Ready", "status": "False", "reason": "ReadinessGatesNotReady"}]},
            "ReadinessGatesNotReady",
        ),
    ],
)
def test_what_keeps_a_pod_as_a_whole_from_serving_is_said(status: Manifest, words: str) -> None:
    """The kubelet took it in no more, or somebody else has a say in whether it is ready."""
    observed = Observed(deployments=deployments(runtime_server(), ready=0), pods=[pod("aer", status)])
    assert status_of(runtime_server(), observed)["executors"][0]["message"] == words


def test_a_pod_that_waits_for_what_it_mounts_says_for_what() -> None:
    server = runtime_server(
        {"auth": {"tokensSecretRef": {"name": "tokens"}}, "backends": {"snapshots": [{"configMap": "may"}]}}
    )
    waiting = {
        "conditions": [{"type": "PodReadyToStartContainers", "status": "False"}],
        "containerStatuses": [{"name": "server", "state": {"waiting": {"reason": "ContainerCreating"}}}],
    }
    api = {"metadata": {"name": "pod", "labels": {"app.kubernetes.io/component": "api"}}, "status": waiting}
    status = status_of(server, Observed(deployments=deployments(server, ready=0), pods=[api, pod("aer", waiting)]))
    what = "PersistentVolumeClaim lab-data, Secret tokens, ConfigMap may"
    assert status["api"]["message"] == f"waits for its network or its volumes: {what}"
    assert status["executors"][0]["message"] == "waits for its network or its volumes: ConfigMap may"


def test_pods_that_may_not_be_made_say_why() -> None:
    server = runtime_server()
    found = deployments(server, ready=0)
    quota = {"type": "ReplicaFailure", "status": "True", "message": "exceeded quota: small"}
    found[1]["status"]["conditions"].append(quota)
    assert status_of(server, Observed(deployments=found))["executors"][0]["message"] == "exceeded quota: small"
    quota.pop("message")
    assert status_of(server, Observed(deployments=found))["executors"][0]["message"] == "ReplicaFailure"


def test_pods_that_are_ready_or_going_say_nothing() -> None:
    server = runtime_server({"executors": [{**AER, "replicas": 2}]})
    ready = pod("aer", {"conditions": [{"type": "Ready", "status": "True"}]})
    going = unschedulable("aer")
    going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    status = status_of(server, Observed(deployments=deployments(server, ready=1), pods=[ready, going]))
    assert "message" not in status["executors"][0]


def test_a_roll_out_that_kubernetes_gave_up_is_stalled() -> None:
    server = runtime_server()
    found = deployments(server, ready=0)
    found[1]["status"]["conditions"] = [
        {"type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded"}
    ]
    status = status_of(server, Observed(deployments=found))
    assert condition(status, ConditionType.PROGRESSING) == ("False", Reason.STALLED)


def test_suspended_is_neither_available_nor_degraded() -> None:
    server = runtime_server({"suspend": True})
    status = status_of(server, Observed(deployments=deployments(server)))
    assert condition(status, ConditionType.AVAILABLE) == ("False", Reason.SUSPENDED)
    assert condition(status, ConditionType.DEGRADED) == ("False", Reason.AS_WANTED)
    assert status["executorsReady"] == "0/0"


def test_what_was_refused_is_named_before_what_is_short() -> None:
    server = runtime_server()
    taken = Refusal(kind="Service", name="lab-api", reason=Reason.NAME_TAKEN, message="belongs to Deployment other")
    status = status_of(server, Observed(deployments=deployments(server, ready=0), refusals=[taken]))
    assert condition(status, ConditionType.DEGRADED) == ("True", Reason.NAME_TAKEN)
    assert status["conditions"][2]["message"].startswith("Service lab-api: belongs to Deployment other")


def test_a_route_without_the_gateway_api_degrades() -> None:
    server = runtime_server({"gateway": {"parentRefs": [{"name": "public"}]}, "auth": {"anonymous": True}})
    context = render_context(apis=frozenset())
    status = observe(server, context, Observed(deployments=deployments(server)), previous={}, now=NOW)
    assert condition(status, ConditionType.DEGRADED) == ("True", Reason.GATEWAY_API_MISSING)


CLAIMING = {"executors": [dict(AER), {"name": "gpu", "type": "own", "gpu": {"claims": {"templateName": "gpus"}}}]}


def test_claims_without_their_api_degrade_and_nothing_is_on_its_way() -> None:
    server = runtime_server(CLAIMING)
    context = render_context(apis=frozenset())
    there = [found for found in deployments(server) if found["metadata"]["name"] != "lab-executor-gpu"]
    status = observe(server, context, Observed(deployments=there), previous={}, now=NOW)
    assert condition(status, ConditionType.DEGRADED) == ("True", Reason.CLAIM_API_MISSING)
    assert condition(status, ConditionType.PROGRESSING) == ("False", Reason.CLAIM_API_MISSING)
    assert condition(status, ConditionType.AVAILABLE) == ("True", Reason.READY)


def waiting(*conditions: Manifest, claimed: bool = True) -> Manifest:
    """Return a pod that claims its GPU as the API server shows it."""
    found = pod("gpu", {"phase": "Pending", "conditions": list(conditions)})
    if claimed:
        found["status"]["resourceClaimStatuses"] = [{"name": "gpu", "resourceClaimName": "pod-gpu-x7k2p"}]
    return {**found, "spec": {"resourceClaims": [{"name": "gpu", "resourceClaimTemplateName": "gpus"}]}}


def said_of(kind: str, status: str, message: str = "") -> Manifest:
    return {"type": kind, "status": status, "reason": "Unschedulable", "message": message}


UNALLOCATED = "0/1 nodes are available: 1 cannot allocate all claims."


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (waiting(claimed=False), "waits for a ResourceClaim of ResourceClaimTemplate gpus"),
        (waiting(), ""),
        (
            waiting(said_of("PodScheduled", "False", UNALLOCATED)),
            f"{UNALLOCATED} (each pod claims 1 of ResourceClaimTemplate gpus)",
        ),
        (waiting(said_of("PodScheduled", "False", UNSCHEDULABLE)), UNSCHEDULABLE),
        (
            waiting(said_of("PodScheduled", "True"), said_of("PodReadyToStartContainers", "False")),
            "waits for its network, its volumes or its devices: 1 of ResourceClaimTemplate gpus",
        ),
    ],
)
def test_a_pod_without_its_devices_says_what_it_waits_for(found: Manifest, words: str) -> None:
    server = runtime_server(CLAIMING)
    there = deployments(server)
    there[-1]["status"]["readyReplicas"] = 0
    status = status_of(server, Observed(deployments=there, pods=[found]))
    assert status["executors"][1].get("message", "") == words
    assert condition(status, ConditionType.DEGRADED) == ("True", Reason.EXECUTOR_SHORT)


def test_a_scaled_executor_is_not_degraded_while_devices_are_prepared() -> None:
    gpu = {**CLAIMING["executors"][1], "autoscale": {"maxReplicas": 2, "minReplicas": 1}}
    server = runtime_server({"executors": [dict(AER), gpu]})
    there = deployments(server)
    there[-1]["status"]["readyReplicas"] = 0
    starting = waiting(said_of("PodScheduled", "True"), said_of("PodReadyToStartContainers", "False"))
    for found, degraded in ((starting, "False"), (waiting(said_of("PodScheduled", "False", UNALLOCATED)), "True")):
        status = status_of(server, Observed(deployments=there, pods=[found]))
        assert condition(status, ConditionType.DEGRADED)[0] == degraded


def test_the_load_is_shown_while_the_api_answers() -> None:
    server = runtime_server({"executors": [dict(AER), {"name": "second", "type": "aer"}]})
    load = Load.from_json('{"executors": {"aer": {"queued": 3, "running": 1, "slots": 2}}, "backends": 138}')
    status = status_of(server, Observed(deployments=deployments(server), load=load))
    assert status["backends"] == 138
    assert status["executors"][0] == {"name": "aer", "ready": 1, "desired": 1, "queued": 3, "running": 1}
    assert "queued" not in status["executors"][1]


def test_pods_that_the_api_finds_no_slot_in_serve_nobody() -> None:
    server = runtime_server()
    load = Load.from_json('{"executors": {"aer": {"queued": 3, "running": 0, "slots": 0}}}')
    for known, wanted in ((load, "True"), (load.after(load), "False")):
        status = status_of(server, Observed(deployments=deployments(server), load=known))
        assert condition(status, ConditionType.AVAILABLE)[0] == wanted
    assert condition(status, ConditionType.AVAILABLE)[1] == Reason.NO_SLOT


@pytest.mark.parametrize("answer", ["", "[]", '{"executors": {"aer": {"queued": "many"}}}', '{"error": "no"}'])
def test_an_answer_that_is_no_load_is_an_error(answer: str) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Load.from_json(answer)


def test_since_when_a_condition_holds_changes_only_with_it() -> None:
    server = runtime_server()
    first = status_of(server, Observed(deployments=deployments(server)))
    second = observe(server, CONTEXT, Observed(deployments=deployments(server, ready=0)), previous=first, now=LATER)
    times = {item["type"]: item["lastTransitionTime"] for item in second["conditions"]}
    assert times == {
        "Available": "2026-01-01T12:05:00Z",
        "Progressing": "2026-01-01T12:00:00Z",
        "Degraded": "2026-01-01T12:05:00Z",
        "Ready": "2026-01-01T12:05:00Z",
        "Reachable": "2026-01-01T12:00:00Z",
    }


def test_a_spec_that_makes_no_sense_leaves_what_is_available_available() -> None:
    server = runtime_server()
    before = status_of(server, Observed(deployments=deployments(server)))
    there = deployments(server)
    after = refuse("spec.api: no", 2, there, previous=before, now=LATER)
    assert condition(after, ConditionType.AVAILABLE) == ("True", Reason.INVALID_SPEC)
    assert condition(after, ConditionType.DEGRADED) == ("True", Reason.INVALID_SPEC)
    assert (after["observedGeneration"], after["executors"]) == (2, before["executors"])
    assert refuse("spec.api: no", 2, there, previous=after, now=LATER + timedelta(hours=1)) == after


def test_a_spec_that_makes_no_sense_is_not_available_when_its_pods_are_gone() -> None:
    server = runtime_server()
    before = status_of(server, Observed(deployments=deployments(server)))
    gone = [deployment for deployment in deployments(server) if deployment["metadata"]["name"] != "lab-api"]
    after = refuse("spec.api: no", 2, gone, previous=before, now=LATER)
    assert condition(after, ConditionType.AVAILABLE) == ("False", Reason.INVALID_SPEC)


def test_what_a_newer_crd_adds_is_said_and_is_no_fault() -> None:
    executor = {**AER, "priority": 3, "gpu": None}
    server = runtime_server({"executors": [executor], "database": {"sqlite": {"retention": "Archive"}}})
    status = status_of(server, Observed(deployments=deployments(server)))
    assert condition(status, ConditionType.DEGRADED) == ("False", Reason.FIELDS_IGNORED)
    assert "spec.database.sqlite.retention, spec.executors[0].priority" in status["conditions"][2]["message"]
    before = status_of(runtime_server(), Observed(deployments=deployments(server)))
    assert transitions(before, status) == transitions(status, before) == ()


def test_the_last_spec_that_made_sense_is_said_to_be_in_force() -> None:
    server = runtime_server()
    status = status_of(server, Observed(deployments=deployments(server), invalid="spec.api: no"))
    assert condition(status, ConditionType.AVAILABLE) == ("True", Reason.READY)
    assert condition(status, ConditionType.DEGRADED) == ("True", Reason.INVALID_SPEC)


def test_a_pass_that_failed_leaves_the_word_on_the_rest_to_the_last_whole_one() -> None:
    server = runtime_server()
    before = status_of(server, Observed(deployments=deployments(server)))
    after = fail("a defect", 2, previous=before, now=LATER)
    assert condition(after, ConditionType.DEGRADED) == ("True", Reason.RECONCILE_FAILED)
    assert condition(after, ConditionType.READY) == ("False", Reason.RECONCILE_FAILED)
    generations = [each["observedGeneration"] for each in after["conditions"]]
    assert ([each["type"] for each in after["conditions"]], generations) == (
        [each["type"] for each in before["conditions"]],
        [1, 1, 2, 2, 1],
    )
    assert {**after, "conditions": before["conditions"]} == before
    assert fail("a defect", 2, previous=after, now=LATER + timedelta(hours=1)) == after
    assert [each["type"] for each in fail("a defect", 2, previous={}, now=LATER)["conditions"]] == ["Degraded", "Ready"]


@pytest.mark.parametrize("error", [KeyError("hunter2"), InvalidSpecError("hunter2"), ClusterError("hunter2")])
def test_of_what_ended_a_pass_only_the_words_of_the_api_server_are_shown(error: Exception) -> None:
    assert failed(error) == f"a pass of the operator ended with {type(error).__name__}, of which its log says more"
    assert failed(StaleError("it has changed")).endswith("StaleError: it has changed")


@pytest.mark.parametrize(
    ("annotations", "made", "reason"),
    [
        ({}, {"status": {}}, Reason.INGRESS_CLASS_MISSING),
        ({"kubernetes.io/ingress.class": "gce"}, {"status": {}}, Reason.NO_ADDRESS),
        ({}, {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}}, Reason.ROUTED),
    ],
)
def test_an_ingress_whose_class_is_named_otherwise_or_not_needed_misses_none(
    annotations: dict[str, str], made: Manifest, reason: Reason
) -> None:
    server = runtime_server({"ingress": {"host": "lab.example.org", "annotations": annotations}})
    seen = Observed(deployments=deployments(server), ways_in=[made], ingress_classes={"nginx"})
    assert condition(status_of(server, seen), ConditionType.REACHABLE)[1] == reason


def test_long_words_are_cut() -> None:
    taken = Refusal(kind="Service", name="lab-api", reason=Reason.WRITE_REFUSED, message="x" * 5000)
    status = status_of(runtime_server(), Observed(deployments=[], refusals=[taken]))
    assert len(status["conditions"][2]["message"]) == MAX_MESSAGE


def test_pods_that_each_say_something_else_do_not_make_the_status_too_large_to_be_written() -> None:
    """etcd takes 1.5 MiB, and a thousand pods with a time or a name in their last line would be more."""
    failed = [
        with_container("aer", {"terminated": {"exitCode": 1, "message": f"{number} {'x' * 2000}"}})
        for number in range(1000)
    ]
    status = status_of(runtime_server(), Observed(deployments=deployments(runtime_server(), ready=0), pods=failed))
    assert len(status["executors"][0]["message"]) == MAX_MESSAGE


def test_a_normal_start_is_told_without_warnings() -> None:
    server = runtime_server()
    nothing: dict[str, Any] = {}
    starting = deployments(server, ready=0)
    for deployment in starting:
        deployment["status"]["conditions"] = [{"type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated"}]
    first = status_of(server, Observed(deployments=[]))
    second = status_of(server, Observed(deployments=starting), first)
    third = status_of(server, Observed(deployments=deployments(server)), second)
    assert reasons(nothing, first) == [("Normal", "RollingOut")]
    assert reasons(first, second) == []
    assert reasons(second, third) == [("Normal", "Ready"), ("Normal", "RolledOut")]


def test_a_pool_that_breaks_down_and_recovers_is_told_twice() -> None:
    server = runtime_server()
    well = status_of(server, Observed(deployments=deployments(server)))
    ill = status_of(server, Observed(deployments=deployments(server, ready=0)), well)
    worse = status_of(server, Observed(deployments=deployments(server, ready=0), pods=[unschedulable("aer")]), ill)
    assert reasons(well, ill) == [("Warning", "ApiNotReady"), ("Warning", "ApiShort")]
    assert reasons(ill, worse) == []
    assert reasons(worse, well) == [("Normal", "Ready"), ("Normal", "AsWanted")]


def test_ready_is_what_flux_and_argo_cd_wait_for() -> None:
    server = runtime_server()
    all_there = status_of(server, Observed(deployments=deployments(server)))
    assert condition(all_there, ConditionType.READY) == ("True", "Ready")
    short = status_of(server, Observed(deployments=deployments(server, ready=0)))
    assert condition(short, ConditionType.READY) == ("False", "ApiShort")
    nothing = status_of(server, Observed(deployments=()))
    assert condition(nothing, ConditionType.READY)[0] == "False"
    refused = Refusal(kind="Service", name="lab-api", reason=Reason.WRITE_REFUSED, message="quota")
    held_up = status_of(server, Observed(deployments=deployments(server), refusals=(refused,)))
    assert condition(held_up, ConditionType.READY) == ("False", "WriteRefused")
    suspended = runtime_server({"suspend": True})
    stopped = status_of(suspended, Observed(deployments=deployments(suspended)))
    assert condition(stopped, ConditionType.READY) == ("True", "Suspended")
    assert condition(refuse("no", 2, (), previous={}, now=NOW), ConditionType.READY) == ("False", "InvalidSpec")
    # What it sums up has told of it.
    assert ("Normal", "Ready") in reasons({}, all_there)
    assert len(reasons({}, all_there)) == 1


def test_who_pauses_the_operator_is_told_that_nothing_is_written() -> None:
    body = body_of_server()
    body["metadata"]["annotations"] = {"runtimeserver.dev/reconcile": "paused"}
    server = RuntimeServer.from_object(body)
    status = status_of(server, Observed(deployments=deployments(server)))
    assert condition(status, ConditionType.PROGRESSING) == ("False", "Paused")
    assert condition(status, ConditionType.AVAILABLE) == ("True", "Ready")
    assert condition(status, ConditionType.READY) == ("False", "Paused")
    short = status_of(server, Observed(deployments=deployments(server, ready=0)))
    assert condition(short, ConditionType.READY) == ("False", "Paused")
    body["metadata"]["annotations"] = {"runtimeserver.dev/reconcile": "off"}
    unknown = RuntimeServer.from_object(body)
    assert not unknown.paused
    status = status_of(unknown, Observed(deployments=deployments(unknown)))
    assert condition(status, ConditionType.DEGRADED) == ("False", "FieldsIgnored")
    assert "runtimeserver.dev/reconcile=off (only paused pauses it)" in status["conditions"][2]["message"]


QUEUED = "waits for Kueue to admit it to the queue research"


def gated(executor: str, *gates: str, queue: str | None = "research") -> Manifest:
    """Return a pod as the API server shows it while these gates hold it back."""
    message = "Scheduling is blocked due to non-empty scheduling gates"
    blocked = {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated", "message": message}
    found = pod(executor, {"phase": "Pending", "conditions": [blocked]})
    labels = {**found["metadata"]["labels"], **({"kueue.x-k8s.io/queue-name": queue} if queue else {})}
    spec = {"schedulingGates": [{"name": gate} for gate in gates]}
    return {**found, "metadata": {**found["metadata"], "labels": labels}, "spec": spec}


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (gated("aer", "kueue.x-k8s.io/admission"), QUEUED),
        (gated("aer", "kueue.x-k8s.io/admission", "kueue.x-k8s.io/topology"), QUEUED),
        (gated("aer", "kueue.x-k8s.io/admission", queue=None), "waits for Kueue"),
        (gated("aer", "example.org/licence"), "held back by the scheduling gate example.org/licence"),
        (
            gated("aer", "example.org/licence", "kueue.x-k8s.io/admission"),
            f"{QUEUED}, held back by the scheduling gate example.org/licence",
        ),
        (gated("aer"), "Scheduling is blocked due to non-empty scheduling gates"),
    ],
)
def test_a_pod_that_is_held_back_says_by_what(held: Manifest, words: str) -> None:
    server = runtime_server({"executors": [dict(AER), {"name": "own", "type": "own"}]})
    found = deployments(server)
    found[1]["status"]["readyReplicas"] = 0
    status = status_of(server, Observed(deployments=found, pods=[held]))
    assert status["executors"][0]["message"] == words
    assert condition(status, ConditionType.AVAILABLE) == ("True", Reason.READY)
    assert condition(status, ConditionType.DEGRADED) == ("True", Reason.SCHEDULING_GATED)
    assert condition(status, ConditionType.READY) == ("False", Reason.SCHEDULING_GATED)


def test_a_pool_of_which_one_pod_is_held_back_and_another_fails_is_short() -> None:
    server = runtime_server({"executors": [{**AER, "replicas": 2}]})
    found = deployments(server, ready=1)
    found[1]["status"]["readyReplicas"] = 0
    pods = [gated("aer", "kueue.x-k8s.io/admission"), unschedulable("aer")]
    status = status_of(server, Observed(deployments=found, pods=pods))
    assert condition(status, ConditionType.DEGRADED) == ("True", Reason.EXECUTOR_SHORT)
    assert status["executors"][0]["message"] == f"{UNSCHEDULABLE}; {QUEUED}"


SCALED = {"executors": [{**AER, "autoscale": {"maxReplicas": 4}}]}


def scaled_status(
    replicas: int,
    ready: int,
    reason: ScaleReason,
    pods: list[Manifest] | None = None,
    *,
    paused: bool = False,
    refusals: tuple[Refusal, ...] = (),
) -> Manifest:
    """Return the status while `replicas` pods of the executor were decided, and `ready` of them are ready."""
    server = replace(runtime_server(SCALED), paused=paused)
    context = render_context(decided={"lab-executor-aer": replicas})
    load = Load.from_json('{"executors": {"aer": {"queued": 3, "running": 2, "pods": {"10.0.0.1": 2, "10.0.0.2": 0}}}}')
    decision = Decision(replicas=replicas, reason=reason, message="because")
    found = deployments(server, ready=ready, context=context)
    scaling = {} if paused else {"aer": decision}
    observed = Observed(deployments=found, pods=pods or [], load=load, scaling=scaling, refusals=refusals)
    # The api is ready in any case.
    for deployment in found:
        if deployment["metadata"]["name"] == "lab-api":
            deployment["status"]["readyReplicas"] = 1
    return status_of(server, observed)


def test_an_executor_without_pods_that_waits_for_jobs_is_available() -> None:
    status = scaled_status(0, 0, ScaleReason.AT_ZERO)
    assert condition(status, ConditionType.AVAILABLE) == ("True", "ScaledToZero")
    assert condition(status, ConditionType.READY) == ("True", "ScaledToZero")
    assert status["executorsReady"] == "0/0"


def test_pods_that_are_started_for_jobs_are_no_problem() -> None:
    starting = with_container("aer", {"waiting": {"reason": "ContainerCreating"}})
    status = scaled_status(1, 0, ScaleReason.AS_NEEDED, [starting])
    assert condition(status, ConditionType.AVAILABLE) == ("True", "ScaledToZero")
    assert condition(status, ConditionType.DEGRADED) == ("False", "AsWanted")
    assert reasons(scaled_status(0, 0, ScaleReason.AT_ZERO), status) == []


def test_pods_that_a_container_of_the_user_keeps_from_starting_are_one() -> None:
    late = {"terminated": {"exitCode": 1, "message": "the vault is not ready"}}
    held = {"initContainerStatuses": [{"name": "secrets", "state": late}], "containerStatuses": [INITIALIZING]}
    status = scaled_status(1, 0, ScaleReason.AS_NEEDED, [pod("aer", held)])
    assert condition(status, ConditionType.AVAILABLE) == ("False", "NoExecutorReady")
    assert condition(status, ConditionType.DEGRADED) == ("True", "ExecutorShort")
    slow = {"containerStatuses": [{"name": "server", "state": RUNNING}, {"name": "mesh", "state": RUNNING}]}
    status = scaled_status(1, 0, ScaleReason.AS_NEEDED, [pod("aer", slow)])
    assert condition(status, ConditionType.AVAILABLE) == ("True", "ScaledToZero")


def test_pods_that_find_no_node_are_one() -> None:
    status = scaled_status(1, 0, ScaleReason.PODS_PENDING, [unschedulable("aer")])
    assert condition(status, ConditionType.AVAILABLE) == ("False", "NoExecutorReady")
    assert condition(status, ConditionType.DEGRADED) == ("True", "ExecutorShort")


def test_what_no_job_starts_is_not_available() -> None:
    refused = Refusal(kind="Deployment", name="lab-executor-aer", reason=Reason.WRITE_REFUSED, message="no")
    elsewhere = ScaleReason.SCALED_ELSEWHERE
    asleep = [
        scaled_status(0, 0, elsewhere),
        scaled_status(0, 0, ScaleReason.AT_ZERO, paused=True),
        scaled_status(0, 0, ScaleReason.AT_ZERO, refusals=(refused,)),
    ]
    assert {condition(status, ConditionType.AVAILABLE) for status in asleep} == {("False", "NoExecutorReady")}
    assert asleep[0]["conditions"][0]["message"] == "lab-executor-aer: 0 of 0 ready; because"


def test_who_waits_at_zero_for_an_api_that_says_nothing_is_told_so() -> None:
    status = scaled_status(0, 0, ScaleReason.LOAD_UNKNOWN)
    assert condition(status, ConditionType.AVAILABLE) == ("True", "ScaledToZero")
    assert "as soon as the api answers the operator" in status["conditions"][0]["message"]


@pytest.mark.parametrize(("said", "available"), [("other, aer", "True"), ("other", "False")])
def test_an_executor_that_another_autoscaler_has_at_zero_is_available_if_the_api_is_told(
    said: str, available: str
) -> None:
    server = runtime_server({"api": {"settings": {"QRS_ON_DEMAND": said}}})
    found = deployments(server, ready=1)
    found[1]["spec"]["replicas"] = found[1]["status"]["readyReplicas"] = 0
    status = status_of(server, Observed(deployments=found))
    assert condition(status, ConditionType.AVAILABLE)[0] == available


def test_the_status_says_how_many_pods_are_busy_and_why_there_are_as_many() -> None:
    (executor,) = scaled_status(2, 2, ScaleReason.AS_NEEDED)["executors"]
    counts = {"name": "aer", "ready": 2, "desired": 2, "queued": 3, "running": 2, "busy": 1}
    assert executor == {**counts, "reason": "AsNeeded", "scaling": "because"}
