"""Pages for people with a browser: what this server is, and what its API offers. No scripts, nothing from elsewhere."""

import base64
import hashlib
from collections.abc import Iterable
from html import escape
from typing import Final

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from qiskit_runtime_server.api.reference import Field, Operation, operations
from qiskit_runtime_server.api.services import Services, TheServices
from qiskit_runtime_server.store.port import Load

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #161616; }
h1, h2, h3 { line-height: 1.2; } h2 { margin-top: 2.5rem; border-bottom: 1px solid #c6c6c6; } h3 { margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; margin: .5rem 0 1rem; }
th, td { text-align: left; vertical-align: top; padding: .25rem .75rem .25rem 0; border-bottom: 1px solid #e0e0e0; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
pre { background: #f4f4f4; padding: .75rem 1rem; overflow-x: auto; } .quiet { color: #525252; }
@media (prefers-color-scheme: dark) {
  body { background: #161616; color: #f4f4f4; } pre { background: #262626; } a { color: #78a9ff; }
  th, td, h2 { border-color: #393939; } .quiet { color: #c6c6c6; }
}
"""
_HASH: Final = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
_HEADERS: Final = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_HASH}'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}

home = APIRouter(include_in_schema=False)
docs = APIRouter(include_in_schema=False)


@home.get("/")
async def show_home(request: Request, services: TheServices) -> HTMLResponse:
    """Say what this is, how to connect, and which executors there are."""
    url = escape(_url(request))
    title = f"Qiskit Runtime Server {escape(request.app.version)}"
    parts = [
        f"<h1>{title}</h1>",
        f"<p>Unmodified <code>qiskit-ibm-runtime</code> clients connect to <code>{url}</code>. In a shell:</p>",
        f'<pre>eval "$(qiskit-runtime-server connect {url})"</pre>',
        "<p>In Python:</p>",
        "<pre>from qiskit_runtime_server import client\n",
        f"service = client.connect(&quot;{url}&quot;, token=&quot;{_token(services)}&quot;)</pre>",
        "<h2>Executors</h2>",
        *await _executors(services),
        f"<p>{len(services.catalog.names())} devices, each as <code>DEVICE@EXECUTOR</code>.</p>",
    ]
    if services.settings.console:
        parts.append('<p><a href="ui">Console</a>: jobs, devices and executors, for people.</p>')
    if services.settings.api_docs:
        parts.append('<p><a href="docs">REST API</a> · <a href="openapi.json">OpenAPI</a></p>')
    return _page(title, parts)


@docs.get("/docs")
async def show_docs(request: Request) -> HTMLResponse:
    """Show what the OpenAPI document says."""
    found = list(operations(request.app.openapi()))
    title = f"REST API of Qiskit Runtime Server {escape(request.app.version)}"
    parts = [f"<h1>{title}</h1>", '<p class="quiet">Made from <a href="openapi.json">its OpenAPI document</a>.</p>']
    for tag in dict.fromkeys(operation.tag for operation in found):
        parts.append(f"<h2>{escape(tag.capitalize())}</h2>")
        for operation in found:
            if operation.tag == tag:
                parts += _operation(operation)
    return _page(title, parts)


def _operation(operation: Operation) -> Iterable[str]:
    yield f"<h3><code>{escape(operation.name)}</code></h3>"
    yield f"<p>{escape(operation.description)}</p>"
    for what, fields in (("Parameters", operation.parameters), ("Body", operation.body), ("Answer", operation.answer)):
        yield from _fields(what, fields)
    yield f'<p class="quiet">Errors: {", ".join(operation.errors)}.</p>'


def _fields(what: str, fields: Iterable[Field]) -> Iterable[str]:
    rows = [
        (f"<code>{escape(field.name)}</code>", escape(field.type.replace("`", "")), escape(field.meaning))
        for field in fields
    ]
    return _table((what, "Type", "Meaning"), rows) if rows else ()


async def _executors(services: Services) -> Iterable[str]:
    """Return the table of executors; queues are shown only where everybody may ask for them."""
    rows = {name: [escape(name), str(pool.size), str(pool.idle)] for name, pool in services.pools.items()}
    head = ["Executor", "Slots", "Idle"]
    if services.settings.tokens is not None:
        return _table(head, rows.values())
    loads = await services.store.counts.load()
    for name, row in rows.items():
        load = loads.get(name, Load())
        row += [str(load.queued), str(load.running), "paused" if services.is_paused(name, load) else "online"]
    return _table([*head, "Queued", "Running", "State"], rows.values())


def _token(services: Services) -> str:
    return "YOUR TOKEN" if services.settings.tokens is not None else "any word will do"


def _table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    cells = ["".join(f"<td>{cell}</td>" for cell in row) for row in rows]
    heads = "".join(f"<th>{cell}</th>" for cell in head)
    return [f"<table><thead><tr>{heads}</tr></thead><tbody>", *(f"<tr>{row}</tr>" for row in cells), "</tbody></table>"]


def _url(request: Request) -> str:
    """Return the URL under which the browser has asked; a proxy in front may have ended TLS."""
    url = request.base_url
    if request.headers.get("x-forwarded-proto") == "https":
        url = url.replace(scheme="https")
    return str(url).rstrip("/")


def _page(title: str, parts: Iterable[str]) -> HTMLResponse:
    head = f'<meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>{title}</title>'
    body = "\n".join(parts)
    text = f'<!doctype html><html lang="en"><head>{head}<style>{_STYLE}</style></head><body>\n{body}\n</body></html>\n'
    return HTMLResponse(text, headers=_HEADERS)
