"""What the operator has set in an object, in a few bytes: as long as they stay the same, there is nothing to repair."""

from collections.abc import Iterator, Mapping
from hashlib import blake2b
from typing import Any, Final

import msgspec

from qiskit_runtime_operator.resource.model import Manifest

_BYTES: Final = 16


def of_manifest(manifest: Manifest) -> bytes:
    """Return the fingerprint of what is wanted; equal manifests have equal ones."""
    return _digest(manifest)


def of_applied(live: Manifest, manager: str) -> bytes:
    """Return the fingerprint of the fields that a field manager has applied to an object, and of their values.

    It changes when somebody changes one of them, or takes it over; not when somebody sets other fields, nor with the
    status.
    """
    fields = _managed_fields(live, manager)
    return _digest((fields, _values(live, fields) if fields else None))


def _digest(value: object) -> bytes:
    return blake2b(msgspec.json.encode(value, order="sorted"), digest_size=_BYTES).digest()


def _managed_fields(live: Manifest, manager: str) -> Mapping[str, Any]:
    for entry in applied_entries(live):
        if entry["manager"] == manager:
            fields: Mapping[str, Any] = entry.get("fieldsV1", {})
            return fields
    return {}


def applied_entries(live: Manifest) -> Iterator[Mapping[str, Any]]:
    """Iterate over the entries of `managedFields` that server-side applies have made, but for subresources."""
    for entry in live["metadata"].get("managedFields", ()):
        if entry.get("operation") == "Apply" and "subresource" not in entry:
            yield entry


def _values(value: Any, fields: Mapping[str, Any]) -> Any:  # noqa: ANN401 - any part of an object
    """Return the part of `value` that `fields` names, as FieldsV1 does.

    See https://kubernetes.io/docs/reference/using-api/server-side-apply/#field-management and, for the keys,
    https://pkg.go.dev/sigs.k8s.io/structured-merge-diff/fieldpath#PathElement.
    """
    inner = {key: part for key, part in fields.items() if key != "."}
    return {key: _values(_element(value, key), part) for key, part in inner.items()} if inner else value


def _element(value: Any, key: str) -> Any:  # noqa: ANN401 - any part of an object
    """Return the field (`f:name`), the element with these keys (`k:{...}`), or the member (`v:...`) of a set."""
    kind, _, name = key.partition(":")
    if isinstance(value, Mapping):
        return value.get(name)
    if not isinstance(value, list) or kind == "i":
        return None
    wanted = msgspec.json.decode(name)
    if kind == "v":
        return wanted if wanted in value else None
    return next((item for item in value if wanted.items() <= item.items()), None)
