"""The only Kubernetes I/O beside kopf's watches: reads and writes of single objects, as plain manifests."""

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from typing import Any, Final

import aiohttp
import msgspec

from qiskit_runtime_operator.cluster.connection import Connection
from qiskit_runtime_operator.cluster.managed_fields import inherited
from qiskit_runtime_operator.errors import ClusterError, ConflictError, MissingError, RefusedError, StaleError
from qiskit_runtime_operator.metrics import WriteMetrics
from qiskit_runtime_operator.resource.kinds import EVENTS, SERVERS, ResourceKind
from qiskit_runtime_operator.resource.model import Manifest
from qiskit_runtime_operator.resource.names import API_VERSION, KIND, MANAGER, OPERATOR
from qiskit_runtime_operator.status.notes import Note

_JSON: Final = "application/json"
_JSON_PATCH: Final = "application/json-patch+json"
_MERGE: Final = "application/merge-patch+json"
# With the character set, which the API server takes no notice of, the official client hands bytes on as they are.
_APPLY: Final = "application/apply-patch+yaml; charset=utf-8"
_PAGE: Final = 500
# The name of what the official client sends, a token, in its own terms.
_AUTHENTICATION: Final = ["BearerToken"]
_CONFLICT_REASON: Final = "FieldManagerConflict"
# Busy or broken: nothing is wrong with the request.
_PASSING: Final = {
    HTTPStatus.UNAUTHORIZED,
    HTTPStatus.REQUEST_TIMEOUT,
    HTTPStatus.GONE,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


def collection_path(kind: ResourceKind, namespace: str | None) -> str:
    """Return where the objects of a kind are, in one namespace or in all."""
    prefix = f"/apis/{kind.api_version}" if "/" in kind.api_version else f"/api/{kind.api_version}"
    return f"{prefix}/{kind.plural}" if namespace is None else f"{prefix}/namespaces/{namespace}/{kind.plural}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """Objects of one kind, as they were at one moment.

    Attributes:
        objects: All that were asked for.
        version: The resource version of that moment.
    """

    objects: Sequence[Manifest]
    version: int


class Cluster:
    """Requests to one API server.

    All methods raise ClusterError or one of its kinds, and those that write also what `time_to_write` raises.

    Args:
        connection: Leads to it.
        time_to_write: Returns for how long writing is safe; asked before each write, which must be over by then.
        metrics: Where writes are counted.
        manager: The field manager of what is written.
        limit: How long a request may take.

    Attributes:
        manager: The same.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        time_to_write: Callable[[], timedelta],
        metrics: WriteMetrics,
        manager: str = MANAGER,
        limit: timedelta = timedelta(seconds=30),
    ) -> None:
        self._connection = connection
        self._time_to_write = time_to_write
        self._metrics = metrics
        self.manager = manager
        self._limit = limit

    async def get(self, kind: ResourceKind, namespace: str | None, name: str) -> Manifest | None:
        """Return an object, or None if there is none of that name."""
        return await self._find(f"{collection_path(kind, namespace)}/{name}")

    async def look_up(self, kind: ResourceKind, namespace: str, name: str) -> Manifest | None:
        """Do as `get` does, from the API server's cache: cheaper, and a moment behind."""
        return await self._find(f"{collection_path(kind, namespace)}/{name}", {"resourceVersion": "0"})

    async def list(self, kind: ResourceKind, namespace: str | None, selector: str = "") -> Listing:
        """Return the objects of a kind that have the labels, in one namespace or in all."""
        found: list[Manifest] = []
        query = {"labelSelector": selector, "limit": str(_PAGE)}
        while True:
            page = await self._send("GET", collection_path(kind, namespace), limit=self._limit, query=query)
            found += page["items"]
            rest = page["metadata"].get("continue")
            if not rest:
                return Listing(objects=found, version=int(page["metadata"]["resourceVersion"]))
            query["continue"] = rest

    async def serves(self, group_version: str, plural: str) -> bool:
        """Tell whether the API server knows a kind."""
        listing = await self._find(f"/apis/{group_version}")
        return any(resource["name"] == plural for resource in (listing or {}).get("resources", ()))

    async def apply(
        self,
        kind: ResourceKind,
        manifest: Manifest,
        *,
        uid: str | None,
        version: str | None = None,
        force: bool = False,
    ) -> Manifest:
        """Apply a manifest and return the object.

        Args:
            kind: Of the manifest.
            manifest: What is wanted.
            uid: Of the object that is there, or None if there is none; another one than that is not touched.
            version: The only resource version of the object that is touched; None if any is.
            force: Whether to take fields that other managers have set.

        Raises:
            ConflictError: If other managers have set some of its fields to other values, unless forced.
            StaleError: If `uid` or `version` is not that of what is there.
        """
        metadata = manifest["metadata"]
        path = f"{collection_path(kind, metadata['namespace'])}/{metadata['name']}"
        there = {name: value for name, value in (("uid", uid), ("resourceVersion", version)) if value is not None}
        body = {**manifest, "metadata": {**metadata, **there}}
        query = {"fieldManager": self.manager, "force": str(force).lower()}
        applied = await self._write("PATCH", path, _yaml(body), query=query, content_type=_APPLY)
        self._metrics.written(kind, "apply")
        return applied

    async def overlay(self, kind: ResourceKind, manifest: Manifest, *, uid: str) -> None:
        """Set the fields of a manifest in the object with this UID; its lists then hold nothing else."""
        metadata = manifest["metadata"]
        path = f"{collection_path(kind, metadata['namespace'])}/{metadata['name']}"
        body = {**manifest, "metadata": {**metadata, "uid": uid}}
        await self._write("PATCH", path, body, query={"fieldManager": self.manager}, content_type=_MERGE)

    async def reset(self, kind: ResourceKind, manifest: Manifest, *, uid: str, version: str) -> None:
        """Replace the parts of an object that a manifest has: nothing of others is left in them.

        Raises:
            RefusedError: Also if the object has another UID.
            StaleError: If it has another resource version.
        """
        metadata = manifest["metadata"]
        path = f"{collection_path(kind, metadata['namespace'])}/{metadata['name']}"
        parts = manifest.keys() - {"apiVersion", "kind", "metadata"}
        patch: list[Manifest] = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": version},
        ]
        patch += [{"op": "add", "path": f"/{part}", "value": manifest[part]} for part in sorted(parts)]
        await self._write("PATCH", path, patch, query={"fieldManager": self.manager}, content_type=_JSON_PATCH)

    async def inherit(self, kind: ResourceKind, namespace: str, name: str, uid: str) -> None:
        """Make the fields of the object with this UID that operators of other releases have applied one's own.

        Otherwise what they rendered, and this operator does not, would stay for ever.

        Raises:
            StaleError: If the object is another one by now, or is being changed.
        """
        live = await self.get(kind, namespace, name)
        if live is None or live["metadata"]["uid"] != uid:
            raise StaleError(f"{kind.kind} {name} has been replaced by another object of this name")
        patch = [
            {"op": "replace", "path": "/metadata/managedFields", "value": inherited(live, self.manager)},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
        ]
        path = f"{collection_path(kind, namespace)}/{name}"
        await self._write("PATCH", path, patch, query={"fieldManager": self.manager}, content_type=_JSON_PATCH)
        self._metrics.written(kind, "inherit")

    async def create(self, kind: ResourceKind, manifest: Manifest) -> bool:
        """Create an object; False if there is one of that name."""
        path = collection_path(kind, manifest["metadata"]["namespace"])
        try:
            await self._write("POST", path, manifest, query={"fieldManager": self.manager})
        except StaleError:
            return False
        self._metrics.written(kind, "create")
        return True

    async def replace(self, kind: ResourceKind, manifest: Manifest) -> Manifest:
        """Replace an object.

        Raises:
            StaleError: If it is not of the resource version in `manifest` any more.
        """
        metadata = manifest["metadata"]
        path = f"{collection_path(kind, metadata.get('namespace'))}/{metadata['name']}"
        return await self._write("PUT", path, manifest, query={"fieldManager": self.manager})

    async def delete(self, kind: ResourceKind, namespace: str, name: str, uid: str) -> None:
        """Delete the object with this UID; what it owns goes after it. It may be gone already."""
        body = {"preconditions": {"uid": uid}, "propagationPolicy": "Background"}
        with suppress(StaleError, MissingError):
            await self._write("DELETE", f"{collection_path(kind, namespace)}/{name}", body)
            self._metrics.written(kind, "delete")

    async def write_status(self, namespace: str, name: str, uid: str, status: Mapping[str, Any]) -> Manifest | None:
        """Replace the status of a RuntimeServer; None if that is gone. RefusedError if another one has its name by now.

        A JSON patch, because an older CRD leaves out fields that it does not have. Server-side apply would refuse them.
        """
        same: list[Manifest] = [{"op": "test", "path": "/metadata/uid", "value": uid}]
        if OPERATOR in status:
            # Somebody else may have claimed it a moment ago.
            same.append({"op": "test", "path": f"/status/{OPERATOR}", "value": status[OPERATOR]})
        return await self._write_status(namespace, name, [*same, {"op": "add", "path": "/status", "value": status}])

    async def write_claim(
        self, namespace: str, name: str, uid: str, status: Mapping[str, Any], version: int
    ) -> Manifest | None:
        """Replace the status of a RuntimeServer; None if that is gone, or not of this resource version any more."""
        patch: list[Manifest] = [
            {"op": "test", "path": "/metadata/uid", "value": uid},
            {"op": "replace", "path": "/metadata/resourceVersion", "value": str(version)},
            {"op": "add", "path": "/status", "value": status},
        ]
        return await self._write_status(namespace, name, patch)

    async def _write_status(self, namespace: str, name: str, patch: Sequence[Mapping[str, Any]]) -> Manifest | None:
        path = f"{collection_path(SERVERS, namespace)}/{name}/status"
        query = {"fieldManager": self.manager}
        try:
            written = await self._write("PATCH", path, patch, query=query, content_type=_JSON_PATCH)
        except (StaleError, MissingError):
            return None
        self._metrics.written(SERVERS, "status")
        return written

    async def post_event(self, namespace: str, name: str, uid: str, note: Note, count: int = 1) -> None:
        """Tell those who look at a RuntimeServer what happened to it, and how often it did."""
        now = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{name}-", "namespace": namespace},
            "involvedObject": {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "name": name,
                "namespace": namespace,
                "uid": uid,
            },
            "type": note.type,
            "reason": note.reason,
            "message": note.message,
            "source": {"component": MANAGER},
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": count,
        }
        await self.create(EVENTS, event)

    async def _find(self, path: str, query: Mapping[str, str] | None = None) -> Manifest | None:
        try:
            return await self._send("GET", path, limit=self._limit, query=query)
        except MissingError:
            return None

    async def _write(
        self, method: str, path: str, body: object, *, query: Mapping[str, str] | None = None, content_type: str = _JSON
    ) -> Manifest:
        limit = min(self._time_to_write(), self._limit)
        return await self._send(method, path, limit=limit, query=query, content=(content_type, body))

    async def _send(
        self,
        method: str,
        path: str,
        *,
        limit: timedelta,
        query: Mapping[str, str] | None = None,
        content: tuple[str, object] | None = None,
    ) -> Manifest:
        content_type, body = content or (_JSON, None)
        try:
            answer = await self._connection.client.call_api(
                path,
                method,
                query_params=list((query or {}).items()),
                header_params={"Accept": _JSON, "Content-Type": content_type},
                body=body,
                auth_settings=_AUTHENTICATION,
                _request_timeout=_timeout(limit),
                _preload_content=False,  # manifests stay plain, and the library logs nothing of them
            )
            said = await answer.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise ClusterError(f"{method} {path}: {str(error) or type(error).__name__}") from error
        if answer.status == HTTPStatus.UNAUTHORIZED:
            self._connection.refused()
        if answer.ok:
            document: Manifest = msgspec.json.decode(said)
            return document
        raise _failure(f"{method} {path}", answer.status, answer.headers.get("Retry-After", ""), said)


def _yaml(document: Manifest) -> bytes:
    """Return JSON that a reader of YAML takes as it is meant.

    Such a reader refuses the pairs of escapes that stand for characters beyond 16 bits, as emoji; and some of the
    others are ends of lines to it, or nothing, unless they are escaped.
    """
    text = json.dumps(document, ensure_ascii=False)
    return re.sub("[\x7f-\uffff]", lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def _timeout(limit: timedelta) -> aiohttp.ClientTimeout:
    """Return the limit of a request to the moment; aiohttp would round those above five seconds up."""
    return aiohttp.ClientTimeout(total=limit.total_seconds(), ceil_threshold=math.inf)


def _failure(what: str, code: int, retry_after: str, content: bytes) -> ClusterError:
    status = _status_of(content)
    message = status.get("message") or f"{what}: HTTP {code}"
    causes = (status.get("details") or {}).get("causes") or []
    managers = [_manager_of(cause) for cause in causes if cause.get("reason") == _CONFLICT_REASON]
    if managers:
        return ConflictError(message, managers)
    if code == HTTPStatus.NOT_FOUND:
        return MissingError(message)
    if code == HTTPStatus.CONFLICT:
        return StaleError(message)
    if code in _PASSING:
        wait = timedelta(seconds=int(retry_after)) if retry_after.isdecimal() else None
        return ClusterError(message, wait)
    return RefusedError(message)


def _status_of(content: bytes) -> Manifest:
    """Return the Status that an error comes with; proxies in between send something else."""
    try:
        status = msgspec.json.decode(content)
    except msgspec.DecodeError:
        return {}
    return status if isinstance(status, dict) else {}


def _manager_of(cause: Mapping[str, str]) -> str:
    """Return the name in `conflict with "NAME" using v1` or `... with subresource "scale" using v1`."""
    return cause.get("message", "").removeprefix('conflict with "').partition('"')[0]
