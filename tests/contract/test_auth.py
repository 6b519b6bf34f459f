"""What the operator tells the api of those who vouch for users, the api understands."""

from pathlib import Path
from typing import Any

import pytest

from kit.kubernetes.runtime_servers import runtime_server
from qiskit_runtime_operator.render.api_settings import auth_settings
from qiskit_runtime_operator.resource.auth import JupyterHubAuth, OidcAuth
from qiskit_runtime_server.accounts.principal import IssuerName
from qiskit_runtime_server.settings import Settings

EVERYTHING: dict[str, Any] = {
    "kubernetes": {"audience": "https://lab.example.org", "namespaces": ["lab-*", "shared"]},
    "oidc": {
        "issuer": "https://id.example.org",
        "audience": "lab",
        "algorithms": ["RS256", "EdDSA"],
        "clientId": "console",
        "clientSecretRef": {"name": "openid"},
        "scopes": ["profile", "groups"],
    },
    "jupyterHub": {"url": "http://hub:8081/hub/api"},
}


def test_the_api_understands_what_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in auth_settings(runtime_server({"auth": EVERYTHING})).items():
        monkeypatch.setenv(name, value)
    settings = Settings.load()
    assert settings.auth_kubernetes_namespaces == ("lab-*", "shared")
    assert settings.auth_oidc_algorithms == ("RS256", "EdDSA")
    assert settings.auth_oidc_client_id == "console"
    assert settings.auth_oidc_client_secret_file == Path("/etc/qiskit-runtime-server/openid-client/client-secret")
    assert settings.auth_oidc_scopes == ("profile", "groups")
    assert settings.auth_jupyterhub_url == "http://hub:8081/hub/api"
    assert not settings.anonymous


def test_both_have_the_same_defaults() -> None:
    settings = Settings()
    oidc, hub = OidcAuth(issuer="https://id.example.org", audience="lab"), JupyterHubAuth(url="http://hub")
    assert (oidc.account_claim, oidc.groups_claim) == (
        settings.auth_oidc_account_claim,
        settings.auth_oidc_groups_claim,
    )
    assert oidc.algorithms == settings.auth_oidc_algorithms
    assert hub.scope == settings.auth_jupyterhub_scope


def test_every_issuer_can_be_asked_for_in_a_runtime_server() -> None:
    assert {name.lower() for name in EVERYTHING} == set(IssuerName)
