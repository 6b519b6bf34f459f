"""ServiceAccounts sign in: their tokens are reviewed by a real API server, with the rights that the chart gives."""

import json
from base64 import b64decode
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from qiskit_ibm_runtime.executor_sampler import Sampler

from kit.kubernetes.audit import Right, used
from kit.kubernetes.charts import rendered
from kit.kubernetes.client import KubernetesClient, Manifest, eventually
from kit.kubernetes.lab import Lab
from kit.server.http_jobs import circuit_of
from kit.server.server_process import ServerProcess, running_server
from qiskit_runtime_server.client import connect

AUDIENCE = "https://lab.example.org"
GROUPS = """
[groups.students]
members = ["kubernetes:system:serviceaccounts:*"]
qubits = 3
"""


def token_of(kubernetes: KubernetesClient, account: str, *audiences: str, namespace: str | None = None) -> str:
    path = f"/api/v1/namespaces/{namespace or kubernetes.namespace}/serviceaccounts/{account}/token"
    spec = {"audiences": list(audiences)} if audiences else {}
    request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    return str(kubernetes.call("POST", path, request)["status"]["token"])


def service_account(kubernetes: KubernetesClient, name: str) -> None:
    kubernetes.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": name}})


@pytest.fixture(scope="module")
def lab(shared_lab: Lab) -> Iterator[Lab]:
    """A RuntimeServer that ServiceAccounts sign in to, for all tests."""
    lab = replace(shared_lab, name="sign-in")
    lab.apply(auth={"kubernetes": {"audience": AUDIENCE}})
    lab.settled()
    yield lab
    lab.kubernetes.delete("RuntimeServer", lab.name)


@pytest.fixture
def reviewers(lab: Lab, helm: Path, tmp_path: Path) -> Iterator[list[Manifest]]:
    """What the chart makes of the value that lets the api review tokens; it is deleted afterwards."""
    values = {"rbac": {"tokenReviewers": [f"{lab.kubernetes.namespace}/{lab.name}"]}}
    made = [item for item in rendered(helm, tmp_path, values) if item["metadata"]["name"].endswith("-token-reviewer")]
    assert [item["kind"] for item in made] == ["ClusterRole", "ClusterRoleBinding"]
    yield made
    for item in made:
        if lab.kubernetes.find(item["kind"], item["metadata"]["name"]):
            lab.kubernetes.delete(item["kind"], item["metadata"]["name"])


@pytest.fixture(scope="module")
def api(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with the settings of the api's pods, and with its ServiceAccount's token."""
    folder = tmp_path_factory.mktemp("api")
    settings = {name: value for name, value in lab.part("ConfigMap", "api")["data"].items() if "_AUTH_" in name}
    cluster = json.loads(lab.kubernetes.kubeconfig.read_text())["clusters"][0]["cluster"]
    authority, own, tokens = folder / "ca.crt", folder / "token", folder / "tokens"
    authority.write_bytes(
        b64decode(cluster["certificate-authority-data"])
        if "certificate-authority-data" in cluster
        else Path(cluster["certificate-authority"]).read_bytes()
    )
    own.write_text(token_of(lab.kubernetes, f"{lab.name}-api"))
    tokens.mkdir()
    (tokens / "accounts.toml").write_text(GROUPS)
    here = {
        "QRS_AUTH_KUBERNETES_URL": cluster["server"],
        "QRS_AUTH_KUBERNETES_CA": str(authority),
        "QRS_AUTH_KUBERNETES_TOKEN_FILE": str(own),
        "QRS_AUTH_RECHECK": "5s",
        "QRS_TOKENS": str(tokens),
    }
    with running_server(folder / "data", "--executors=aer=1", **{**settings, **here}) as server:
        yield server


def status(server: ServerProcess, token: str) -> int:
    return httpx.post(f"{server.url}/identity/token", data={"apikey": token}, timeout=30).status_code


def test_a_service_account_runs_a_job_once_the_api_may_review_tokens(
    lab: Lab, api: ServerProcess, reviewers: list[Manifest], monkeypatch: pytest.MonkeyPatch
) -> None:
    kubernetes = lab.kubernetes
    name = f"runner-{lab.name}"
    service_account(kubernetes, name)
    token = token_of(kubernetes, name, AUDIENCE)
    # Nobody is called wrong whom the server cannot ask about.
    assert status(api, token) == 503
    for item in reviewers:
        kubernetes.create(item)
    eventually(lambda: status(api, token) == 200, seconds=30)

    for variable in ("IAM_URL", "GLOBAL_SEARCH_URL", "GLOBAL_CATALOG_URL"):
        monkeypatch.setenv(variable, "")  # connect sets them; they are put back afterwards
    service = connect(api.url, token)
    job = Sampler(service.backend("fake_manila@aer")).run([circuit_of()], shots=10)
    assert job.result()[0].data.c.get_counts()["1"] >= 5
    assert [instance["name"] for instance in service.instances()] == ["students"]

    # One that was made for the API server itself would have the power of its owner there.
    for audiences in ((), ("https://another.example.org",)):
        assert status(api, token_of(kubernetes, name, *audiences)) == 400
    kubernetes.delete("ServiceAccount", name)
    eventually(lambda: status(api, token) == 400, seconds=30)

    account = f"{kubernetes.namespace}:{lab.name}-api"
    assert used(kubernetes.kubeconfig, account) == {Right("authentication.k8s.io", "tokenreviews", "create")}


def test_other_namespaces_are_not_let_in(
    lab: Lab, api: ServerProcess, reviewers: list[Manifest], kubernetes: KubernetesClient
) -> None:
    for item in reviewers:
        lab.kubernetes.create(item)
    service_account(kubernetes, "stranger")
    service_account(lab.kubernetes, f"known-{lab.name}")
    eventually(lambda: status(api, token_of(lab.kubernetes, f"known-{lab.name}", AUDIENCE)) == 200, seconds=30)
    assert status(api, token_of(kubernetes, "stranger", AUDIENCE)) == 400


def test_the_pods_of_the_api_get_a_token_and_no_others_do(lab: Lab) -> None:
    api = str(lab.part("Deployment", "api")["spec"]["template"]["spec"])
    assert "serviceAccountToken" in api
    assert "'automountServiceAccountToken': False" in api
    assert "serviceAccountToken'" not in str(
        lab.part("Deployment", "executor-aer")["spec"]["template"]["spec"]["volumes"]
    )
