"""What the pods of the api are told: settings, secrets and volumes."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Final

from qiskit_runtime_operator.render.context import RenderContext
from qiskit_runtime_operator.render.credentials import certificates
from qiskit_runtime_operator.render.pods import Volume, key_settings, snapshot_settings, snapshot_volumes
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import KEYS, data_name
from qiskit_runtime_operator.resource.ports import API_PORT, INTERNAL_PORT

DRAIN: Final = timedelta(seconds=30)

# Longer than Kubernetes lets a pod of the api take to stop.
_DATA_WAIT_SECONDS: Final = 120
_ON_DEMAND: Final = "QRS_ON_DEMAND"
_DATA: Final = "/var/lib/qiskit-runtime-server"
_DATABASE: Final = "/etc/qiskit-runtime-server/database"
_DIRECT_DATABASE: Final = "/etc/qiskit-runtime-server/database-direct"
_TOKENS: Final = "/etc/qiskit-runtime-server/tokens"
_KUBERNETES: Final = "/etc/qiskit-runtime-server/kubernetes"
_CLIENT: Final = "/etc/qiskit-runtime-server/openid-client"
_TOKEN: Final = "token"  # noqa: S105 - the name of a file
_AUTHORITIES: Final = "ca.crt"
# In every namespace: the authorities that sign the API server's certificate.
_AUTHORITIES_CONFIG_MAP: Final = "kube-root-ca.crt"
_TOKEN_SECONDS: Final = 3600


def settings(server: RuntimeServer, context: RenderContext) -> dict[str, str]:
    """Return the variables that are no secrets."""
    return {
        **context.server_settings,
        **server.spec.api.settings,
        "QRS_HOST": "0.0.0.0",  # noqa: S104 - network policies say who gets in
        "QRS_PORT": str(API_PORT),
        "QRS_INTERNAL_PORT": str(INTERNAL_PORT),
        "QRS_DRAIN": str(int(DRAIN.total_seconds())),
        "QRS_BACKENDS": " ".join(server.spec.backends.include),
        **_further_names(server),
        **_on_demand(server),
        **snapshot_settings(server),
        **auth_settings(server),
        **_database_settings(server),
        **certificates.api_settings(server),
    }


def _further_names(server: RuntimeServer) -> dict[str, str]:
    """Return what backends are called beside DEVICE@EXECUTOR; images of older servers do not know all of it."""
    backends, found = server.spec.backends, {}
    if backends.default_executor is not None:
        found["QRS_DEFAULT_EXECUTOR"] = backends.default_executor
    if backends.auto_executors is not None:
        found["QRS_AUTO"] = " ".join(backends.auto_executors) or "off"
    if backends.aliases:
        found["QRS_ALIASES"] = " ".join(f"{name}={target}" for name, target in backends.aliases.items())
    return found


def starts_for_jobs(server: RuntimeServer) -> Sequence[str]:
    """Return which executors a job starts: those that the operator scales from zero, and what `api.settings` names."""
    said = {**server.spec.api.settings, **_on_demand(server)}.get(_ON_DEMAND, "")
    # As the server reads it: separated by blanks or commas.
    return said.replace(",", " ").split()


def _on_demand(server: RuntimeServer) -> dict[str, str]:
    scaled = [item.name for item in server.spec.executors if item.autoscale and item.autoscale.min_replicas == 0]
    said = server.spec.api.settings.get(_ON_DEMAND)
    return {_ON_DEMAND: " ".join([said, *scaled] if said else scaled)} if scaled else {}


def secret_settings(server: RuntimeServer) -> dict[str, Manifest]:
    """Return the variables whose values are in Secrets."""
    return key_settings(server, *KEYS)


def stop_delay(server: RuntimeServer) -> timedelta:
    """Return how long a pod goes on until proxies have learned that it stops; nothing where no other pod serves."""
    return timedelta(seconds=5 if server.spec.database.postgresql else 0)


def api_volumes(server: RuntimeServer) -> tuple[Volume, ...]:
    """Return the volumes: data or the database's URLs, tokens, devices of the user's own, and certificates."""
    own = (*_data(server), *_database_urls(server), *auth_volumes(server))
    return *own, *snapshot_volumes(server), *certificates.api_volumes(server)


def _database_settings(server: RuntimeServer) -> dict[str, str]:
    postgresql = server.spec.database.postgresql
    if postgresql is None:
        # A pod that was deleted may still have it; to fail and be started again takes longer than clients are patient.
        return {"QRS_DATA_DIR": _DATA, "QRS_DATA_DIR_WAIT": str(_DATA_WAIT_SECONDS)}
    files = {
        "QRS_DATABASE_URL_FILE": f"{_DATABASE}/{postgresql.url_secret_ref.key}",
        "QRS_DATABASE_PREPARED_STATEMENTS": str(postgresql.prepared_statements).lower(),
    }
    direct = postgresql.direct_url_secret_ref
    return files if direct is None else {**files, "QRS_DATABASE_DIRECT_URL_FILE": f"{_DIRECT_DATABASE}/{direct.key}"}


def _database_urls(server: RuntimeServer) -> tuple[Volume, ...]:
    """Return the Secrets as files, which follow a change of the Secret; a variable would keep the old password."""
    postgresql = server.spec.database.postgresql
    if postgresql is None:
        return ()
    url = Volume(name="database", path=_DATABASE, source={"secret": {"secretName": postgresql.url_secret_ref.name}})
    direct = postgresql.direct_url_secret_ref
    if direct is None:
        return (url,)
    source = {"secret": {"secretName": direct.name}}
    return url, Volume(name="database-direct", path=_DIRECT_DATABASE, source=source)


def _data(server: RuntimeServer) -> tuple[Volume, ...]:
    if server.spec.database.sqlite is None:
        return ()
    claim = {"persistentVolumeClaim": {"claimName": data_name(server.name)}}
    return (Volume(name="data", path=_DATA, source=claim, read_only=False),)


def auth_settings(server: RuntimeServer) -> dict[str, str]:
    """Return the variables that say whose tokens are accepted."""
    auth = server.spec.auth
    if auth.tokens_secret_ref is None and not auth.asks_others:
        return {"QRS_ANONYMOUS": "true"}
    tokens = {} if auth.tokens_secret_ref is None else {"QRS_TOKENS": _TOKENS}
    return {**tokens, **_kubernetes(server), **_oidc(server), **_jupyterhub(server)}


def auth_volumes(server: RuntimeServer) -> Iterator[Volume]:
    """Yield the folder of tokens, and what the api needs to ask the API server and the OpenID provider."""
    auth = server.spec.auth
    if auth.tokens_secret_ref is not None:
        yield Volume(name="tokens", path=_TOKENS, source={"secret": {"secretName": auth.tokens_secret_ref.name}})
    if auth.kubernetes is not None:
        token = {"serviceAccountToken": {"path": _TOKEN, "expirationSeconds": _TOKEN_SECONDS}}
        authorities = {"name": _AUTHORITIES_CONFIG_MAP, "items": [{"key": _AUTHORITIES, "path": _AUTHORITIES}]}
        sources = [token, {"configMap": authorities}]
        yield Volume(name="kubernetes", path=_KUBERNETES, source={"projected": {"sources": sources}})
    if auth.oidc is not None and auth.oidc.client_secret_ref is not None:
        # As a file, which follows a change of the Secret.
        secret = {"secret": {"secretName": auth.oidc.client_secret_ref.name}}
        yield Volume(name="openid-client", path=_CLIENT, source=secret)


def _kubernetes(server: RuntimeServer) -> dict[str, str]:
    kubernetes = server.spec.auth.kubernetes
    if kubernetes is None:
        return {}
    return {
        "QRS_AUTH_KUBERNETES_AUDIENCE": kubernetes.audience,
        "QRS_AUTH_KUBERNETES_NAMESPACES": " ".join(kubernetes.namespaces or (server.namespace,)),
        "QRS_AUTH_KUBERNETES_TOKEN_FILE": f"{_KUBERNETES}/{_TOKEN}",
        "QRS_AUTH_KUBERNETES_CA": f"{_KUBERNETES}/{_AUTHORITIES}",
    }


def _oidc(server: RuntimeServer) -> dict[str, str]:
    oidc = server.spec.auth.oidc
    if oidc is None:
        return {}
    client = {} if oidc.client_id is None else {"QRS_AUTH_OIDC_CLIENT_ID": oidc.client_id}
    if oidc.client_secret_ref is not None:
        client["QRS_AUTH_OIDC_CLIENT_SECRET_FILE"] = f"{_CLIENT}/{oidc.client_secret_ref.key}"
    if oidc.scopes:
        client["QRS_AUTH_OIDC_SCOPES"] = " ".join(oidc.scopes)
    return {
        **client,
        "QRS_AUTH_OIDC_ISSUER": oidc.issuer,
        "QRS_AUTH_OIDC_AUDIENCE": oidc.audience,
        "QRS_AUTH_OIDC_ACCOUNT_CLAIM": oidc.account_claim,
        "QRS_AUTH_OIDC_GROUPS_CLAIM": oidc.groups_claim,
        "QRS_AUTH_OIDC_ALGORITHMS": " ".join(oidc.algorithms),
    }


def _jupyterhub(server: RuntimeServer) -> dict[str, str]:
    hub = server.spec.auth.jupyter_hub
    return {} if hub is None else {"QRS_AUTH_JUPYTERHUB_URL": hub.url, "QRS_AUTH_JUPYTERHUB_SCOPE": hub.scope}
