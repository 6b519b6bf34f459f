"""Whose business the number of replicas of a Deployment is."""

from typing import Any

import pytest

from qiskit_runtime_operator.render.replicas import scaled_elsewhere, with_live_replicas
from qiskit_runtime_operator.resource.kinds import KINDS
from qiskit_runtime_operator.resource.names import MANAGER

REPLICAS: dict[str, Any] = {"f:spec": {"f:replicas": {}, "f:paused": {}}}
OTHER: dict[str, Any] = {"f:spec": {"f:selector": {}}}


def entry(manager: str, operation: str, fields: dict[str, Any], subresource: str = "") -> dict[str, Any]:
    within = {"subresource": subresource} if subresource else {}
    return {"manager": manager, "operation": operation, "fieldsV1": fields, **within}


@pytest.mark.parametrize(
    ("entries", "elsewhere"),
    [
        ([entry(MANAGER, "Apply", REPLICAS)], False),
        ([entry(f"{MANAGER}/system/rel", "Apply", REPLICAS)], False),
        ([entry(MANAGER, "Apply", OTHER), entry("kubectl", "Update", REPLICAS, "scale")], True),
        ([entry(MANAGER, "Apply", OTHER), entry("kubectl-edit", "Update", REPLICAS)], False),
        # Who scales to zero is not written down, nor who scales after that.
        ([entry(MANAGER, "Apply", OTHER), entry("kcm", "Update", OTHER, "status")], True),
        ([entry(f"{MANAGER}/system/rel", "Apply", OTHER)], True),
        # It is not known to have been applied by an operator.
        ([entry("kubectl", "Update", OTHER)], False),
        ([], False),
    ],
)
def test_who_scales_has_the_number_also_if_it_is_zero(entries: list[dict[str, Any]], elsewhere: bool) -> None:  # noqa: FBT001 - a case
    live = {
        "metadata": {"name": "one", "annotations": {"runtimeserver.dev/replicas": "1"}, "managedFields": entries},
        "spec": {"replicas": 0},
    }
    kept = KINDS["Deployment"].kept(live)
    assert scaled_elsewhere([kept]) == ({"one": "1"} if elsewhere else {})


def test_a_deployment_that_is_made_anew_keeps_a_number_that_is_not_ours() -> None:
    live = {"kind": "Deployment", "spec": {"replicas": 5}}
    assert with_live_replicas({"kind": "Deployment", "spec": {"paused": False}}, live)["spec"]["replicas"] == 5
    ours = {"kind": "Deployment", "spec": {"replicas": 2}}
    assert with_live_replicas(ours, live) == ours
    service = {"kind": "Service", "spec": {}}
    assert with_live_replicas(service, {"spec": {}}) == service
