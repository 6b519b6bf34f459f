"""Why a container that runs is not ready, as its own readiness answer says. Pure."""

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

import msgspec

from qiskit_runtime_operator.resource.model import Manifest
from qiskit_runtime_operator.resource.names import API, COMPONENT_LABEL, SERVER

# Of an answer; it is shown in the status.
_LONGEST: Final = 300


def address_to_ask(pod: Manifest) -> str | None:
    """Return the IP address of a pod of the api that runs and is not ready, and None for all others.

    The pods of executors are not asked: their network policy lets nobody in but the api.
    """
    metadata, status = pod["metadata"], pod.get("status", {})
    if "deletionTimestamp" in metadata or metadata.get("labels", {}).get(COMPONENT_LABEL) != API:
        return None
    containers = (container for container in status.get("containerStatuses", ()) if container.get("name") == SERVER)
    waits = any("running" in container.get("state", {}) and not container.get("ready") for container in containers)
    address: str | None = status.get("podIP")
    return address if waits else None


def words(status: int, body: bytes) -> str:
    """Return what an answer says against being ready; nothing, if the container is ready by now.

    Args:
        status: The HTTP status.
        body: The beginning of the answer.
    """
    if status == HTTPStatus.OK:
        return ""
    try:
        said = _messages(msgspec.json.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        said = body.decode(errors="replace").strip().partition("\n")[0]
    text = f"its readiness probe answers {status}" + f": {said}" * bool(said)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _messages(document: Any) -> str:  # noqa: ANN401 - any JSON
    if not isinstance(document, Mapping):
        return ""
    errors = document.get("errors")
    if not isinstance(errors, list):
        return str(document.get("status", ""))
    return "; ".join(str(error.get("message", "")) for error in errors if isinstance(error, Mapping))
