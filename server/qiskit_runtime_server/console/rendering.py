"""Makes pages of templates, in which everything is escaped, and says in headers what browsers may do with them."""

import hashlib
import hmac
from collections.abc import Mapping
from functools import lru_cache
from http import HTTPStatus
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, urlencode

from fastapi import Request
from fastapi.responses import HTMLResponse
from mako.lookup import TemplateLookup

from qiskit_runtime_server.accounts.teaching import Role
from qiskit_runtime_server.console import words
from qiskit_runtime_server.console.api_calls import Api
from qiskit_runtime_server.console.cookies import session_of

HEADERS: Final = {
    # `connect-src` is for the script that looks for news of the page; SVG is part of the pages.
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; img-src 'self' data:; script-src 'self'; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_FOLDER: Final = Path(__file__).parent / "templates"


@lru_cache(maxsize=1)
def _templates() -> TemplateLookup:
    """Return the templates: what they print is escaped (`h`), and a name that is not given is an error."""
    return TemplateLookup(
        directories=[str(_FOLDER)],
        default_filters=["h"],
        strict_undefined=True,
        filesystem_checks=False,
        input_encoding="utf-8",
    )


class Page:
    """What every page needs to know.

    Args:
        request: From the browser.
        who: What the API says of the caller; None for nobody.
    """

    def __init__(self, request: Request, who: Mapping[str, Any] | None) -> None:
        self._request = request
        self.who = who
        self.api = Api(request)
        self.root = request.scope.get("root_path", "").rstrip("/")
        self.version = version("qiskit-runtime-server")

    @property
    def here(self) -> str:
        """The path of the page, below `/ui`."""
        return self._request.url.path.removeprefix(self.root).removeprefix("/ui") or "/"

    @property
    def csrf(self) -> str:
        """What forms have to send back: only a page of this server's, for this sign-in, can know it."""
        return csrf_token(session_of(self._request))

    def links(self) -> list[tuple[str, str]]:
        """Return where the caller can go, and what that is called."""
        links = [("jobs", "Jobs"), ("devices", "Devices"), ("executors", "Executors"), ("sessions", "Sessions")]
        if self.who is not None and self.who["teaches"]:
            links += [("class", "Class"), ("class-usage", "Usage of the class")]
        if self.is_admin:
            links += [("all-jobs", "All jobs"), ("usage", "Usage")]
        return links

    @property
    def is_admin(self) -> bool:
        """Whether an admin has signed in."""
        return self.who is not None and self.who["role"] == Role.ADMIN

    def url(self, *parts: str, **query: object) -> str:
        """Return the address of a page of the console; parts may be what users have written."""
        path = "/".join(quote(part, safe="") for part in parts)
        given = [(name, value) for name, value in query.items() if value not in {None, ""}]
        return f"{self.root}/ui/{path}" + (f"?{urlencode(given)}" if given else "")

    def render(self, template: str, *, status: int = HTTPStatus.OK, **values: Any) -> HTMLResponse:
        """Return the page that a template makes of the values."""
        text = _templates().get_template(f"{template}.mako").render_unicode(page=self, words=words, **values)
        return HTMLResponse(text, status, headers=HEADERS)


def csrf_token(session: str) -> str:
    """Return the token of the forms of a sign-in, from which its cookies cannot be found."""
    return hmac.new(session.encode(), b"forms of the console", hashlib.sha256).hexdigest()
