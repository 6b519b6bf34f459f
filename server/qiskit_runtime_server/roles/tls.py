"""TLS in front of a protocol: the certificate is read again when its files change, and handshakes have a deadline.

Uvicorn would do the handshake before a connection is counted, with the minute's time that asyncio gives it: clients
that never begin one would hold descriptors that `roles.connections` knows nothing of.
"""

import asyncio
import logging
import ssl
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.log.failures import FailureLog
from qiskit_runtime_server.settings import Settings
from qiskit_runtime_server.trust.pem_files import PemFiles, why

HANDSHAKE_SECONDS: Final = 15.0

logger = logging.getLogger(__name__)


class Certificate:
    """What a server shows to prove who it is, and by which authorities its clients have to do the same.

    Args:
        chain: A PEM file with the certificate, and then those that signed it.
        key: A PEM file with its private key, without a passphrase.
        client_authorities: A PEM file with those that sign the certificates of clients; None asks clients for nothing.

    Attributes:
        context: For the server's side of a connection that begins now: TLS 1.2 or later.

    Raises:
        StartupError: If they cannot be read, or do not belong together.
    """

    def __init__(self, chain: Path, key: Path, client_authorities: Path | None = None) -> None:
        self._pair = (chain, key)
        self._client_authorities = client_authorities
        self._files = PemFiles(chain, key, client_authorities)
        try:
            self.context = self._read()
        except OSError as error:
            clients = "" if client_authorities is None else f", with QRS_TLS_CLIENT_CA {client_authorities},"
            raise StartupError(
                f"QRS_TLS_CERTIFICATE {chain} and QRS_TLS_KEY {key}{clients} cannot be used: {why(error)}."
            ) from error

    def read_again(self) -> None:
        """Use new files for handshakes from now on; go on with the old ones if the new ones cannot be used."""
        if not self._files.have_changed():
            return
        try:
            self.context = self._read()
        except OSError as error:
            logger.warning("The new certificate in %s cannot be used (%s): the old one stays.", self._files, why(error))
        else:
            logger.info("The new certificate in %s is used from now on.", self._files)

    def _read(self) -> ssl.SSLContext:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(*self._pair)
        if self._client_authorities is not None:
            context.load_verify_locations(self._client_authorities)
            context.verify_mode = ssl.CERT_REQUIRED
        return context


def certificate_of(settings: Settings, client_authorities: Path | None = None) -> Certificate | None:
    """Return the certificate that the settings name, if they do.

    Args:
        settings: Of the server.
        client_authorities: Those that sign the certificates of its clients, if these need any.

    Raises:
        StartupError: If it cannot be used.
    """
    chain, key = settings.tls_certificate, settings.tls_key
    if chain is None and key is None and client_authorities is None:
        return None
    if chain is None or key is None:
        raise StartupError(
            "QRS_TLS_CERTIFICATE and QRS_TLS_KEY belong together, and QRS_TLS_CLIENT_CA to both: give both, or none."
        )
    return Certificate(chain, key, client_authorities)


class Handshakes:
    """Those of a listener that have begun and not ended.

    Args:
        certificate: What is shown, and asked for.
        most: How many there may be at a time: the oldest is closed for one more.
        closed: Tells of connections that were closed.
    """

    def __init__(self, certificate: Certificate, most: int, closed: FailureLog) -> None:
        self._certificate = certificate
        self._most = most
        self._closed = closed
        self._going: OrderedDict[Handshake, None] = OrderedDict()

    @property
    def context(self) -> ssl.SSLContext:
        """For a handshake that begins now."""
        return self._certificate.context

    def begin(self, handshake: "Handshake") -> None:
        """Count one."""
        self._going[handshake] = None
        if len(self._going) > self._most:
            next(iter(self._going)).abort("there are too many that have not begun")

    def end(self, handshake: "Handshake") -> None:
        """Count it no more."""
        self._going.pop(handshake, None)

    def tell(self, why: str) -> None:
        """Tell of one that failed."""
        self._closed.failed(f"A connection was closed before TLS was agreed on: {why}.")


class Handshake(asyncio.Protocol):
    """A connection until TLS is agreed on; then it is that of another protocol.

    Args:
        handshakes: Of the same listener.
        protocol: Makes the other one.
        arguments: For that.
    """

    def __init__(self, handshakes: Handshakes, protocol: Callable[..., asyncio.Protocol], **arguments: Any) -> None:
        self._handshakes = handshakes
        self._protocol = protocol
        self._arguments = arguments
        self._early = bytearray()
        self._task: asyncio.Task[None] | None = None
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        # What comes before the handshake is prepared belongs to it.
        transport.pause_reading()
        self._transport = transport
        self._task = asyncio.get_running_loop().create_task(self._agree(transport))
        self._handshakes.begin(self)

    def data_received(self, data: bytes) -> None:
        """Keep what a client sends together with the end of its handshake."""
        self._early += data

    def connection_lost(self, _exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self._handshakes.end(self)

    def abort(self, why: str) -> None:
        """Close the connection."""
        self._handshakes.end(self)
        self._handshakes.tell(why)
        if self._transport is not None:
            self._transport.abort()

    async def _agree(self, transport: asyncio.Transport) -> None:
        loop = asyncio.get_running_loop()
        try:
            agreed = await loop.start_tls(
                transport,
                self,
                self._handshakes.context,
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except OSError as error:
            self.abort(why(error))
            return
        self._handshakes.end(self)
        if agreed is None or agreed.is_closing():
            return
        protocol = self._protocol(**self._arguments)
        agreed.set_protocol(protocol)
        protocol.connection_made(agreed)
        if self._early:
            protocol.data_received(bytes(self._early))
