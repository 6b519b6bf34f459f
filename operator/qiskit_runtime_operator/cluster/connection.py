"""How the API server is reached: from within the cluster by the pod's service account, from outside by a kubeconfig.

A kubeconfig whose user needs a program or a plug-in to log in is not understood; `kubectl proxy` helps there.
"""

import ssl
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import aiohttp
import kopf

from qiskit_runtime_operator.errors import StartupError

_CREDENTIALS_SECONDS: Final = 60
_CONNECT_SECONDS: Final = 5


@dataclass(slots=True)
class Connection:
    """The address of the API server, and credentials that are read again every minute, for they rotate.

    Raises:
        StartupError: On creation, if there are no credentials.
    """

    server: str = field(init=False)
    _ssl: ssl.SSLContext | None = field(init=False)
    _headers: dict[str, str] = field(init=False)
    _read_at: float = field(init=False)

    def __post_init__(self) -> None:
        info = _login()
        self.server = info.server.rstrip("/")
        self._ssl = info.as_ssl_context() if self.server.startswith("https:") else None
        self._take(info)

    def session(
        self,
        traces: Sequence[aiohttp.TraceConfig] = (),
        middlewares: Sequence[aiohttp.ClientMiddlewareType] = (),
    ) -> aiohttp.ClientSession:
        """Return a new session for requests to the API server; it follows the credentials as they change."""
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=self._ssl or False),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS),
            headers={"User-Agent": "qiskit-runtime-operator"},
            middlewares=(*middlewares, self._authorize),
            trace_configs=list(traces),
        )

    async def _authorize(
        self, request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType
    ) -> aiohttp.ClientResponse:
        if time.monotonic() - self._read_at > _CREDENTIALS_SECONDS:
            self._take(_login())
        request.headers.update(self._headers)
        return await handler(request)

    def _take(self, info: kopf.ConnectionInfo) -> None:
        self._headers = info.as_http_headers()
        self._read_at = time.monotonic()


def _login() -> kopf.ConnectionInfo:
    settings = kopf.OperatorSettings()
    try:
        info = kopf.login_with_service_account(settings=settings) or kopf.login_with_kubeconfig(settings=settings)
    except (kopf.LoginError, OSError, KeyError) as error:
        raise StartupError(f"no way to the API server: {error}") from error
    if info is None:
        raise StartupError(
            "no credentials for the API server: neither a service account nor a kubeconfig (KUBECONFIG) was found"
        )
    return info
