"""Who may use a server: what its api is told, what it may reach, and that nobody is let in by a slip."""

from typing import Any

import pytest

from kit.kubernetes.runtime_servers import render_context, runtime_server
from qiskit_runtime_operator.render import render
from qiskit_runtime_operator.render.api_settings import auth_settings, auth_volumes
from qiskit_runtime_operator.resource.model import Manifest

AUDIENCE = "https://lab.example.org"
ISSUERS: dict[str, dict[str, Any]] = {
    "kubernetes": {"audience": AUDIENCE},
    "oidc": {"issuer": "https://id.example.org", "audience": "lab"},
    "jupyterHub": {"url": "http://hub:8081/hub/api"},
}


def told(**auth: Any) -> dict[str, str]:
    return auth_settings(runtime_server({"auth": auth}))


def of_the_api(kind: str, auth: dict[str, Any]) -> Manifest:
    manifests = render(runtime_server({"auth": auth}), render_context())
    (found,) = (item for item in manifests if item["kind"] == kind and item["metadata"]["name"] == "lab-api")
    return found


def test_service_accounts_of_the_own_namespace_are_let_in_unless_others_are_named() -> None:
    server = runtime_server({"auth": {"kubernetes": ISSUERS["kubernetes"]}})
    assert auth_settings(server) == {
        "QRS_AUTH_KUBERNETES_AUDIENCE": AUDIENCE,
        "QRS_AUTH_KUBERNETES_NAMESPACES": server.namespace,
        "QRS_AUTH_KUBERNETES_TOKEN_FILE": "/etc/qiskit-runtime-server/kubernetes/token",
        "QRS_AUTH_KUBERNETES_CA": "/etc/qiskit-runtime-server/kubernetes/ca.crt",
    }
    others = told(kubernetes={"audience": AUDIENCE, "namespaces": ["lab-*", "shared"]})
    assert others["QRS_AUTH_KUBERNETES_NAMESPACES"] == "lab-* shared"


def test_the_api_has_a_token_of_its_own_only_to_review_those_of_others() -> None:
    (volume,) = auth_volumes(runtime_server({"auth": {"kubernetes": ISSUERS["kubernetes"]}}))
    assert [next(iter(source)) for source in volume.source["projected"]["sources"]] == [
        "serviceAccountToken",
        "configMap",
    ]
    for auth in ({"oidc": ISSUERS["oidc"]}, {"jupyterHub": ISSUERS["jupyterHub"]}, {}):
        assert "serviceAccountToken" not in str(of_the_api("Deployment", auth))


def test_a_provider_and_a_hub_are_told_with_their_defaults() -> None:
    assert told(oidc=ISSUERS["oidc"], jupyterHub=ISSUERS["jupyterHub"], tokensSecretRef={"name": "tokens"}) == {
        "QRS_TOKENS": "/etc/qiskit-runtime-server/tokens",
        "QRS_AUTH_OIDC_ISSUER": "https://id.example.org",
        "QRS_AUTH_OIDC_AUDIENCE": "lab",
        "QRS_AUTH_OIDC_ACCOUNT_CLAIM": "sub",
        "QRS_AUTH_OIDC_GROUPS_CLAIM": "groups",
        "QRS_AUTH_OIDC_ALGORITHMS": "RS256 ES256",
        "QRS_AUTH_JUPYTERHUB_URL": "http://hub:8081/hub/api",
        "QRS_AUTH_JUPYTERHUB_SCOPE": "access:services!service=qiskit-runtime-server",
    }


def test_the_secret_of_a_client_is_a_file_of_the_api_s_and_nothing_is_said_of_it_elsewhere() -> None:
    oidc = {**ISSUERS["oidc"], "clientId": "console", "clientSecretRef": {"name": "openid", "key": "secret"}}
    found = told(oidc=oidc)
    assert found["QRS_AUTH_OIDC_CLIENT_ID"] == "console"
    file = "/etc/qiskit-runtime-server/openid-client/secret"
    assert found["QRS_AUTH_OIDC_CLIENT_SECRET_FILE"] == file
    (volume,) = auth_volumes(runtime_server({"auth": {"oidc": oidc}}))
    assert (volume.path, volume.source) == (
        "/etc/qiskit-runtime-server/openid-client",
        {"secret": {"secretName": "openid"}},
    )
    public = {**ISSUERS["oidc"], "clientId": "console"}
    assert "QRS_AUTH_OIDC_CLIENT_SECRET_FILE" not in told(oidc=public)
    assert list(auth_volumes(runtime_server({"auth": {"oidc": public}}))) == []


@pytest.mark.parametrize("issuer", ISSUERS)
def test_where_somebody_vouches_for_users_nobody_is_anonymous_and_the_api_may_reach_them(issuer: str) -> None:
    auth = {issuer: ISSUERS[issuer]}
    assert "QRS_ANONYMOUS" not in told(**auth)
    assert of_the_api("NetworkPolicy", auth)["spec"]["policyTypes"] == ["Ingress"]
    assert of_the_api("NetworkPolicy", {})["spec"]["policyTypes"] == ["Ingress", "Egress"]
