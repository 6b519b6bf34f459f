"""Whether an object is as it was asked for."""

from collections.abc import Iterator
from typing import Any, TypeGuard


def differences(wanted: object, live: object, path: str = "") -> Iterator[str]:
    """Yield the fields of `wanted` that `live` does not have, or has otherwise; what else it has does not matter.

    Variables, containers and whatever else has a name are the fields of their list, as in server-side apply, which
    leaves those of other managers to them.
    """
    if _is_named(wanted) and _is_named(live):
        wanted, live = ({item["name"]: item for item in items} for items in (wanted, live))
    if isinstance(wanted, dict) and isinstance(live, dict):
        for key, value in wanted.items():
            yield from differences(value, live.get(key), f"{path}.{key}")
    elif isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        for index, pair in enumerate(zip(wanted, live, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif wanted != live:
        yield f"{path.removeprefix('.')}: {wanted!r}, there is {live!r}"


def _is_named(items: object) -> TypeGuard[list[dict[str, Any]]]:
    return isinstance(items, list) and bool(items) and all(isinstance(item, dict) and "name" in item for item in items)
