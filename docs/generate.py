"""Writes the reference pages that are made from the code: the REST API and the settings.

A test compares them with what is here.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fastapi.openapi.utils import get_openapi

from qiskit_runtime_server import Settings, create_app
from qiskit_runtime_server.app import PREFIXES

REFERENCE = Path(__file__).parent / "reference"


def rest_page() -> str:
    """Return the page on the REST API."""
    app = create_app(settings=Settings(_env_file=None))
    schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
    lines = [
        "# REST API",
        "",
        "Made from the code by `make docs`. The runtime's paths are served under "
        + ", ".join(f"`{prefix}`" for prefix in PREFIXES)
        + "; only the first is shown. Every call but the token's, the plan's and the probes' needs",
        "`Authorization: Bearer <access token>` (or `apikey <token>`). Errors are JSON with keys `error` and `errors`.",
        "",
    ]
    tags: dict[str, list[str]] = {}
    for path, operations in schema["paths"].items():
        for method, operation in operations.items():
            tags.setdefault(operation["tags"][0], []).extend(_operation(method, path, operation))
    for tag, body in tags.items():
        lines += [f"## {tag.capitalize()}", "", *body]
    return "\n".join(lines).rstrip() + "\n"


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> Iterator[str]:
    yield f"### `{method.upper()} {path}`"
    yield ""
    yield operation["description"]
    yield ""
    queries = [parameter for parameter in operation.get("parameters", []) if parameter["in"] == "query"]
    if queries:
        yield "Query: " + ", ".join(f"`{query['name']}`" for query in queries) + "."
        yield ""


def settings_page() -> str:
    """Return the page on the settings."""
    lines = [
        "# Settings",
        "",
        "Made from the code by `make docs`.",
        "",
        "| variable | default | meaning |",
        "|---|---|---|",
    ]
    for name, field in Settings.model_fields.items():
        default = field.get_default(call_default_factory=True)
        meaning = " ".join((field.description or "").split())
        lines.append(f"| `QRS_{name.upper()}` | {_default(default)} | {meaning} |")
    return "\n".join(lines) + "\n"


def _default(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple):
        return f"`{' '.join(value)}`"
    return f"`{str(value).replace(str(Path.home()), '~')}`"


PAGES = {"rest.md": rest_page, "settings.md": settings_page}


def main() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())


if __name__ == "__main__":
    main()
