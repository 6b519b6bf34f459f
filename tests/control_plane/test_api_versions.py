"""v1alpha1 and v1beta1 of a RuntimeServer: an upgrade of a CRD that had only the first, with live objects, and back."""

from collections.abc import Iterator
from copy import deepcopy

import pytest

from kit.kubernetes.client import KubernetesClient, Manifest, RefusedError, eventually, unchanged
from kit.kubernetes.lab import AER, MADE, Lab
from kit.kubernetes.operator_process import StartOperator

CONFLICT = 409
ALPHA, BETA = "v1alpha1", "v1beta1"


def server(version: str, name: str, **spec: object) -> Manifest:
    return {
        "apiVersion": f"runtimeserver.dev/{version}",
        "kind": "RuntimeServer",
        "metadata": {"name": name},
        "spec": {"executors": [AER], **spec},
    }


class Versions:
    """The CRD as it was before v1beta1 and as it is, and RuntimeServers in either version."""

    def __init__(self, kubernetes: KubernetesClient, definition: Manifest) -> None:
        self._kubernetes = kubernetes
        self._definition = definition
        self._name: str = definition["metadata"]["name"]

    def downgrade(self) -> None:
        """Serve what there was before v1beta1."""
        spec = deepcopy(self._definition["spec"])
        del spec["versions"][1:]
        self._replace(spec)
        eventually(lambda: not self._serves(BETA))

    def upgrade(self) -> None:
        """Serve both."""
        self._replace(self._definition["spec"])
        eventually(lambda: self._serves(BETA))

    def stored(self) -> list[str]:
        """Return in which versions objects may be stored."""
        found: list[str] = self._kubernetes.get("CustomResourceDefinition", self._name)["status"]["storedVersions"]
        return found

    def read(self, version: str, name: str) -> Manifest:
        return self._kubernetes.call("GET", f"{self._path(version)}/{name}")

    def apply(self, manifest: Manifest) -> Manifest:
        version, name = manifest["apiVersion"].rpartition("/")[2], manifest["metadata"]["name"]
        path = f"{self._path(version)}/{name}?fieldManager=kubectl"
        return self._kubernetes.call("PATCH", path, manifest, "application/apply-patch+yaml")

    def _replace(self, spec: Manifest) -> None:
        eventually(lambda: self._replaced(spec))
        eventually(lambda: self._kubernetes.serves("RuntimeServer"))

    def _replaced(self, spec: Manifest) -> bool:
        """Replace the CRD, unless the API server writes its status meanwhile."""
        there = self._kubernetes.get("CustomResourceDefinition", self._name)
        try:
            self._kubernetes.replace({**there, "spec": spec})
        except RefusedError as error:
            if error.code != CONFLICT:
                raise
            return False
        return True

    def _serves(self, version: str) -> bool:
        try:
            self._kubernetes.call("GET", self._path(version))
        except RefusedError:
            return False
        return True

    def _path(self, version: str) -> str:
        return f"/apis/runtimeserver.dev/{version}/namespaces/{self._kubernetes.namespace}/runtimeservers"


@pytest.fixture
def versions(kubernetes: KubernetesClient, definition: Manifest) -> Iterator[Versions]:
    versions = Versions(kubernetes, definition)
    yield versions
    versions.upgrade()


def same(alpha: Manifest, beta: Manifest) -> bool:
    """Tell whether two readings are of the same state of an object, and differ in nothing but the version."""
    assert alpha["apiVersion"].endswith(ALPHA)
    assert beta["apiVersion"].endswith(BETA)
    return {**alpha, "apiVersion": ""} == {**beta, "apiVersion": ""}


def test_an_upgrade_of_the_crd_writes_no_object_and_both_versions_work(
    kubernetes: KubernetesClient, start_operator: StartOperator, versions: Versions
) -> None:
    versions.downgrade()
    operator = start_operator()
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply()
    eventually(lambda: lab.settled() and lab.made() == MADE and lab.is_at_rest())
    before = eventually(lambda: unchanged(lab.versions, seconds=2))

    versions.upgrade()
    alpha, beta = versions.read(ALPHA, "lab"), versions.read(BETA, "lab")
    assert same(alpha, beta)
    lab.delete("Service", "api")
    eventually(lambda: lab.find("Service", "api"))
    eventually(lab.is_at_rest)
    assert {key for key, version in lab.versions().items() if before.get(key) != version} == {("Service", "api")}

    # The same manifest in the other version, from the same hand, changes nothing that is wanted.
    generation = alpha["metadata"]["generation"]
    assert versions.apply(server(BETA, "lab"))["metadata"]["generation"] == generation

    # What is made in the new version is looked after, too, and can be read in the old one.
    versions.apply(server(BETA, "new"))
    new = Lab(kubernetes=kubernetes, operator=operator, name="new")
    eventually(lambda: new.settled() and new.made() == MADE and new.is_at_rest())
    eventually(lambda: same(versions.read(ALPHA, "new"), versions.read(BETA, "new")))
    versions.apply(server(BETA, "new", suspend=True))
    eventually(lambda: new.part("Deployment", "api")["spec"]["replicas"] == 0)


def test_the_rules_and_the_scale_are_those_of_both_versions(kubernetes: KubernetesClient, versions: Versions) -> None:
    versions.upgrade()
    with pytest.raises(RefusedError, match="an embedded database serves one api"):
        versions.apply(server(BETA, "large", api={"replicas": 2}))
    applied = versions.apply(server(BETA, "ruled"))
    assert applied["spec"]["executors"][0]["slots"] == 1
    for version in (ALPHA, BETA):
        path = f"/apis/runtimeserver.dev/{version}/namespaces/{kubernetes.namespace}/runtimeservers/ruled/scale"
        assert kubernetes.call("GET", path)["spec"]["replicas"] == 1


def test_the_crd_of_before_can_be_applied_again(
    kubernetes: KubernetesClient, start_operator: StartOperator, versions: Versions
) -> None:
    """As by an operator of before whose Job applies its own CRD: nothing is stored in a version that it lacks."""
    versions.upgrade()
    versions.apply(server(BETA, "lab"))
    assert versions.stored() == [ALPHA]
    versions.downgrade()
    operator = start_operator()
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    eventually(lambda: lab.settled() and lab.made() == MADE)
    assert versions.read(ALPHA, "lab")["spec"]["executors"][0]["name"] == "aer"
    # Server-side apply reads the managed fields, which name a version that is not served any more: they are given up.
    with pytest.raises(RefusedError, match="invalid group/version"):
        lab.apply(suspend=True)
    kubernetes.merge("RuntimeServer", "lab", {"metadata": {"managedFields": [{}]}})
    lab.apply(suspend=True)
    eventually(lambda: lab.part("Deployment", "api")["spec"]["replicas"] == 0)
