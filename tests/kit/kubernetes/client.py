"""The official client as tests use it: synchronous, manifests are plain dicts. It shares no code with the operator."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, TypeVar

from kubernetes.client import ApiClient, Configuration
from kubernetes.client.exceptions import ApiException
from kubernetes.config import load_kube_config

T = TypeVar("T")
Manifest = dict[str, Any]
_PATHS = {
    "ConfigMap": ("api/v1", "configmaps"),
    "CustomResourceDefinition": ("apis/apiextensions.k8s.io/v1", "customresourcedefinitions"),
    "ClusterRole": ("apis/rbac.authorization.k8s.io/v1", "clusterroles"),
    "ClusterRoleBinding": ("apis/rbac.authorization.k8s.io/v1", "clusterrolebindings"),
    "Deployment": ("apis/apps/v1", "deployments"),
    "Event": ("api/v1", "events"),
    "HTTPRoute": ("apis/gateway.networking.k8s.io/v1", "httproutes"),
    "HorizontalPodAutoscaler": ("apis/autoscaling/v2", "horizontalpodautoscalers"),
    "Ingress": ("apis/networking.k8s.io/v1", "ingresses"),
    "IngressClass": ("apis/networking.k8s.io/v1", "ingressclasses"),
    "Certificate": ("apis/cert-manager.io/v1", "certificates"),
    "Job": ("apis/batch/v1", "jobs"),
    "Lease": ("apis/coordination.k8s.io/v1", "leases"),
    "Namespace": ("api/v1", "namespaces"),
    "Node": ("api/v1", "nodes"),
    "PersistentVolume": ("api/v1", "persistentvolumes"),
    "StatefulSet": ("apis/apps/v1", "statefulsets"),
    "NetworkPolicy": ("apis/networking.k8s.io/v1", "networkpolicies"),
    "PersistentVolumeClaim": ("api/v1", "persistentvolumeclaims"),
    "Pod": ("api/v1", "pods"),
    "PodDisruptionBudget": ("apis/policy/v1", "poddisruptionbudgets"),
    "ReplicaSet": ("apis/apps/v1", "replicasets"),
    "DeviceClass": ("apis/resource.k8s.io/v1", "deviceclasses"),
    "ResourceClaim": ("apis/resource.k8s.io/v1", "resourceclaims"),
    "ResourceClaimTemplate": ("apis/resource.k8s.io/v1", "resourceclaimtemplates"),
    "ResourceQuota": ("api/v1", "resourcequotas"),
    "ResourceSlice": ("apis/resource.k8s.io/v1", "resourceslices"),
    "Role": ("apis/rbac.authorization.k8s.io/v1", "roles"),
    "RoleBinding": ("apis/rbac.authorization.k8s.io/v1", "rolebindings"),
    "RuntimeServer": ("apis/runtimeserver.dev/v1alpha1", "runtimeservers"),
    "Secret": ("api/v1", "secrets"),
    "Service": ("api/v1", "services"),
    "ServiceAccount": ("api/v1", "serviceaccounts"),
    "ServiceMonitor": ("apis/monitoring.coreos.com/v1", "servicemonitors"),
}
_NOT_FOUND = 404
_LIMIT_SECONDS = 30
_CLUSTER_SCOPED = {
    "ClusterRole",
    "ClusterRoleBinding",
    "CustomResourceDefinition",
    "DeviceClass",
    "IngressClass",
    "Namespace",
    "Node",
    "PersistentVolume",
    "ResourceSlice",
}


class RefusedError(Exception):
    """The API server answered with an error.

    Attributes:
        code: The HTTP status.
        message: The server's own words.
    """

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class KubernetesClient:
    """Speaks to the cluster of a kubeconfig.

    Attributes:
        kubeconfig: Its path.
        namespace: Where namespaced objects are, unless a call says otherwise.
    """

    def __init__(self, kubeconfig: Path, namespace: str = "default") -> None:
        configuration = Configuration()
        load_kube_config(str(kubeconfig), client_configuration=configuration, persist_config=False)
        configuration.retries = False  # tests want to see what fails
        self.kubeconfig = kubeconfig
        self.namespace = namespace
        self._client = ApiClient(configuration)

    def close(self) -> None:
        """Close the connections."""
        self._client.rest_client.pool_manager.clear()
        self._client.close()

    def call(self, method: str, path: str, body: object = None, content_type: str = "application/json") -> Manifest:
        """Send a request of any kind and return the answer.

        Raises:
            RefusedError: If the status is not 2xx.
        """
        document: Manifest = json.loads(self._send(method, path, body, content_type))
        return document

    def read(self, path: str) -> str:
        """Return what is at a path that is not of the API, as /readyz.

        Raises:
            RefusedError: If the status is not 2xx.
        """
        return self._send("GET", path, None, "application/json").decode()

    def _send(self, method: str, path: str, body: object, content_type: str) -> bytes:
        try:
            answer = self._client.call_api(
                path,
                method,
                header_params={"Content-Type": content_type},
                body=body,
                auth_settings=["BearerToken"],
                _request_timeout=_LIMIT_SECONDS,
                _preload_content=False,
            )
        except ApiException as error:
            raise RefusedError(error.status, _message_of(error)) from error
        content: bytes = answer.data
        return content

    def get(self, kind: str, name: str, namespace: str | None = None) -> Manifest:
        """Return an object."""
        return self.call("GET", self._path(kind, namespace, name))

    def find(self, kind: str, name: str, namespace: str | None = None) -> Manifest | None:
        """Return an object, or None if there is none of that name."""
        try:
            return self.get(kind, name, namespace)
        except RefusedError as error:
            if error.code == _NOT_FOUND:
                return None
            raise

    def list(self, kind: str, namespace: str | None = None, selector: str = "") -> list[Manifest]:
        """Return the objects of a kind; of all namespaces if `namespace` is an empty string."""
        path = self._path(kind, namespace)
        items: list[Manifest] = self.call("GET", f"{path}?labelSelector={selector}" if selector else path)["items"]
        return items

    def serves(self, kind: str) -> bool:
        """Tell whether the API server is done with starting to serve a kind that is new."""
        try:
            self.list(kind)
        except RefusedError:
            return False
        return True

    def create(self, manifest: Manifest) -> Manifest:
        """Create an object."""
        return self.call("POST", self._path(manifest["kind"], manifest["metadata"].get("namespace")), manifest)

    def replace(self, manifest: Manifest) -> Manifest:
        """Replace an object."""
        return self.call("PUT", self._path_of(manifest), manifest)

    def apply(self, manifest: Manifest, manager: str = "kubectl", *, force: bool = False) -> Manifest:
        """Apply an object on the server's side."""
        query = f"?fieldManager={manager}&force={str(force).lower()}"
        return self.call("PATCH", self._path_of(manifest) + query, manifest, "application/apply-patch+yaml")

    def merge(self, kind: str, name: str, patch: Manifest, subresource: str = "", manager: str = "tests") -> Manifest:
        """Send a JSON merge patch."""
        path = f"{self._path(kind, None, name)}{'/' * bool(subresource)}{subresource}?fieldManager={manager}"
        return self.call("PATCH", path, patch, "application/merge-patch+json")

    def delete(self, kind: str, name: str, namespace: str | None = None, *, at_once: bool = False) -> None:
        """Delete an object; what it owns goes in the background. A pod is not waited for if it goes at once."""
        grace = "&gracePeriodSeconds=0" * at_once
        self.call("DELETE", f"{self._path(kind, namespace, name)}?propagationPolicy=Background{grace}")

    def _path_of(self, manifest: Manifest) -> str:
        return self._path(manifest["kind"], manifest["metadata"].get("namespace"), manifest["metadata"]["name"])

    def _path(self, kind: str, namespace: str | None, name: str = "") -> str:
        prefix, plural = _PATHS[kind]
        chosen = self.namespace if namespace is None else namespace
        where = "" if kind in _CLUSTER_SCOPED or not chosen else f"/namespaces/{chosen}"
        return f"/{prefix}{where}/{plural}{'/' * bool(name)}{name}"


def _message_of(error: ApiException) -> str:
    """Return what an error says: a Status, or a plain line for what is not served at all."""
    try:
        return str(json.loads(error.body)["message"])
    except (json.JSONDecodeError, KeyError):
        return str(error.body)


def eventually(what: Callable[[], T | Literal[False] | None], seconds: float = 60) -> T:
    """Return the first true value of `what` within the time; an assertion in it may fail until then.

    The time is for what nobody has promised a time for: only what never comes exceeds it, on a slow machine, too. What
    takes long is looked at less often: that takes a good part of a core from those who work on it.
    """
    began = time.monotonic()
    deadline = began + seconds
    while True:
        try:
            value = what()
        except AssertionError:
            if time.monotonic() > deadline:
                raise
        else:
            if value or time.monotonic() > deadline:
                assert value, "what was waited for did not happen"
                return value
        time.sleep(min(0.25, 0.05 + (time.monotonic() - began) / 25))


def unchanged(what: Callable[[], T], *, seconds: float) -> T | None:
    """Return what `what` says if it says the same `seconds` later, and None otherwise."""
    before = what()
    time.sleep(seconds)
    return before if what() == before else None
