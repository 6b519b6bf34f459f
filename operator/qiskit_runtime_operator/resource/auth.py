"""Who may use a RuntimeServer."""

from pydantic.dataclasses import dataclass

from qiskit_runtime_operator.resource.pod_template import STRICT


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class TokensSecret:
    """A Secret with one key per account."""

    name: str


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class KubernetesAuth:
    """Which ServiceAccounts may sign in; those of the RuntimeServer's own namespace unless others are named."""

    audience: str
    namespaces: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class ClientSecret:
    """A key of a Secret, which holds what an OpenID provider knows a client by."""

    name: str
    key: str = "client-secret"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class OidcAuth:
    """An OpenID provider, what its tokens have to say, and as which client the console signs people in there."""

    issuer: str
    audience: str
    account_claim: str = "sub"
    groups_claim: str = "groups"
    algorithms: tuple[str, ...] = ("RS256", "ES256")
    client_id: str | None = None
    client_secret_ref: ClientSecret | None = None
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class JupyterHubAuth:
    """A JupyterHub, and the scope that its tokens need."""

    url: str
    scope: str = "access:services!service=qiskit-runtime-server"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Auth:
    """Who may use the server; anybody who reaches it unless there are tokens, or somebody vouches for users."""

    tokens_secret_ref: TokensSecret | None = None
    anonymous: bool = False
    kubernetes: KubernetesAuth | None = None
    oidc: OidcAuth | None = None
    jupyter_hub: JupyterHubAuth | None = None

    @property
    def asks_others(self) -> bool:
        """Whether the api calls somebody outside of the RuntimeServer about tokens."""
        return any(issuer is not None for issuer in (self.kubernetes, self.oidc, self.jupyter_hub))
