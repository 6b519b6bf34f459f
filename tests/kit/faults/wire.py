"""A TCP connection that a test can listen to, cut, and hold up in one direction or both."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress


class _Way:
    """One direction of a wire."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()


class Wire:
    """A wire to a server.

    Attributes:
        sent: What has been sent to the server.
        url: Where the wire begins.
    """

    def __init__(self, listener: socket.socket, target: tuple[str, int]) -> None:
        self.sent = bytearray()
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._listener = listener
        self._target = target
        self._severed = False
        self._there, self._back = _Way(), _Way()
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Break all connections; new ones can be made."""
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def sever(self) -> None:
        """Break all connections, and each new one at once, as something in between would that has lost its way."""
        self._severed = True
        self.cut()

    def hold(self, *, requests: bool = False, answers: bool = False) -> None:
        """Let nothing through, as a network does that drops packets: connections stay, and go on after `heal`."""
        for way, held in ((self._there, requests), (self._back, answers)):
            if held:
                way.open.clear()

    def heal(self) -> None:
        """Let everything through that was held up, and what comes."""
        self._there.open.set()
        self._back.open.set()

    def count(self, request: str) -> int:
        """Return how many requests have begun like this."""
        return self.sent.count(request.encode())

    def close(self) -> None:
        """Break all connections for good."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        self.heal()
        for thread in self._threads:
            thread.join()
        for end in [self._listener, *self._sockets]:
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                try:
                    if self._severed:
                        raise ConnectionError
                    server = socket.create_connection(self._target)
                except OSError:
                    client.shutdown(socket.SHUT_RDWR)
                    continue
                self._sockets.append(server)
                for source, sink, way in ((client, server, self._there), (server, client, self._back)):
                    thread = threading.Thread(target=self._pump, args=(source, sink, way), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, way: _Way) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                way.open.wait()
                if way is self._there:
                    self.sent += data
                sink.sendall(data)
        # The end of a connection is a packet, too.
        way.open.wait()
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def wire_to(url: str) -> Iterator[Wire]:
    """Lay a wire to a server."""
    host, _, port = url.removeprefix("http://").partition(":")
    wire = Wire(socket.create_server(("127.0.0.1", 0)), (host, int(port)))
    try:
        yield wire
    finally:
        wire.close()
