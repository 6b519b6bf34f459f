"""Two operators that may both look after a RuntimeServer: one does, and the status says so."""

import time
from datetime import UTC, datetime, timedelta

import pytest

from kit.kubernetes.client import KubernetesClient, eventually, unchanged
from kit.kubernetes.lab import Lab
from kit.kubernetes.operator_process import StartOperator

WATCHED_SECONDS = 10


def operators_of(lab: Lab) -> tuple[str | None, list[str]]:
    """Return who has claimed the RuntimeServer, and who else would look after it."""
    status = lab.kubernetes.get("RuntimeServer", lab.name).get("status", {})
    return status.get("operator"), status.get("otherOperators", [])


def image_of(lab: Lab) -> str:
    (container,) = lab.part("Deployment", "api")["spec"]["template"]["spec"]["containers"]
    return str(container["image"])


def managers_of(lab: Lab, kind: str, name: str) -> set[str]:
    entries = lab.part(kind, name)["metadata"]["managedFields"]
    return {entry["manager"] for entry in entries if entry["operation"] == "Apply"}


def test_the_second_of_two_operators_says_so_and_keeps_its_hands_off(
    kubernetes: KubernetesClient, start_operator: StartOperator
) -> None:
    first = start_operator("first", QRO_LEASE_NAME="first")
    first.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=first)
    lab.apply()
    lab.settled()
    eventually(lab.is_at_rest)
    second = start_operator("second", QRO_LEASE_NAME="second", QRO_API_IMAGE="registry.test/other:2")
    second.wait_until_leading()
    identities = [f"{kubernetes.namespace}/{name}" for name in ("first", "second")]
    eventually(lambda: operators_of(lab) == (identities[0], [identities[1]]))
    eventually(lambda: f"{identities[1]} would look after it, too" in lab.condition("Degraded")["message"])
    before = eventually(lambda: unchanged(lab.versions, seconds=2))
    time.sleep(WATCHED_SECONDS)
    assert lab.versions() == before
    assert image_of(lab) == "registry.test/api:1"
    assert managers_of(lab, "Deployment", "api") == {f"qiskit-runtime-operator/{identities[0]}"}
    # What is deleted is made by the first, once.
    lab.delete("Service", "api")
    eventually(lambda: lab.find("Service", "api"), seconds=10)
    assert managers_of(lab, "Service", "api") == {f"qiskit-runtime-operator/{identities[0]}"}
    assert [reason for reason, _ in lab.events()].count("OtherOperator") == 1


def test_the_claim_of_an_operator_that_is_gone_for_good_passes_on(
    kubernetes: KubernetesClient, start_operator: StartOperator
) -> None:
    first = start_operator("first", QRO_LEASE_NAME="first")
    first.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=first)
    lab.apply()
    lab.settled()
    first.stop()
    fast = {"QRO_RESYNC": "2", "QRO_TAKEOVER": "6", "QRO_API_IMAGE": "registry.test/other:2"}
    second = start_operator("second", QRO_LEASE_NAME="second", **fast)
    second.wait_until_leading()
    identity = f"{kubernetes.namespace}/second"
    eventually(lambda: operators_of(lab)[0] == identity)
    lease = kubernetes.get("Lease", "first")["spec"]["renewTime"]
    assert datetime.now(UTC) - datetime.fromisoformat(lease) >= timedelta(seconds=6)
    eventually(lambda: image_of(lab) == "registry.test/other:2")
    # The fields of the first one are its own now: what it does not render any more, goes.
    assert managers_of(lab, "Deployment", "api") == {f"qiskit-runtime-operator/{identity}"}


def test_a_claim_is_handed_over_by_hand(kubernetes: KubernetesClient, start_operator: StartOperator) -> None:
    first = start_operator("first", QRO_LEASE_NAME="first")
    first.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=first)
    lab.apply()
    lab.settled()
    second = start_operator("second", QRO_LEASE_NAME="second", QRO_API_IMAGE="registry.test/other:2")
    second.wait_until_leading()
    identities = [f"{kubernetes.namespace}/{name}" for name in ("first", "second")]
    eventually(lambda: operators_of(lab) == (identities[0], [identities[1]]))
    kubernetes.merge("RuntimeServer", lab.name, {"status": {"operator": identities[1]}}, "status")
    eventually(lambda: image_of(lab) == "registry.test/other:2")
    eventually(lambda: operators_of(lab) == (identities[1], [identities[0]]))


@pytest.mark.parametrize("claim", ["", "qiskit-runtime-operator", "labs/../../x", "labs/Größe"])
def test_what_is_nobodys_claim_is_claimed(lab: Lab, claim: str) -> None:
    """As by somebody who hands a RuntimeServer over and gives the name of the Lease alone."""
    lab.apply()
    lab.settled()
    mine, _ = operators_of(lab)
    lab.kubernetes.merge(
        "RuntimeServer", lab.name, {"status": {"operator": claim, "otherOperators": [claim]}}, "status"
    )
    eventually(lambda: operators_of(lab) == (mine, []), seconds=10)


def test_a_lease_that_nobody_ever_renewed_holds_nothing(lab: Lab) -> None:
    lab.apply()
    lab.settled()
    mine, _ = operators_of(lab)
    lease = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": lab.name}, "spec": {}}
    lab.kubernetes.create(lease)
    claim = f"{lab.kubernetes.namespace}/{lab.name}"
    lab.kubernetes.merge("RuntimeServer", lab.name, {"status": {"operator": claim}}, "status")
    eventually(lambda: operators_of(lab) == (mine, []), seconds=10)


def test_one_release_after_the_other_takes_over_what_the_last_one_managed(
    kubernetes: KubernetesClient, start_operator: StartOperator
) -> None:
    """Releases before the claim had one field manager for all, which said nothing of the release."""
    operator = start_operator()
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply()
    lab.settled()
    operator.stop()
    live = lab.part("Service", "api")
    older = [{**entry, "manager": "qiskit-runtime-operator"} for entry in live["metadata"]["managedFields"]]
    older[0]["fieldsV1"]["f:metadata"]["f:labels"]["f:dropped"] = {}
    labels = {**live["metadata"]["labels"], "dropped": "later"}
    lab.merge("Service", "api", {"metadata": {"labels": labels}})
    lab.merge("Service", "api", {"metadata": {"managedFields": older}})
    kubernetes.merge("RuntimeServer", lab.name, {"status": {"operator": None}}, "status")
    start_operator("next").wait_until_leading()
    manager = f"qiskit-runtime-operator/{kubernetes.namespace}/qiskit-runtime-operator"
    eventually(lambda: managers_of(lab, "Service", "api") == {manager})
    eventually(lambda: "dropped" not in lab.part("Service", "api")["metadata"]["labels"])
