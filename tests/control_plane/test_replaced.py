"""What cannot be changed as it is: fields that are fixed, Deployments that somebody paused, claims that cannot grow."""

import pytest

from kit.kubernetes.client import Manifest, RefusedError, eventually
from kit.kubernetes.lab import Lab


def owned_deployment(lab: Lab, server: Manifest, selector: dict[str, str]) -> Manifest:
    """Return the Deployment of the executor as another release made it, with another selector."""
    reference = {"apiVersion": server["apiVersion"], "kind": server["kind"], "controller": True}
    owner = {**reference, "name": lab.name, "uid": server["metadata"]["uid"]}
    own = {"app.kubernetes.io/managed-by": "qiskit-runtime-operator", "app.kubernetes.io/instance": lab.name}
    pod = {"containers": [{"name": "server", "image": "registry.test/executor:0"}]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": f"{lab.name}-executor-aer", "labels": own, "ownerReferences": [owner]},
        "spec": {
            "selector": {"matchLabels": selector},
            "template": {"metadata": {"labels": selector}, "spec": pod},
        },
    }


def paused(lab: Lab, value: str | None) -> None:
    annotations = {"metadata": {"annotations": {"runtimeserver.dev/reconcile": value}}}
    lab.kubernetes.merge("RuntimeServer", lab.name, annotations)


def test_a_deployment_with_another_selector_is_replaced(lab: Lab) -> None:
    server = lab.apply()
    lab.settled()
    paused(lab, "paused")
    eventually(lambda: lab.condition("Progressing")["reason"] == "Paused")
    lab.delete("Deployment", "executor-aer")
    eventually(lambda: lab.find("Deployment", "executor-aer") is None)
    lab.kubernetes.create(owned_deployment(lab, server, {"app.kubernetes.io/instance": lab.name, "old": "yes"}))
    old = eventually(lambda: [pod for pod in lab.parts("Pod").values() if pod["metadata"]["labels"].get("old")])
    paused(lab, None)

    def replaced() -> bool:
        found = lab.find("Deployment", "executor-aer")
        return bool(found and "old" not in found["spec"]["selector"]["matchLabels"])

    eventually(replaced)
    (message,) = eventually(lambda: [message for reason, message in lab.events() if reason == "Replaced"])
    assert f"Deployment {lab.name}-executor-aer" in message
    # The old pods are told to stop, and drain: they are not orphans.
    eventually(lambda: _is_ending(lab, old[0]["metadata"]["name"]), seconds=90)


def _is_ending(lab: Lab, name: str) -> bool:
    pod = lab.kubernetes.find("Pod", name)
    return pod is None or "deletionTimestamp" in pod["metadata"]


def test_settings_that_somebody_fixed_are_replaced(lab: Lab) -> None:
    lab.apply()
    lab.settled()
    lab.merge("ConfigMap", "api", {"immutable": True})
    lab.apply(api={"settings": {"QRS_LOG_LEVEL": "debug"}})
    # Between the two there is none.
    eventually(lambda: (found := lab.find("ConfigMap", "api")) and found["data"].get("QRS_LOG_LEVEL") == "debug")
    eventually(lambda: [reason for reason, _ in lab.events()].count("Replaced") == 1)


@pytest.mark.parametrize(
    ("kind", "excluding"),
    [
        ("Deployment", {"strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}}),
        ("PodDisruptionBudget", {"maxUnavailable": None, "minAvailable": 1}),
    ],
)
def test_fields_that_exclude_ours_are_removed(lab: Lab, kind: str, excluding: Manifest) -> None:
    """To set ours beside them is refused: so an api on SQLite stayed on a strategy that runs two of it at a time."""
    lab.apply()
    lab.settled()
    before = lab.part(kind, "api")
    lab.merge(kind, "api", {"spec": excluding})
    eventually(lambda: lab.part(kind, "api")["spec"] == before["spec"], seconds=10)
    assert lab.part(kind, "api")["metadata"]["uid"] == before["metadata"]["uid"]


def test_a_roll_out_that_somebody_paused_is_told(lab: Lab) -> None:
    lab.apply()
    lab.settled()
    lab.merge("Deployment", "api", {"spec": {"paused": True}}, manager="kubectl-rollout")
    progressing = eventually(lambda: (c := lab.condition("Progressing"))["reason"] == "ChildPaused" and c)
    assert f"{lab.name}-api" in progressing["message"]
    lab.merge("Deployment", "api", {"spec": {"paused": None}}, manager="kubectl-rollout")
    eventually(lambda: lab.condition("Progressing")["reason"] != "ChildPaused")


def bind(lab: Lab, size: str) -> None:
    """Do what a provisioner does."""
    name = f"{lab.name}-data"
    status = {"phase": "Bound", "capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"]}
    lab.kubernetes.merge("PersistentVolumeClaim", name, {"status": status}, "status")


def asked(lab: Lab) -> str:
    return str(lab.part("PersistentVolumeClaim", "data")["spec"]["resources"]["requests"]["storage"])


def test_a_claim_that_could_not_grow_is_asked_for_less_again(lab: Lab) -> None:
    storage_class = f"grows-{lab.name}"
    lab.kubernetes.call(
        "POST",
        "/apis/storage.k8s.io/v1/storageclasses",
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": storage_class},
            "provisioner": "example.org/none",
            "allowVolumeExpansion": True,
        },
    )
    try:
        lab.apply(database={"sqlite": {"storage": "5Gi", "storageClassName": storage_class}})
        lab.settled()
        bind(lab, "5Gi")
        eventually(lambda: lab.settled().get("volumeCapacity") == "5Gi")
        lab.apply(database={"sqlite": {"storage": "50Gi", "storageClassName": storage_class}})
        eventually(lambda: asked(lab) == "50Gi")
        # The back end has no room for so much.
        lab.apply(database={"sqlite": {"storage": "6Gi", "storageClassName": storage_class}})
        eventually(lambda: asked(lab) == "6Gi")
        # Nor for that. Kubernetes does not take back the last request, but the RuntimeServer is as it was before.
        lab.apply(database={"sqlite": {"storage": "5Gi", "storageClassName": storage_class}})
        lab.settled()
        assert asked(lab) == "6Gi"
        assert lab.condition("Degraded")["reason"] != "WriteRefused"
        with pytest.raises(RefusedError, match="a volume can grow, not shrink"):
            lab.apply(database={"sqlite": {"storage": "4Gi", "storageClassName": storage_class}})
    finally:
        lab.kubernetes.call("DELETE", f"/apis/storage.k8s.io/v1/storageclasses/{storage_class}")


def test_a_claim_that_is_another_one_than_before_is_told(lab: Lab) -> None:
    lab.apply()
    lab.settled()
    before = lab.part("PersistentVolumeClaim", "data")["metadata"]["uid"]
    eventually(lambda: lab.settled().get("volumeClaim") == before)
    lab.delete("PersistentVolumeClaim", "data")
    now = eventually(
        lambda: (c := lab.find("PersistentVolumeClaim", "data")) and (u := c["metadata"]["uid"]) != before and u
    )
    (message,) = eventually(lambda: [message for reason, message in lab.events() if reason == "ClaimChanged"])
    assert before in message
    eventually(lambda: lab.settled().get("volumeClaim") == now)
