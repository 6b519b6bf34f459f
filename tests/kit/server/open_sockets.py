"""Connections that are used as no client would: half-sent requests, uploads that stop, answers that nobody reads."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event
from urllib.parse import urlsplit


def connected(url: str, *, receive_buffer: int | None = None, source: str = "") -> socket.socket:
    """Return a connection to a server, from an address of this machine, which is by default the usual one.

    With a small buffer, little of an answer is taken in unread.
    """
    parts = urlsplit(url)
    connection = socket.socket()
    if receive_buffer is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    connection.settimeout(60)
    if source:
        connection.bind((source, 0))
    connection.connect((parts.hostname, parts.port))
    return connection


@contextmanager
def all_closed(connections: list[socket.socket]) -> Iterator[list[socket.socket]]:
    """Close the connections at the end of the context."""
    try:
        yield connections
    finally:
        for connection in connections:
            connection.close()


def head(method: str, path: str, authorization: str, length: int = 0) -> bytes:
    """Return the head of a request."""
    lines = [f"{method} /api/v1{path} HTTP/1.1", "Host: localhost", f"Authorization: {authorization}"]
    if length:
        lines.append(f"Content-Length: {length}")
    return "\r\n".join([*lines, "", ""]).encode()


def slowly(data: bytes, begun: Event | None = None) -> Iterator[bytes]:
    """Yield a byte at a time, five of them a second, and tell when some have been on their way for a while."""
    for number in range(len(data)):
        time.sleep(0.2)
        if begun is not None and number == len(data) // 4:
            begun.set()
        yield data[number : number + 1]


def is_refused_or_closed(connection: socket.socket, seconds: float) -> bool:
    """Tell whether a connection's request was answered 503, or the server closes it within a time of silence."""
    connection.settimeout(seconds)
    try:
        begin = connection.recv(1 << 16)
    except TimeoutError:
        return False
    except ConnectionResetError:
        return True
    return begin.startswith(b"HTTP/1.1 503") or not begin or is_closed(connection, seconds)


def is_closed(connection: socket.socket, seconds: float) -> bool:
    """Tell whether the server closes a connection, whatever it says before, within a time of silence."""
    connection.settimeout(seconds)
    try:
        while connection.recv(1 << 16):
            pass
    except TimeoutError:
        return False
    except ConnectionResetError:
        pass
    return True
