"""TLS to executor services: their certificates are for names, and endpoints are addresses."""

import ssl
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from qiskit_runtime_server.errors import StartupError


class NamedAddresses:
    """Has a client ask the address of a service for the certificate of the service's name.

    Args:
        urls: Of the services of one executor, which share their certificates; at least one.
    """

    def __init__(self, urls: Sequence[str]) -> None:
        # For addresses that are known no more, of executors that still have a run.
        self._first = urlsplit(urls[0]).hostname
        self._names: dict[str, str | None] = {}

    def note(self, url: str, addresses: set[str]) -> None:
        """Note that the host of a URL has these addresses, themselves URLs."""
        self._names |= {urlsplit(address).hostname or "": urlsplit(url).hostname for address in addresses}

    async def name(self, request: httpx.Request) -> None:
        """Say, before a request is sent, which name the certificate has to be for."""
        host = self._names.get(request.url.host, self._first)
        request.extensions = {**request.extensions, "sni_hostname": host}


def trusted(authorities: Path | None) -> ssl.SSLContext:
    """Return what connections trust: these authorities, or those of the system.

    Raises:
        StartupError: If the file cannot be read.
    """
    try:
        return ssl.create_default_context(cafile=authorities)
    except OSError as error:
        raise StartupError(f"QRS_EXECUTOR_CA {authorities} cannot be used: {error.strerror or error}.") from error
