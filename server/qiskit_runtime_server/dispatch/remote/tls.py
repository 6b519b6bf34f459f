"""TLS to executor services: their certificates are for names, and endpoints are addresses."""

import logging
import ssl
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.trust.pem_files import PemFiles, why

logger = logging.getLogger(__name__)


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


class ExecutorTrust:
    """What an api trusts and shows where executor services speak TLS; its files are read again when they change.

    Args:
        authorities: A PEM file with those that sign the certificates of executor services; None for the system's.
        certificate: A PEM file with the api's own, and then those that signed it; None to show none.
        key: A PEM file with its private key.

    Attributes:
        context: For the client's side of a connection that begins now.

    Raises:
        StartupError: If the files cannot be read, or do not belong together.
    """

    def __init__(self, authorities: Path | None, certificate: Path | None = None, key: Path | None = None) -> None:
        self._authorities = authorities
        self._certificate = certificate
        self._key = key
        self._files = PemFiles(authorities, certificate, key)
        if (certificate is None) != (key is None):
            raise StartupError("QRS_EXECUTOR_CERTIFICATE and QRS_EXECUTOR_CERTIFICATE_KEY belong together: give both.")
        try:
            self.context = ssl.create_default_context(cafile=authorities)
        except OSError as error:
            raise StartupError(f"QRS_EXECUTOR_CA {authorities} cannot be used: {why(error)}.") from error
        try:
            self._read_into(self.context)
        except OSError as error:
            raise StartupError(
                f"QRS_EXECUTOR_CERTIFICATE {certificate} and QRS_EXECUTOR_CERTIFICATE_KEY {key} cannot be used:"
                f" {why(error)}."
            ) from error

    def read_again(self) -> bool:
        """Use new files for connections from now on; go on with the old ones if the new ones cannot be used.

        Returns:
            Whether an authority is trusted no more. Then there is another context; whoever has connections of the one
            before closes them. Otherwise it is the same object, so that they stay.
        """
        if not self._files.have_changed():
            return False
        try:
            # First into another context: half of a pair that does not belong together would stay in this one.
            new = ssl.create_default_context(cafile=self._authorities)
            self._read_into(new)
            if gone := _authorities(self.context) - _authorities(new):
                self.context = new
            else:
                self._read_into(self.context)
        except OSError as error:
            logger.warning("What is new in %s cannot be used (%s): the old one stays.", self._files, why(error))
            return False
        logger.info("What is new in %s is used from now on.", self._files)
        return bool(gone)

    def _read_into(self, context: ssl.SSLContext) -> None:
        if self._authorities is not None:
            context.load_verify_locations(self._authorities)
        if self._certificate is not None:
            context.load_cert_chain(self._certificate, self._key)


def _authorities(context: ssl.SSLContext) -> set[bytes]:
    return set(context.get_ca_certs(binary_form=True))
