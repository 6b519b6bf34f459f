"""Who manages which fields of an object, when one operator takes over from another: pure."""

from collections.abc import Mapping
from functools import reduce
from typing import Any

from qiskit_runtime_operator.resource.identity import is_an_operators
from qiskit_runtime_operator.resource.model import Manifest


def inherited(live: Manifest, manager: str) -> list[Manifest]:
    """Return the `managedFields` of an object with all fields that operators have applied given to `manager`."""
    entries: list[Manifest] = live["metadata"].get("managedFields", [])
    operators = [entry for entry in entries if _is_applied_by_an_operator(entry)]
    if not operators:
        return entries
    fields = reduce(_union, (entry.get("fieldsV1", {}) for entry in operators))
    heir = {**operators[0], "manager": manager, "fieldsV1": fields}
    return [heir, *(entry for entry in entries if entry not in operators)]


def _is_applied_by_an_operator(entry: Mapping[str, Any]) -> bool:
    return entry["operation"] == "Apply" and "subresource" not in entry and is_an_operators(entry["manager"])


def _union(one: Mapping[str, Any], other: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the fields that are in either of two sets, each in the form of FieldsV1."""
    return {key: _union(one.get(key, {}), other.get(key, {})) for key in {**one, **other}}
