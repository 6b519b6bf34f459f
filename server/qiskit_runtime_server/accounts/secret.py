"""A Kubernetes Secret of tokens, changed as a folder is: read, changed in a folder of its own, and written back."""

import base64
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from qiskit_runtime_server.errors import AccountsFileError

_PREFIX: Final = "secret"
_CONFLICT: Final = 409
_NOT_FOUND: Final = 404


@dataclass(frozen=True, slots=True, kw_only=True)
class SecretName:
    """Which Secret; without a namespace it is in that of the current context."""

    name: str
    namespace: str | None = None

    def __str__(self) -> str:
        return "/".join(part for part in (_PREFIX, self.namespace, self.name) if part)


def secret_name(folder: Path) -> SecretName | None:
    """Return the Secret that `secret/NAME` or `secret/NAMESPACE/NAME` names; None if it is a folder."""
    parts = folder.parts
    if folder.exists() or not parts or parts[0] != _PREFIX or len(parts) not in (2, 3):
        return None
    return SecretName(name=parts[-1], namespace=parts[1] if len(parts) == 3 else None)  # noqa: PLR2004 - as above


def manifest(name: SecretName, folder: Path) -> dict[str, Any]:
    """Return a Secret that holds what is in a folder, for `kubectl apply --server-side`, which keeps other accounts."""
    metadata = {"name": name.name} if name.namespace is None else {"name": name.name, "namespace": name.namespace}
    return {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "metadata": metadata, "data": _data(folder)}


@contextmanager
def folder_of(name: SecretName, *, make: bool = False) -> Iterator[Path]:
    """Give a folder with what the Secret holds, and write it back if it has changed.

    Args:
        name: Which Secret.
        make: Whether to make one if there is none.

    Raises:
        AccountsFileError: If the Secret is not there, cannot be read or written, or has changed meanwhile.
        ModuleNotFoundError: If the client of Kubernetes is not installed.
    """
    from kubernetes import client, config  # noqa: PLC0415 - an extra, and slow

    configuration = client.Configuration()
    try:
        config.load_config(client_configuration=configuration)
    except (config.ConfigException, OSError) as error:
        raise AccountsFileError(f"No cluster is known, so {name} cannot be reached: {error}") from error
    core, namespace = client.CoreV1Api(client.ApiClient(configuration)), name.namespace or _current_namespace(config)
    try:
        secret = _read(core, client.ApiException, name.name, namespace)
        if secret is None and not make:
            raise AccountsFileError(f"There is no Secret {name.name} in the namespace {namespace}.")
        before: Mapping[str, str] = (secret.data or {}) if secret else {}
        with tempfile.TemporaryDirectory(prefix="qiskit-runtime-server-") as temporary:
            folder = Path(temporary)
            for key, value in before.items():
                (folder / key).write_bytes(base64.b64decode(value))
            yield folder
            made = manifest(name, folder)
            after = made["data"]
        if secret is None:
            core.create_namespaced_secret(namespace, made)
        elif after != before:
            # With its resourceVersion, so that what somebody else has changed meanwhile is not lost.
            secret.data = after
            core.replace_namespaced_secret(name.name, namespace, secret)
    except client.ApiException as error:
        if error.status == _CONFLICT:
            raise AccountsFileError(f"{name} has been changed meanwhile; nothing was written. Try again.") from error
        raise AccountsFileError(f"{name} cannot be changed: {_reason(error)}") from error
    finally:
        core.api_client.close()


def _read(core: Any, failure: type[Exception], name: str, namespace: str) -> Any:  # noqa: ANN401 - not typed
    try:
        return core.read_namespaced_secret(name, namespace)
    except failure as error:
        if getattr(error, "status", None) == _NOT_FOUND:
            return None
        raise


def _current_namespace(config: Any) -> str:  # noqa: ANN401 - not typed
    try:
        _, active = config.list_kube_config_contexts()
    except config.ConfigException:  # within a pod
        return "default"
    return str((active or {}).get("context", {}).get("namespace") or "default")


def _data(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    return {path.name: base64.b64encode(path.read_bytes()).decode() for path in files}


def _reason(error: Any) -> str:  # noqa: ANN401 - not typed
    """Return what the API server says, else the status."""
    try:
        return str(json.loads(error.body)["message"])
    except (TypeError, ValueError, KeyError):
        return f"{error.status} {error.reason}"
