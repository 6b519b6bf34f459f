"""An operator whose CRD is a release ahead of it, as during each upgrade and after a rollback, or a release behind."""

from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import pytest

from kit.kubernetes.client import KubernetesClient, Manifest, RefusedError, eventually
from kit.kubernetes.lab import AER, MADE, Lab
from kit.kubernetes.operator_process import StartOperator

# A watch shows objects by the schema of its beginning.
RENEWING = {"QRO_WATCH_RENEWAL": "4", "QRO_WATCH_SILENCE": "4"}

ChangeCrd = Callable[[Manifest], None]


def schema(crd: Manifest, *path: str) -> Manifest:
    """Return the properties of `spec` or `status`, or of what is below them."""
    version, *_ = crd["spec"]["versions"]
    found = version["schema"]["openAPIV3Schema"]
    for name in path:
        found = found["items"] if name == "[]" else found["properties"][name]
    properties: Manifest = found["properties"]
    return properties


@pytest.fixture
def change_crd(kubernetes: KubernetesClient, definition: Manifest) -> Iterator[Callable[[ChangeCrd], None]]:
    """Change the CRD of the cluster for the time of a test."""
    name = definition["metadata"]["name"]

    def replace(spec: Manifest) -> None:
        kubernetes.replace({**kubernetes.get("CustomResourceDefinition", name), "spec": spec})
        eventually(lambda: kubernetes.serves("RuntimeServer"))

    def change(how: ChangeCrd) -> None:
        crd = deepcopy(definition)
        how(crd)
        replace(crd["spec"])

    yield change
    replace(definition["spec"])


def newer(crd: Manifest) -> None:
    """Add fields with defaults, a field without one, and a member of an enum."""
    schema(crd, "spec")["podTemplates"] = {
        "type": "object",
        "default": {"kind": "plain"},
        "properties": {"kind": {"type": "string"}},
    }
    schema(crd, "spec", "executors", "[]")["priority"] = {"type": "integer", "default": 3}
    schema(crd, "spec")["note"] = {"type": "string"}
    schema(crd, "spec", "database", "sqlite")["retention"]["enum"].append("Archive")


def older(crd: Manifest) -> None:
    """Take away a field of the spec, and what the operator writes into the status."""
    del schema(crd, "spec")["suspend"]
    del schema(crd, "status")["executorsReady"]
    del schema(crd, "status", "executors", "[]")["message"]


def reason(lab: Lab, kind: str = "Degraded") -> str:
    found: str = lab.condition(kind).get("reason", "")
    return found


def applied(lab: Lab, **spec: Any) -> bool:
    try:
        lab.apply(**spec)
    except RefusedError:
        return False
    return True


def ignored(lab: Lab, field: str) -> bool:
    message = lab.condition("Degraded")["message"]
    assert field in message.partition("ignored")[2], message
    return True


def test_what_a_newer_crd_adds_is_told_and_the_rest_is_done(
    kubernetes: KubernetesClient, start_operator: StartOperator, change_crd: Callable[[ChangeCrd], None]
) -> None:
    operator = start_operator(**RENEWING)
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    change_crd(newer)
    # The part of the API server that applies learns of the change a moment later.
    eventually(lambda: applied(lab, database={"sqlite": {"retention": "Archive"}}, note="new"))
    lab.settled()
    eventually(lambda: lab.made() == MADE)
    eventually(lambda: ignored(lab, "spec.podTemplates"))
    message = lab.condition("Degraded")["message"]
    for field in ("spec.executors[0].priority", "spec.note", "spec.database.sqlite.retention"):
        assert field in message
    lab.delete("Service", "api")
    eventually(lambda: lab.find("Service", "api"))
    told = [text for why, text in lab.events() if why == "FieldsIgnored"]
    assert len(told) == len(set(told))
    assert any("spec.note" in text for text in told)


def test_an_object_from_before_is_looked_at_again_when_the_crd_changes(
    kubernetes: KubernetesClient, start_operator: StartOperator, change_crd: Callable[[ChangeCrd], None]
) -> None:
    operator = start_operator(QRO_RESYNC="3600", **RENEWING)
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply()
    lab.settled()
    change_crd(newer)
    eventually(lambda: reason(lab) in {"ApiShort", "FieldsIgnored"} and ignored(lab, "spec.podTemplates"))
    assert lab.find("Service", "api")


def test_a_spec_that_is_not_understood_any_more_leaves_the_last_one_in_force(
    kubernetes: KubernetesClient, start_operator: StartOperator, change_crd: Callable[[ChangeCrd], None]
) -> None:
    operator = start_operator()
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply()
    lab.settled()

    def drained_otherwise(crd: Manifest) -> None:
        schema(crd, "spec", "executors", "[]")["drainSeconds"] = {"x-kubernetes-int-or-string": True, "default": 600}

    change_crd(drained_otherwise)
    eventually(lambda: applied(lab, executors=[{**AER, "drainSeconds": "10m"}]))
    lab.settled()
    eventually(lambda: reason(lab) == "InvalidSpec")
    assert "spec.executors[0].drainSeconds" in lab.condition("Degraded")["message"]
    lab.delete("Service", "api")
    eventually(lambda: lab.find("Service", "api"))
    # What is said of the pods is what is there, not what was there once.
    assert lab.condition("Available")["status"] == "False"
    lab.apply()
    eventually(lambda: lab.settled() and reason(lab) != "InvalidSpec")


def test_an_operator_works_with_an_older_crd_and_is_quiet(
    kubernetes: KubernetesClient, start_operator: StartOperator, change_crd: Callable[[ChangeCrd], None]
) -> None:
    change_crd(older)
    operator = start_operator(QRO_RESYNC="2")
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply()
    lab.settled()
    eventually(lambda: lab.made() == MADE and lab.condition("Degraded")["reason"] == "ApiShort")

    def written() -> float:
        return operator.metric("qro_objects_written_total")

    def passes() -> float:
        return operator.metric("qro_reconcile_seconds_count")

    eventually(
        lambda: (now := (written(), passes())) and eventually(lambda: passes() > now[1] + 2) and written() == now[0]
    )


def test_an_operator_that_starts_among_unknown_things_does_what_it_understands(
    kubernetes: KubernetesClient, start_operator: StartOperator, change_crd: Callable[[ChangeCrd], None]
) -> None:
    """As after `helm rollback`, which leaves the CRD as it is."""
    change_crd(newer)
    lab_spec: dict[str, Any] = {"executors": [{**AER, "priority": 5}]}
    first = start_operator("operator-0")
    first.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=first)
    eventually(lambda: applied(lab, **lab_spec))
    lab.settled()
    first.stop()
    lab.delete("Deployment", "executor-aer")
    start_operator("operator-1")
    eventually(lambda: lab.find("Deployment", "executor-aer"))
