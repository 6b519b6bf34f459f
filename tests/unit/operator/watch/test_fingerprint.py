"""What the operator has set in an object, in a few bytes."""

from copy import deepcopy
from typing import Any

import pytest

from qiskit_runtime_operator.resource.names import MANAGER
from qiskit_runtime_operator.watch import fingerprint

PORT = 'k:{"port":8000,"protocol":"TCP"}'
OURS: dict[str, Any] = {
    "manager": MANAGER,
    "operation": "Apply",
    "fieldsV1": {
        "f:metadata": {"f:labels": {"f:app": {}}, "f:finalizers": {".": {}, 'v:"kept"': {}}},
        "f:spec": {"f:replicas": {}, "f:ports": {PORT: {".": {}, "f:name": {}}}},
    },
}
LIVE: dict[str, Any] = {
    "metadata": {
        "labels": {"app": "lab", "theirs": "x"},
        "finalizers": ["theirs", "kept"],
        "resourceVersion": "1",
        "managedFields": [{"manager": "kubectl", "operation": "Apply", "fieldsV1": {}}, OURS],
    },
    "spec": {
        "replicas": 1,
        "ports": [{"name": "mesh", "port": 1, "protocol": "TCP"}, {"name": "http", "port": 8000, "protocol": "TCP"}],
    },
    "status": {"ready": 1},
}


def changed(path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    """Return the live object with another value somewhere."""
    live = deepcopy(LIVE)
    part: Any = live
    for step in path[:-1]:
        part = part[step]
    part[path[-1]] = value
    return live


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "replicas"), 2),
        (("spec", "ports", 1, "name"), "other"),
        (("spec", "ports"), []),
        (("metadata", "labels"), {}),
        (("metadata", "finalizers"), ["theirs"]),
        (("metadata", "managedFields"), []),
        (("metadata", "managedFields", 1, "fieldsV1", "f:spec"), {}),
    ],
)
def test_it_changes_with_what_is_ours(path: tuple[str | int, ...], value: object) -> None:
    assert fingerprint.of_applied(changed(path, value), MANAGER) != fingerprint.of_applied(LIVE, MANAGER)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("status",), {"ready": 2}),
        (("metadata", "resourceVersion"), "2"),
        (("metadata", "labels", "theirs"), "y"),
        (("metadata", "finalizers"), ["kept"]),
        (("spec", "ports", 0, "name"), "other"),
        (("spec", "theirs"), 1),
        (("metadata", "managedFields", 0, "fieldsV1"), {"f:spec": {"f:theirs": {}}}),
        (("metadata", "managedFields", 1, "time"), "2026-01-01T00:00:00Z"),
    ],
)
def test_it_does_not_change_with_what_is_not(path: tuple[str | int, ...], value: object) -> None:
    assert fingerprint.of_applied(changed(path, value), MANAGER) == fingerprint.of_applied(LIVE, MANAGER)


def test_manifests_that_are_equal_have_the_same_one_whatever_their_order() -> None:
    one, other = {"a": 1, "b": [1, 2]}, {"b": [1, 2], "a": 1}
    assert fingerprint.of_manifest(one) == fingerprint.of_manifest(other)
    assert fingerprint.of_manifest(one) != fingerprint.of_manifest({"a": 1, "b": [2, 1]})


def test_an_object_that_the_operator_has_not_applied_has_one_that_stays() -> None:
    one, other = ({"metadata": {"resourceVersion": version}} for version in "12")
    assert fingerprint.of_applied(one, MANAGER) == fingerprint.of_applied(other, MANAGER)
