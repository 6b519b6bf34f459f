"""From the settings to those who vouch for users."""

from collections.abc import Iterator

from qiskit_runtime_server.accounts.issuers.authorization_code import AuthorizationCodeFlow
from qiskit_runtime_server.accounts.issuers.issuers import Issuers
from qiskit_runtime_server.accounts.issuers.jupyterhub import JupyterHubIssuer
from qiskit_runtime_server.accounts.issuers.kubernetes import KubernetesIssuer
from qiskit_runtime_server.accounts.issuers.oidc import OidcIssuer
from qiskit_runtime_server.accounts.issuers.outside import Outside
from qiskit_runtime_server.accounts.issuers.port import Issuer
from qiskit_runtime_server.accounts.issuers.published_keys import PublishedKeys
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.settings import Settings


def issuers_of(settings: Settings) -> Issuers:
    """Return the issuers that are set, the OpenID provider before the cluster, whose tokens could be its own.

    Raises:
        StartupError: If a setting that one needs is missing, or a file cannot be read.
    """
    oidc, flow = _oidc(settings)
    issuers = [*oidc, *_kubernetes(settings), *_jupyterhub(settings)]
    return Issuers(issuers, settings.auth_recheck, browser_flow=flow)


def _oidc(settings: Settings) -> tuple[list[Issuer], AuthorizationCodeFlow | None]:
    """Return the OpenID provider, and how people sign in there who come with a browser; nothing that is not set."""
    issuer, audience, client_id = (
        settings.auth_oidc_issuer,
        settings.auth_oidc_audience,
        settings.auth_oidc_client_id,
    )
    if issuer is None:
        if client_id is not None:
            raise StartupError("QRS_AUTH_OIDC_CLIENT_ID: say whose it is with QRS_AUTH_OIDC_ISSUER.")
        return [], None
    if client_id is None and settings.auth_oidc_client_secret_file is not None:
        raise StartupError("QRS_AUTH_OIDC_CLIENT_SECRET_FILE: say whose it is with QRS_AUTH_OIDC_CLIENT_ID.")
    if audience is None:
        raise StartupError(
            "QRS_AUTH_OIDC_AUDIENCE is missing: without it, a token that the provider has issued for anything would do."
        )
    outside = Outside("The OpenID provider", authorities=settings.auth_ca, setting="QRS_AUTH_CA")
    published = PublishedKeys(issuer, outside)
    oidc = OidcIssuer(
        issuer=issuer,
        audience=audience,
        account_claim=settings.auth_oidc_account_claim,
        groups_claim=settings.auth_oidc_groups_claim,
        algorithms=settings.auth_oidc_algorithms,
        keys=published,
    )
    if client_id is None:
        return [oidc], None
    flow = AuthorizationCodeFlow(
        issuer=oidc,
        client_id=client_id,
        secret_file=settings.auth_oidc_client_secret_file,
        scopes=settings.auth_oidc_scopes,
        published=published,
        outside=outside,
    )
    return [oidc], flow


def _kubernetes(settings: Settings) -> Iterator[Issuer]:
    audience = settings.auth_kubernetes_audience
    if audience is None:
        return
    if not settings.auth_kubernetes_namespaces:
        raise StartupError("QRS_AUTH_KUBERNETES_NAMESPACES is missing: say whose ServiceAccounts may sign in.")
    outside = Outside(
        "The Kubernetes API server",
        authorities=settings.auth_kubernetes_ca,
        setting="QRS_AUTH_KUBERNETES_CA",
        proxies=False,
    )
    yield KubernetesIssuer(
        url=settings.auth_kubernetes_url,
        audience=audience,
        namespaces=settings.auth_kubernetes_namespaces,
        own_token=settings.auth_kubernetes_token_file,
        outside=outside,
    )


def _jupyterhub(settings: Settings) -> Iterator[Issuer]:
    if settings.auth_jupyterhub_url is None:
        return
    yield JupyterHubIssuer(
        url=settings.auth_jupyterhub_url,
        scope=settings.auth_jupyterhub_scope,
        outside=Outside("The JupyterHub", authorities=settings.auth_ca, setting="QRS_AUTH_CA"),
    )
