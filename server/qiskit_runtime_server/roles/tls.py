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

HANDSHAKE_SECONDS: Final = 15.0
LOOK_SECONDS: Final = 30.0

logger = logging.getLogger(__name__)


class Certificate:
    """What a server shows to prove who it is.

    Args:
        chain: A PEM file with the certificate, and then those that signed it.
        key: A PEM file with its private key, without a passphrase.

    Attributes:
        context: For the server's side of a connection: TLS 1.2 or later.

    Raises:
        StartupError: If they cannot be read, or do not belong together.
    """

    def __init__(self, chain: Path, key: Path) -> None:
        self._files = (chain, key)
        self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        self._stamps = self._look()
        try:
            self.context.load_cert_chain(chain, key)
        except OSError as error:
            raise StartupError(
                f"QRS_TLS_CERTIFICATE {chain} and QRS_TLS_KEY {key} cannot be used: {_why(error)}."
            ) from error

    def read_again(self) -> None:
        """Use new files for handshakes from now on; go on with the old ones if the new ones cannot be used."""
        stamps = self._look()
        if stamps == self._stamps:
            return
        try:
            # First into another context: half of a pair that does not belong together would stay in this one.
            ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(*self._files)
            self.context.load_cert_chain(*self._files)
        except OSError as error:
            logger.warning(
                "The new certificate in %s cannot be used (%s): the old one stays.", self._files[0], _why(error)
            )
        else:
            logger.info("The new certificate in %s is used from now on.", self._files[0])
        self._stamps = stamps

    async def follow(self) -> None:
        """Look for new files for as long as this task runs."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            await asyncio.to_thread(self.read_again)

    def _look(self) -> list[tuple[int, int] | None]:
        """Return what changes when a file is written, or replaced as kubelets do by another link."""
        return [_stamp(file) for file in self._files]


def certificate_of(settings: Settings) -> Certificate | None:
    """Return the certificate that the settings name, if they do.

    Raises:
        StartupError: If it cannot be used.
    """
    chain, key = settings.tls_certificate, settings.tls_key
    if chain is None and key is None:
        return None
    if chain is None or key is None:
        raise StartupError("QRS_TLS_CERTIFICATE and QRS_TLS_KEY belong together: give both, or neither.")
    return Certificate(chain, key)


def _why(error: OSError) -> str:
    """Return what OpenSSL or the system says, without numbers and addresses, which would make every line a new one."""
    reason = getattr(error, "reason", None) or error.strerror or type(error).__name__
    return str(reason).lower().replace("_", " ")


def _stamp(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns


class Handshakes:
    """Those of a listener that have begun and not ended.

    Args:
        certificate: What is shown.
        most: How many there may be at a time: the oldest is closed for one more.
        closed: Tells of connections that were closed.
    """

    def __init__(self, certificate: Certificate, most: int, closed: FailureLog) -> None:
        self.context = certificate.context
        self._most = most
        self._closed = closed
        self._going: OrderedDict[Handshake, None] = OrderedDict()

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
            self.abort(_why(error))
            return
        self._handshakes.end(self)
        if agreed is None or agreed.is_closing():
            return
        protocol = self._protocol(**self._arguments)
        agreed.set_protocol(protocol)
        protocol.connection_made(agreed)
        if self._early:
            protocol.data_received(bytes(self._early))
