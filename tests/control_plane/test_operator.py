"""What the operator makes of RuntimeServers, and keeps, on a real API server."""

import time
from dataclasses import replace

import pytest

from kit.kubernetes.client import KubernetesClient, eventually, unchanged
from kit.kubernetes.lab import AER, DRIFT, MADE, Lab, changed
from kit.kubernetes.operator_process import StartOperator


def test_a_runtime_server_gets_everything_it_needs(lab: Lab) -> None:
    lab.apply()
    lab.settled()
    assert lab.made() == MADE


def test_it_gets_neither_finalizers_nor_annotations(lab: Lab) -> None:
    lab.apply()
    lab.settled()
    metadata = lab.kubernetes.get("RuntimeServer", lab.name)["metadata"]
    assert "finalizers" not in metadata
    assert "annotations" not in metadata


def test_text_of_every_script_arrives_as_it_was_written(lab: Lab) -> None:
    """A patch that is applied is YAML to the API server, which reads some characters otherwise than JSON does."""
    text = "".join(map(chr, (*range(0x20, 0x100), 0x2028, 0x65E5, 0xFEFF, 0xFFFD, 0x1F600, 0x1D400))) + "\\ud83d\n"
    lab.kubernetes.create(lab.manifest(podTemplate={"annotations": {"note": text}}, api={"settings": {"QRS_X": text}}))
    lab.settled()
    template = lab.part("Deployment", "executor-aer")["spec"]["template"]
    assert template["metadata"]["annotations"]["note"] == text
    assert lab.part("ConfigMap", "api")["data"]["QRS_X"] == text


def test_its_data_are_taken_up_again_by_one_of_the_same_name(lab: Lab) -> None:
    lab.apply()
    lab.settled()
    claim = lab.part("PersistentVolumeClaim", "data")["metadata"]["uid"]
    lab.kubernetes.delete("RuntimeServer", lab.name)
    lab.apply()
    eventually(lambda: lab.settled()["conditions"][0]["reason"] != "NameTaken" and lab.made() == MADE, seconds=150)
    assert lab.part("PersistentVolumeClaim", "data")["metadata"]["uid"] == claim


def test_data_go_with_it_if_that_is_asked_for(lab: Lab) -> None:
    lab.apply(database={"sqlite": {"retention": "Delete"}})
    lab.settled()
    lab.kubernetes.delete("RuntimeServer", lab.name)
    eventually(lambda: not set(lab.parts("PersistentVolumeClaim")), seconds=150)


def test_a_removed_executor_is_pruned(lab: Lab) -> None:
    lab.apply(executors=[AER, {"name": "two", "type": "aer"}])
    lab.settled()
    assert set(lab.parts("Deployment")) == {"api", "executor-aer", "executor-two"}
    lab.apply()
    lab.settled()
    assert lab.made() == MADE


def test_of_two_servers_that_want_the_same_name_the_first_keeps_it(lab: Lab) -> None:
    lab.apply(executors=[{"name": "api", "type": "aer"}])
    lab.settled()
    before = lab.belongings()
    other = replace(lab, name=f"{lab.name}-executor")
    other.apply()
    other.settled()
    degraded = other.condition("Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "NameTaken")
    assert f"Deployment {lab.name}-executor-api" in degraded["message"]
    assert lab.belongings() == before
    assert set(other.parts("Deployment")) == {"executor-aer"}
    other.kubernetes.delete("RuntimeServer", other.name)


@pytest.mark.parametrize(("kind", "name"), DRIFT)
def test_what_somebody_changes_is_as_it_was_within_ten_seconds(lab: Lab, kind: str, name: str) -> None:
    lab.apply()
    lab.settled()
    patch = DRIFT[kind, name]
    assert changed(lab.merge(kind, name, patch), patch)
    eventually(lambda: not changed(lab.part(kind, name), patch), seconds=10)


@pytest.mark.parametrize("kind", sorted({"Deployment", "Service", "ConfigMap", "NetworkPolicy", "ServiceAccount"}))
def test_what_somebody_deletes_is_there_again_within_ten_seconds(lab: Lab, kind: str) -> None:
    lab.apply()
    lab.settled()
    before = {name: lab.part(kind, name)["metadata"]["uid"] for name in set(lab.parts(kind))}
    for name in before:
        lab.delete(kind, name)

    def again() -> bool:
        found = [lab.find(kind, name) for name in before]
        return all(each and each["metadata"]["uid"] not in before.values() for each in found)

    eventually(again, seconds=10)


def test_an_event_names_who_was_overwritten(lab: Lab) -> None:
    lab.apply()
    lab.settled()
    lab.merge("Deployment", "api", {"spec": {"replicas": 3}}, manager="kubectl-edit")
    (message,) = eventually(lambda: [message for reason, message in lab.events() if reason == "TakenBack"])
    assert "kubectl-edit" in message
    assert f"{lab.name}-api" in message


def test_fields_that_others_add_are_left_alone(lab: Lab) -> None:
    lab.apply()
    lab.settled()
    lab.merge("Service", "api", {"metadata": {"annotations": {"mesh.test/injected": "yes"}}})
    before = lab.versions()
    lab.apply(api={"replicas": 0})
    lab.settled()
    assert lab.part("Service", "api")["metadata"]["annotations"] == {"mesh.test/injected": "yes"}
    assert lab.versions()["Service", "api"] == before["Service", "api"]


def test_an_object_of_somebody_else_is_refused_and_left_untouched(lab: Lab) -> None:
    service = {"metadata": {"name": f"{lab.name}-api"}, "spec": {"ports": [{"name": "http", "port": 8000}]}}
    mine = lab.kubernetes.apply({"apiVersion": "v1", "kind": "Service", **service})
    lab.apply()
    lab.settled()
    degraded = lab.condition("Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "NameTaken")
    assert f"Service {lab.name}-api" in degraded["message"]
    found = lab.part("Service", "api")
    assert found["metadata"]["resourceVersion"] == mine["metadata"]["resourceVersion"]
    # The rest is made all the same.
    assert "executor-aer" in set(lab.parts("Deployment"))
    lab.delete("Service", "api")
    eventually(lambda: lab.condition("Degraded")["reason"] != "NameTaken", seconds=60)
    assert "api" in set(lab.parts("Service"))


def test_once_it_is_quiet_nothing_is_written(lab: Lab) -> None:
    lab.apply()
    eventually(lab.is_at_rest)
    before = eventually(lambda: unchanged(lab.versions, seconds=3))
    writes = lab.operator.metric("qro_objects_written_total")
    time.sleep(10)
    assert lab.versions() == before
    assert lab.operator.metric("qro_objects_written_total") == writes


def test_suspension_stops_all_pods_and_keeps_the_data(lab: Lab) -> None:
    lab.apply()
    lab.settled()
    lab.apply(suspend=True)
    assert lab.settled()["conditions"][0]["reason"] == "Suspended"
    assert {d["spec"]["replicas"] for d in lab.parts("Deployment").values()} == {0}
    assert set(lab.parts("PersistentVolumeClaim")) == {"data"}
    lab.apply()
    lab.settled()
    assert {d["spec"]["replicas"] for d in lab.parts("Deployment").values()} == {1}


def test_the_status_follows_the_pods(lab: Lab) -> None:
    lab.apply()
    assert lab.settled()["executorsReady"] == "0/1"
    assert lab.condition("Available")["status"] == "False"
    eventually(lambda: len(lab.parts("Pod")) == 2)
    for pod in lab.parts("Pod").values():
        ready = {"type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        name = pod["metadata"]["name"]
        lab.kubernetes.merge("Pod", name, {"status": {"phase": "Running", "conditions": [ready]}}, "status")
    eventually(lambda: lab.condition("Available")["status"] == "True")
    eventually(lambda: lab.condition("Degraded")["status"] == "False")
    assert lab.settled()["executorsReady"] == "1/1"


def test_a_runtime_server_that_is_paused_is_left_alone_until_it_is_not(lab: Lab) -> None:
    lab.apply()
    lab.settled()
    eventually(lab.is_at_rest)
    annotations = {"runtimeserver.dev/reconcile": "paused"}
    lab.kubernetes.merge("RuntimeServer", lab.name, {"metadata": {"annotations": annotations}})
    eventually(lambda: lab.condition("Progressing")["reason"] == "Paused")
    lab.delete("ConfigMap", "api")
    lab.apply(executors=[{**AER, "replicas": 2}])
    assert lab.settled()["executors"][0]["desired"] == 1
    assert lab.condition("Ready")["reason"] == "Paused"
    assert lab.find("ConfigMap", "api") is None
    assert lab.part("Deployment", "executor-aer")["spec"]["replicas"] == 1
    lab.kubernetes.merge(
        "RuntimeServer", lab.name, {"metadata": {"annotations": {"runtimeserver.dev/reconcile": None}}}
    )
    eventually(lambda: lab.find("ConfigMap", "api"))
    eventually(lambda: lab.part("Deployment", "executor-aer")["spec"]["replicas"] == 2)
    eventually(lambda: lab.condition("Progressing")["reason"] != "Paused")
    assert [reason for reason, _ in lab.events()].count("Paused") == 1


@pytest.mark.parametrize("count", [10, pytest.param(100, marks=pytest.mark.thorough)])
def test_many_at_once_are_made_and_then_left_alone(lab: Lab, count: int) -> None:
    labs = [replace(lab, name=f"{lab.name}-{number}") for number in range(count)]
    for each in labs:
        each.apply(executors=[AER, {"name": "two", "type": "aer"}], suspend=True)
    for each in labs:
        eventually(each.is_at_rest)
    assert all(set(each.parts("Deployment")) == {"api", "executor-aer", "executor-two"} for each in labs)

    def written() -> float:
        return lab.operator.metric("qro_objects_written_total")

    eventually(lambda: unchanged(written, seconds=5) is not None, seconds=120)
    before = written()
    time.sleep(10)
    assert written() == before
    assert lab.operator.metric("process_resident_memory_bytes") < 200e6
    for each in labs:
        lab.kubernetes.delete("RuntimeServer", each.name)


def test_a_deployment_whose_deletion_waits_for_its_pods_is_said_to_go(lab: Lab) -> None:
    lab.apply(podTemplate={"schedulerName": "nobody"})
    selector = f"app.kubernetes.io/instance={lab.name},runtimeserver.dev/executor=aer"
    (pod,) = eventually(lambda: lab.kubernetes.list("Pod", selector=selector))
    name = pod["metadata"]["name"]
    # As one with a long job, which drains.
    lab.kubernetes.merge("Pod", name, {"metadata": {"finalizers": ["example.org/drains"]}})
    path = f"/apis/apps/v1/namespaces/{lab.kubernetes.namespace}/deployments/{lab.name}-executor-aer"
    lab.kubernetes.call("DELETE", f"{path}?propagationPolicy=Foreground")
    going = "executor-aer: 0 of 1 ready (is being deleted, and is made anew when its pods are gone)"
    eventually(lambda: going in lab.condition("Degraded")["message"])
    lab.kubernetes.merge("Pod", name, {"metadata": {"finalizers": None}})
    eventually(lambda: (made := lab.find("Deployment", "executor-aer")) and "deletionTimestamp" not in made["metadata"])
    eventually(lambda: going not in lab.condition("Degraded")["message"])


def test_an_operator_for_all_namespaces_looks_after_all(
    kubernetes: KubernetesClient, start_operator: StartOperator
) -> None:
    operator = start_operator(QRO_NAMESPACES="", QRO_LEASE_NAME="of-all")
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply()
    lab.settled()
    assert lab.made() == MADE
    paths = ("/api/v1/services", "/apis/apps/v1/deployments")
    assert all(operator.metric("qro_watch_age_seconds", path=path) < 60 for path in paths)


def test_an_operator_for_one_namespace_leaves_others_alone(lab: Lab, kubernetes: KubernetesClient) -> None:
    elsewhere = replace(lab, kubernetes=kubernetes)
    elsewhere.apply()
    lab.apply()
    lab.settled()
    assert elsewhere.made() == {}
