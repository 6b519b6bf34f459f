"""By which names clients call a server: not by one whose owner may have it point anywhere (DNS rebinding).

A page in a browser may only call the host that it comes from. If the owner of its name lets the name point to 127.0.0.1
after the page has been loaded, that host is a server on the visitor's machine, to which the page can talk as it likes
where any token will do. Such calls still say the name in their header Host. Starlette's check of it knows no rule for
addresses, which are no names, and which the probes of a kubelet use.
"""

from functools import lru_cache
from http import HTTPStatus
from ipaddress import ip_address
from typing import Final

from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from qiskit_runtime_server.roles.process import is_loopback
from qiskit_runtime_server.settings import Settings

_ANY: Final = "*"
_OWN: Final = "localhost"


def for_known_hosts(app: ASGIApp, settings: Settings) -> ASGIApp:
    """Return `app`, called by known names only if the settings say which, or anybody on this machine may use it."""
    alone = settings.tokens is None and is_loopback(settings.host)
    if _ANY in settings.allowed_hosts or not (settings.allowed_hosts or alone):
        return app
    return KnownHosts(app, frozenset(name.lower() for name in settings.allowed_hosts))


class KnownHosts:
    """Refuses requests that are for a host of another name; addresses and `localhost` are always right.

    Args:
        app: Gets the others.
        names: In lower case.
    """

    def __init__(self, app: ASGIApp, names: frozenset[str]) -> None:
        self._app = app
        self._names = names

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        host = _without_port(Headers(scope=scope).get("host", "")).lower() if scope["type"] == "http" else _OWN
        if self._knows(host):
            await self._app(scope, receive, send)
            return
        why = f"This server is not called {host!r}. Call it by its address, or name it in QRS_ALLOWED_HOSTS.\n"
        await PlainTextResponse(why, HTTPStatus.MISDIRECTED_REQUEST)(scope, receive, send)

    def _knows(self, host: str) -> bool:
        return host in self._names or host == _OWN or host.endswith(f".{_OWN}") or _is_address(host)


def _without_port(host: str) -> str:
    """Return a host as in `127.0.0.1:8000`, `localhost` or `[::1]:8000` without its port and brackets."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0]


# Clients say the same with each request, and to parse it takes as long as to find out who is calling.
@lru_cache(maxsize=64)
def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True
