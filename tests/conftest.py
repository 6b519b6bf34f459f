"""The programs of Kubernetes, and a control plane for every module that asks for one."""

import os
import secrets
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from kit.kubernetes import kueue
from kit.kubernetes.binaries import CONTROL_PLANE, BinariesUnavailableError, KubernetesBinaries
from kit.kubernetes.client import KubernetesClient
from kit.kubernetes.control_plane import running_control_plane

UNAVAILABLE = pytest.StashKey[str]()
POSTGRESQL = {"postgresql", "postgresql-pooled"}
POSTGRESQL_SERVERS = {"postgresql_server", "own_server"}
# The same examples each time, however slow the machine is; --hypothesis-profile=default looks for new ones.
settings.load_profile("ci")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--kubernetes", choices=("newest", "oldest"), default="newest", help="which release the control plane is of"
    )


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs a database: `make test-fast` leaves that out."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        stores = {value for value in callspec.params.values() if isinstance(value, str)} if callspec else set()
        if stores & POSTGRESQL or POSTGRESQL_SERVERS & {*getattr(item, "fixturenames", ())}:
            item.add_marker(pytest.mark.database)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Build what the chosen tests need before the first of them starts, for builds take longer than a test may."""
    needed = {name for item in session.items for name in getattr(item, "fixturenames", ())}
    built = {"control_plane", "helm", "kubectl", "oras", "cosign", "registry", "kueue"}
    if session.config.option.collectonly or not needed & built:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            binaries = KubernetesBinaries(session.config.option.kubernetes)
            binaries.ensure([*CONTROL_PLANE, *sorted(needed & {"helm", "kubectl"})])
            KubernetesBinaries("release").ensure(sorted(needed & {"oras", "cosign"}))
            KubernetesBinaries("registry").ensure(sorted(needed & {"registry"}))
            KubernetesBinaries(kueue.PROGRAM).ensure(sorted(needed & {kueue.PROGRAM}))
    except BinariesUnavailableError as error:
        session.config.stash[UNAVAILABLE] = str(error)


@pytest.fixture(scope="session")
def kubernetes_binaries(pytestconfig: pytest.Config) -> KubernetesBinaries:
    reason = pytestconfig.stash.get(UNAVAILABLE, None)
    if reason is None:
        return KubernetesBinaries(pytestconfig.option.kubernetes)
    if os.environ.get("CI") == "true" or os.environ.get("REQUIRE_CLUSTER") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def helm(kubernetes_binaries: KubernetesBinaries) -> Path:
    """The real helm."""
    return kubernetes_binaries.path("helm")


@pytest.fixture(scope="session")
def release_binaries(kubernetes_binaries: KubernetesBinaries) -> KubernetesBinaries:
    """What releases are made with; there, if those of Kubernetes are."""
    assert kubernetes_binaries
    return KubernetesBinaries("release")


@pytest.fixture(scope="session")
def oras(release_binaries: KubernetesBinaries) -> Path:
    """The program that puts the chart into an OCI layout."""
    return release_binaries.path("oras")


@pytest.fixture(scope="session")
def cosign(release_binaries: KubernetesBinaries) -> Path:
    """The program that signs releases. Its build takes ten minutes."""
    return release_binaries.path("cosign")


@pytest.fixture(scope="session")
def registry(kubernetes_binaries: KubernetesBinaries) -> Path:
    """The program of a registry of images and charts; there, if those of Kubernetes are."""
    assert kubernetes_binaries
    return KubernetesBinaries("registry").path("registry")


@pytest.fixture(scope="session")
def kubectl(kubernetes_binaries: KubernetesBinaries) -> Path:
    """The real kubectl."""
    return kubernetes_binaries.path("kubectl")


@pytest.fixture(scope="session", name="kueue")
def kueue_program(kubernetes_binaries: KubernetesBinaries) -> Path:  # noqa: ARG001 - it says whether there can be one
    """The real Kueue."""
    return KubernetesBinaries(kueue.PROGRAM).path(kueue.PROGRAM)


@pytest.fixture(scope="module")
def control_plane(kubernetes_binaries: KubernetesBinaries) -> Iterator[Path]:
    """The administrator's kubeconfig of a control plane, which ends with the module: it computes all the time."""
    with running_control_plane(kubernetes_binaries.release) as kubeconfig:
        yield kubeconfig


@pytest.fixture
def kubernetes(control_plane: Path) -> Iterator[KubernetesClient]:
    """An administrator's client, in a namespace of its own, which goes with the control plane.

    To delete one takes the API server and its controllers as long as many a test. What is in it is nobody's any more.
    """
    client = KubernetesClient(control_plane, namespace=f"test-{secrets.token_hex(4)}")
    client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": client.namespace}})
    yield client
    client.close()
