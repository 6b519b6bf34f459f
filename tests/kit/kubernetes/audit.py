"""What a ServiceAccount may do, and what it did, by the API server's own account."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from kit.kubernetes.client import KubernetesClient, Manifest
from kit.kubernetes.control_plane import AUDIT_LOG

_FORBIDDEN = 403
_CREATED = 201


class Right(NamedTuple):
    """A verb on a kind of objects."""

    group: str
    resource: str
    verb: str


def granted(kubernetes: KubernetesClient, name: str) -> set[Right]:
    """Return the rights of the roles whose name begins with `name`, cluster-wide and in all namespaces.

    Those that are parts of the users' roles are left out.
    """
    all_roles = [*kubernetes.list("Role", ""), *kubernetes.list("ClusterRole")]
    roles = [role for role in all_roles if "/aggregate-to-" not in str(role["metadata"].get("labels"))]
    rules = [rule for role in roles if role["metadata"]["name"].startswith(name) for rule in role["rules"]]
    return {
        Right(group, resource, verb)
        for rule in rules
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


def used(kubeconfig: Path, account: str) -> set[Right]:
    """Return the rights that the account made use of."""
    return {
        right
        for request in _requests(kubeconfig, account)
        if request["responseStatus"]["code"] != _FORBIDDEN
        for right in _rights(request)
    }


def refused(kubeconfig: Path, account: str) -> list[str]:
    """Return the requests that the account had no right to make."""
    requests = _requests(kubeconfig, account)
    return [f"{item['verb']} {item['requestURI']}" for item in requests if item["responseStatus"]["code"] == _FORBIDDEN]


def _requests(kubeconfig: Path, account: str) -> Iterator[Manifest]:
    # The API server may be in the middle of its last line.
    for line in kubeconfig.with_name(AUDIT_LOG).read_text().rpartition("\n")[0].splitlines():
        request = json.loads(line)
        if request["user"]["username"] == f"system:serviceaccount:{account}" and "objectRef" in request:
            yield request


def _rights(request: Manifest) -> Iterator[Right]:
    reference = request["objectRef"]
    resource = "/".join(filter(None, (reference["resource"], reference.get("subresource"))))
    group = reference.get("apiGroup", "")
    yield Right(group, resource, request["verb"])
    if request["verb"] == "patch" and request["responseStatus"]["code"] == _CREATED:
        # To apply what is not there yet takes both.
        yield Right(group, resource, "create")
