"""An API server that errs, stalls and goes silent: a proxy before the real one does that on demand."""

import secrets
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from kit.faults.api_server_proxy import ApiServerProxy, Fault, Request, running_proxy
from kit.kubernetes.client import KubernetesClient, Manifest, eventually, unchanged
from kit.kubernetes.lab import MADE, Lab
from kit.kubernetes.operator_process import StartOperator, running_operator
from kit.kubernetes.operator_template import OperatorTemplate

CONFIG_CHECKSUM = "runtimeserver.dev/config-checksum"
PATIENT = {"QRO_RESYNC": "600", "QRO_WATCH_SILENCE": "3", "QRO_WATCH_RENEWAL": "9"}


@pytest.fixture(scope="module")
def shared_proxy(control_plane: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServerProxy]:
    with running_proxy(control_plane, tmp_path_factory.mktemp("proxy") / "proxy.kubeconfig") as shared:
        yield shared


@pytest.fixture(scope="module")
def operated(
    control_plane: Path,
    shared_proxy: ApiServerProxy,
    definition: Manifest,  # noqa: ARG001 - it has to be there
    template: OperatorTemplate,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Lab]:
    """A namespace whose operator goes through the proxy, for all tests after which it works on."""
    log = tmp_path_factory.mktemp("faults") / "operator.log"
    with closing(KubernetesClient(control_plane, namespace="faults")) as client:
        client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": client.namespace}})
        through = {"KUBECONFIG": str(shared_proxy.kubeconfig)}
        with running_operator(client, log, start=template.start, **PATIENT, **through) as operator:
            operator.wait_until_leading()
            yield Lab(kubernetes=client, operator=operator)


@pytest.fixture
def faults(shared_proxy: ApiServerProxy) -> Iterator[ApiServerProxy]:
    """The proxy before the operator of `lab`, without faults of other tests."""
    shared_proxy.happened.clear()
    yield shared_proxy
    shared_proxy.inject()


@pytest.fixture
def lab(operated: Lab, faults: ApiServerProxy) -> Iterator[Lab]:
    """A RuntimeServer whose operator goes through the proxy."""
    log = operated.operator.log
    before = log.stat().st_size
    lab = replace(operated, name=f"lab-{secrets.token_hex(3)}")
    yield lab
    faults.inject()
    if lab.kubernetes.find("RuntimeServer", lab.name):
        lab.kubernetes.delete("RuntimeServer", lab.name)
    print(log.read_text()[before:])


@pytest.fixture
def patient_lab(kubernetes: KubernetesClient, proxy: ApiServerProxy, start_operator: StartOperator) -> Lab:
    """The same with a proxy and an operator of its own."""
    operator = start_operator(KUBECONFIG=str(proxy.kubeconfig), **PATIENT)
    operator.wait_until_leading()
    return Lab(kubernetes=kubernetes, operator=operator)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(method="PATCH", path="/deployments/", times=2, status=500, reason="InternalError"),
        Fault(method="PATCH", path="/services/", times=2, status=503, reason="ServiceUnavailable"),
        Fault(method="PATCH", path="/configmaps/", times=2, status=409, reason="Conflict"),
        Fault(method="PATCH", path="/networkpolicies/", times=2, status=429, reason="TooManyRequests", retry_after=1),
        Fault(method="POST", path="/secrets", times=2, status=403, reason="Forbidden"),
        Fault(method="GET", path="/persistentvolumeclaims/", times=2, status=504, reason="Timeout"),
        Fault(method="PATCH", path="/status", times=2, status=500, reason="InternalError"),
        Fault(method="POST", path="/events", times=None, status=403, reason="Forbidden"),
    ],
    ids=lambda fault: f"{fault.status} on {fault.method} {fault.path.strip('/')}",
)
def test_a_request_that_fails_is_repeated_until_all_is_there(lab: Lab, faults: ApiServerProxy, fault: Fault) -> None:
    faults.inject(fault)
    lab.apply()
    lab.settled()
    eventually(lambda: lab.made() == MADE and lab.condition("Degraded").get("reason") != "WriteRefused")
    # Events are posted after the status.
    eventually(lambda: len(faults.happened) >= (fault.times or 1))


def test_a_server_that_asks_for_time_gets_it(lab: Lab, faults: ApiServerProxy) -> None:
    faults.inject(Fault(method="PATCH", path="/serviceaccounts/", status=429, reason="TooManyRequests", retry_after=4))
    began = time.monotonic()
    lab.apply()
    eventually(lambda: lab.parts("ServiceAccount"))
    assert time.monotonic() - began > 3.5


def test_what_is_refused_is_said_in_the_words_of_the_api_server(lab: Lab, faults: ApiServerProxy) -> None:
    faults.inject(Fault(method="PATCH", path="/services/", times=None, status=403, reason="over quota"))
    lab.apply()
    degraded = eventually(lambda: (c := lab.condition("Degraded")) and c["reason"] == "WriteRefused" and c)
    assert "injected: over quota" in degraded["message"]
    # What was not refused is there.
    assert set(lab.parts("Deployment")) == MADE["Deployment"]


def test_a_pass_that_fails_is_told_until_one_succeeds_and_others_go_on(lab: Lab, faults: ApiServerProxy) -> None:
    lab.apply()
    before = lab.settled()
    # No API server answers so, and no operator expects it.
    defect = Fault(method="GET", path=f"/secrets/{lab.name}-authority", times=None, status=200)
    mute = Fault(method="PATCH", path=f"/{lab.name}/status", times=None, status=403, reason="a policy")
    faults.inject(defect, mute)
    generation = lab.apply(tls={"executors": {}})["metadata"]["generation"]
    told = eventually(lambda: dict(lab.events()).get("ReconcileFailed"))
    assert told == "a pass of the operator ended with KeyError, of which its log says more"
    eventually(lambda: mute in faults.happened)
    faults.inject(defect)
    eventually(lambda: lab.condition("Degraded")["reason"] == "ReconcileFailed")
    for kind, status in (("Degraded", "True"), ("Ready", "False")):
        condition = lab.condition(kind)
        assert (condition["status"], condition["message"]) == (status, told)
        assert (condition["reason"], condition["observedGeneration"]) == ("ReconcileFailed", generation)
    status = lab.kubernetes.get("RuntimeServer", lab.name)["status"]
    assert status["observedGeneration"] == before["observedGeneration"] < generation
    assert lab.condition("Available")["observedGeneration"] == before["observedGeneration"]
    other = replace(lab, name=f"{lab.name}-other")
    other.apply()
    other.settled()
    assert other.made() == MADE
    lab.kubernetes.delete("RuntimeServer", other.name)
    eventually(lambda: faults.happened.count(defect) >= 4)
    assert [reason for reason, _ in lab.events()].count("ReconcileFailed") == 1
    faults.inject()
    # Sooner than its back-off would bring it back.
    lab.apply(tls={"executors": {}}, api={"settings": {"QRS_LOG_LEVEL": "debug"}})
    assert lab.settled()["observedGeneration"] > generation
    assert "ReconcileFailed" not in {lab.condition(kind)["reason"] for kind in ("Degraded", "Ready")}
    assert lab.find("Secret", "authority")


def test_work_for_all_goes_on_when_it_fails_for_one(lab: Lab, faults: ApiServerProxy) -> None:
    name = f"{lab.name}-api"
    ports = {"ports": [{"name": "x", "port": 1}]}
    lab.kubernetes.apply({"apiVersion": "v1", "kind": "Service", "metadata": {"name": name}, "spec": ports})
    lab.apply()
    eventually(lambda: lab.condition("Degraded").get("reason") == "NameTaken")
    # No API server answers so to who asks whether the name is free by now.
    defect = Fault(method="GET", path=f"/services/{name}", times=None, status=200)
    faults.inject(defect)
    eventually(lambda: f"{lab.name}: whether Service {name} is free" in lab.operator.log.read_text())
    faults.inject()
    lab.delete("Service", "api")
    eventually(lambda: lab.condition("Degraded")["reason"] != "NameTaken")


@pytest.mark.thorough
def test_what_the_api_server_does_not_do_for_long_is_told_in_its_words(lab: Lab, faults: ApiServerProxy) -> None:
    faults.inject(Fault(method="GET", path=f"/secrets/{lab.name}-keys", times=None, status=403, reason="a policy"))
    lab.apply()
    degraded = eventually(lambda: (c := lab.condition("Degraded")) and c["reason"] == "ReconcileFailed" and c)
    assert degraded["message"] == "a pass of the operator ended with RefusedError: injected: a policy"
    faults.inject()
    lab.apply(api={"settings": {"QRS_LOG_LEVEL": "debug"}})
    lab.settled()
    assert lab.condition("Degraded")["reason"] != "ReconcileFailed"


def test_an_update_that_is_refused_is_not_said_to_be_rolled_out(lab: Lab, faults: ApiServerProxy) -> None:
    lab.apply(suspend=True)
    eventually(lambda: lab.condition("Progressing").get("reason") == "RolledOut")
    faults.inject(Fault(method="PATCH", path=f"/deployments/{lab.name}-api", times=None, status=403, reason="a policy"))
    lab.apply(suspend=True, api={"priorityClassName": "high"})
    progressing = eventually(lambda: (c := lab.condition("Progressing"))["reason"] == "WriteRefused" and c)
    assert progressing["status"] == "False"
    assert "injected: a policy" in progressing["message"]


def test_pods_are_not_rolled_to_settings_that_could_not_be_written(lab: Lab, faults: ApiServerProxy) -> None:
    def checksum() -> str:
        return str(lab.part("Deployment", "api")["spec"]["template"]["metadata"]["annotations"][CONFIG_CHECKSUM])

    lab.apply()
    lab.settled()
    before = checksum()
    refused = Fault(method="PATCH", path=f"/configmaps/{lab.name}-api", times=None, status=403, reason="a policy")
    faults.inject(refused)
    debug = {"settings": {"QRS_LOG_LEVEL": "debug"}}
    lab.apply(api=debug)
    progressing = eventually(lambda: (c := lab.condition("Progressing"))["reason"] == "WriteRefused" and c)
    assert f"ConfigMap {lab.name}-api: injected: a policy" in progressing["message"]
    # They would read the settings as they were, and nothing would roll them when those are written.
    assert checksum() == before
    lab.apply(api=debug, suspend=True)
    eventually(lambda: lab.part("Deployment", "api")["spec"]["replicas"] == 0)
    lab.apply(api=debug)
    faults.inject()
    lab.apply(api={**debug, "priorityClassName": "high"})
    eventually(lambda: checksum() != before and lab.part("Deployment", "api")["spec"]["replicas"] == 1)
    assert lab.part("ConfigMap", "api")["data"]["QRS_LOG_LEVEL"] == "debug"


@pytest.mark.parametrize(
    "fault",
    [
        Fault(method="WATCH", path="/deployments", times=3, event=410),
        Fault(method="WATCH", path="/deployments", times=3, cut=True),
        Fault(method="WATCH", path="/deployments", times=2, status=429, reason="TooManyRequests", retry_after=1),
        Fault(method="WATCH", path="/deployments", times=2, status=500, reason="InternalError"),
    ],
    ids=["410 Gone", "cut", "429", "500"],
)
def test_a_watch_that_breaks_is_begun_again(lab: Lab, faults: ApiServerProxy, fault: Fault) -> None:
    lab.apply()
    lab.settled()
    faults.inject(fault)
    eventually(lambda: faults.happened)
    for _ in range(3):
        lab.delete("Deployment", "api")
        eventually(lambda: lab.find("Deployment", "api"), seconds=30)
    eventually(lambda: len(faults.happened) == fault.times)
    eventually(lambda: lab.operator.probe("healthz") == 200)


def test_a_watch_that_goes_silent_is_begun_again_and_what_it_missed_is_repaired(
    lab: Lab, faults: ApiServerProxy
) -> None:
    lab.apply()
    lab.settled()
    faults.inject(Fault(method="WATCH", path="/services", times=2, silent=True))
    eventually(lambda: len(faults.happened) >= 1)
    lab.delete("Service", "api")
    eventually(lambda: lab.find("Service", "api"), seconds=60)


def test_an_operator_whose_watch_cannot_be_had_is_not_live(patient_lab: Lab, proxy: ApiServerProxy) -> None:
    assert patient_lab.operator.probe("healthz") == 200
    proxy.inject(Fault(method="WATCH", path="/services", times=None, status=503, reason="ServiceUnavailable"))
    eventually(lambda: patient_lab.operator.probe("healthz") == 503)


def test_what_is_deleted_before_a_watch_begins_is_repaired(
    kubernetes: KubernetesClient, proxy: ApiServerProxy, start_operator: StartOperator
) -> None:
    first = start_operator()
    first.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=first)
    lab.apply()
    lab.settled()
    first.stop()
    before = lab.part("Service", "api")["metadata"]["uid"]
    lists = count(1)

    def interfere() -> None:
        # The operator lists everything and goes to work; meanwhile kopf lists, too, to begin its watches there.
        if next(lists) == 2:
            eventually(lambda: second.metric("qro_reconcile_seconds_count") > 0)
            lab.delete("Service", "api")

    proxy.inject(Fault(method="GET", path="/services$", times=2, call=interfere))
    second = start_operator(KUBECONFIG=str(proxy.kubeconfig), QRO_RESYNC="600")
    eventually(lambda: (service := lab.find("Service", "api")) and service["metadata"]["uid"] != before)


def test_a_lost_event_is_made_up_for_by_the_resync(
    kubernetes: KubernetesClient, proxy: ApiServerProxy, start_operator: StartOperator
) -> None:
    proxy.inject(Fault(method="WATCH", path="/services", times=None, silent=True))
    operator = start_operator(KUBECONFIG=str(proxy.kubeconfig), QRO_RESYNC="3")
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply()
    lab.settled()
    lab.delete("Service", "api")
    eventually(lambda: lab.find("Service", "api"), seconds=20)


def test_an_api_server_that_is_starting_is_waited_for(
    kubernetes: KubernetesClient, proxy: ApiServerProxy, start_operator: StartOperator
) -> None:
    busy: dict[str, Any] = {"times": 2, "status": 429, "reason": "storage is (re)initializing", "retry_after": 1}
    proxy.inject(
        Fault(method="GET", path="/runtimeservers$", **busy),
        Fault(method="GET", path="/monitoring.coreos.com/", **busy),
    )
    operator = start_operator(KUBECONFIG=str(proxy.kubeconfig))
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply()
    lab.settled()
    assert len(proxy.happened) == 4


def test_slow_lists_delay_the_start_but_nothing_else(
    kubernetes: KubernetesClient, proxy: ApiServerProxy, start_operator: StartOperator
) -> None:
    proxy.inject(Fault(method="GET", path="/(deployments|pods)$", times=6, delay=2))
    operator = start_operator(KUBECONFIG=str(proxy.kubeconfig))
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply()
    lab.settled()
    assert lab.made() == MADE
    assert operator.metric("qro_leader") == 1


def keys_of_pods(lab: Lab) -> list[str]:
    """Return what tells which keys the pods of each Deployment have."""
    parts = [lab.find("Deployment", name) for name in ("api", "executor-aer")]
    templates = [part["spec"]["template"] for part in parts if part]
    return [template["metadata"]["annotations"]["runtimeserver.dev/keys-checksum"] for template in templates]


def test_keys_that_somebody_deletes_are_made_again_by_the_resync(
    kubernetes: KubernetesClient, start_operator: StartOperator
) -> None:
    operator = start_operator(QRO_RESYNC="3")
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply()
    lab.settled()
    first = keys_of_pods(lab)
    assert len(set(first)) == 1
    lab.delete("Secret", "keys")
    eventually(lambda: lab.find("Secret", "keys"), seconds=20)
    # Both sides read them only when they start: both roll.
    second = eventually(lambda: not set(keys := keys_of_pods(lab)) & set(first) and keys)
    assert len(set(second)) == 1
    # As of a change of keys whose next ones are gone.
    damage = {"metadata": {"annotations": {"runtimeserver.dev/keys-announced": "true"}}, "data": {"executor-key": None}}
    lab.merge("Secret", "keys", damage)
    third = eventually(lambda: not set(keys := keys_of_pods(lab)) & {*first, *second} and keys, seconds=20)
    assert len(set(third)) == 1
    assert {"executor-key", "executor-key-also"} <= lab.part("Secret", "keys")["data"].keys()


def test_nothing_is_asked_of_the_api_server_while_nothing_happens(patient_lab: Lab, proxy: ApiServerProxy) -> None:
    patient_lab.apply(suspend=True)
    eventually(patient_lab.is_at_rest)

    def asked() -> list[Request]:
        return [request for request in proxy.requests if not request.watches and "/leases/" not in request.path]

    before = eventually(lambda: unchanged(asked, seconds=3))
    time.sleep(5)
    assert asked() == before
