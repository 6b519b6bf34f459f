"""Whether an object is as it was asked for."""

from collections.abc import Iterator


def differences(wanted: object, live: object, path: str = "") -> Iterator[str]:
    """Yield the fields of `wanted` that `live` does not have, or has otherwise; what else it has does not matter."""
    if isinstance(wanted, dict) and isinstance(live, dict):
        for key, value in wanted.items():
            yield from differences(value, live.get(key), f"{path}.{key}")
    elif isinstance(wanted, list) and isinstance(live, list) and len(wanted) == len(live):
        for index, pair in enumerate(zip(wanted, live, strict=True)):
            yield from differences(*pair, f"{path}[{index}]")
    elif wanted != live:
        yield f"{path.removeprefix('.')}: {wanted!r}, there is {live!r}"
