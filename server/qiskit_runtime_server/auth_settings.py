"""The settings of sign-in with tokens that others issue: Kubernetes, an OpenID provider, JupyterHub."""

from datetime import timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from qiskit_runtime_server.quantities import Period, Words

# Signatures by a private key only: what the issuer publishes must never be what somebody can sign with.
_ALGORITHMS: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
_LONGEST_RECHECK: Final = timedelta(hours=1)
_POD: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _url(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise ValueError(f"{value!r} is no address, as in https://id.example.org")
    if parts.username is not None or parts.query or parts.fragment:
        raise ValueError("give the address alone, without a user, a query or a fragment")
    return value


def is_safe(url: str) -> bool:
    """Return whether nobody on the way can answer in place of what is at this address: HTTPS, or this machine."""
    parts = urlsplit(url)
    return parts.scheme == "https" or (parts.scheme == "http" and _is_loopback(parts.hostname or ""))


def _safe_url(value: str) -> str:
    if not is_safe(_url(value)):
        raise ValueError(f"{value!r} is not https: whoever is on the way could sign in as anybody")
    return value


def _algorithms(value: tuple[str, ...]) -> tuple[str, ...]:
    for name in value:
        if name not in _ALGORITHMS:
            raise ValueError(f"{name!r} is none of {', '.join(_ALGORITHMS)}")
    return value


def _soon_enough(value: timedelta) -> timedelta:
    if value > _LONGEST_RECHECK:
        raise ValueError("tokens that are revoked would work for too long: give at most 1h")
    return value


Text = Annotated[str, Field(min_length=1)]
Url = Annotated[str, AfterValidator(_url)]
SafeUrl = Annotated[str, AfterValidator(_safe_url)]
Algorithms = Annotated[Words, Field(min_length=1), AfterValidator(_algorithms)]


class AuthSettings(BaseSettings):
    """Who vouches for users, beside the server's own tokens."""

    model_config = SettingsConfigDict(use_attribute_docstrings=True)

    auth_kubernetes_audience: Text | None = None
    """Accept tokens of Kubernetes ServiceAccounts that were made for this audience, and for no other.

    The API server is asked by a TokenReview, which the server's own ServiceAccount has to be allowed to create.
    """

    auth_kubernetes_namespaces: Words = ()
    """Namespaces whose ServiceAccounts may sign in: patterns as in `lab-*`, separated by blanks or commas.

    Has to be given with an audience; `*` is every ServiceAccount of the cluster.
    """

    auth_kubernetes_url: SafeUrl = "https://kubernetes.default.svc"
    """Where the API server is."""

    auth_kubernetes_token_file: Path = _POD / "token"
    """File with the token that the server itself shows to the API server; it is read for each call."""

    auth_kubernetes_ca: Path = _POD / "ca.crt"
    """PEM file with the authorities that sign the API server's certificate."""

    auth_oidc_issuer: SafeUrl | None = None
    """Accept access tokens and ID tokens of this OpenID provider, as in `https://id.example.org/realms/lab`.

    They have to be signed JWTs. The address is what tokens have as `iss`, to the letter.
    """

    auth_oidc_audience: Text | None = None
    """What such tokens have to have as `aud`, as in `qiskit-runtime-server`; compulsory with an issuer."""

    auth_oidc_account_claim: Text = "sub"
    """The claim that names the account. Others than `sub` may be given to another person one day: ask the provider.

    Of `email` only addresses count that the provider says are verified.
    """

    auth_oidc_groups_claim: Text = "groups"
    """The claim with the user's groups; parts of a nested one are joined by dots, as in `realm_access.roles`."""

    auth_oidc_algorithms: Algorithms = ("RS256", "ES256")
    """How such tokens may be signed: RS, PS, ES with 256, 384 or 512, and EdDSA."""

    auth_oidc_client_id: Text | None = None
    """What the provider calls this server, if people are to sign in to the console there (authorization code, PKCE).

    Register `https://HOST/ui/sign-in/openid/callback` there as the redirect URI.
    """

    auth_oidc_client_secret_file: Path | None = None
    """File with the secret that goes with the client ID, read for each sign-in; none for a public client."""

    auth_oidc_scopes: Words = ()
    """Scopes to ask for beside `openid`, as in `profile groups`, if ID tokens have claims only with them."""

    auth_jupyterhub_url: Url | None = None
    """Accept API tokens of this JupyterHub: the address of its REST API, as in `https://hub.example.org/hub/api`."""

    auth_jupyterhub_scope: str = "access:services!service=qiskit-runtime-server"
    """The scope that a token of the hub needs; empty is any token, also one that was given to another service."""

    auth_ca: Path | None = None
    """PEM file with the authorities that sign the certificates of the provider and of the hub.

    By default those of the system.
    """

    auth_recheck: Annotated[Period, AfterValidator(_soon_enough)] = timedelta(minutes=1)
    """For how long an answer about a token holds, and an access token that was traded for one that can be revoked.

    A token that Kubernetes or JupyterHub revokes works for up to twice as long, and ten seconds.
    """
