"""Ports for programs that are told where to listen."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def held_port() -> Iterator[int]:
    """Yield a port of loopback where nobody listens, and that the system gives to nobody but who asks for it by number.

    Of one that is only looked up, another program may be given the number before it is used: that takes seconds where
    a control plane starts. Who is to listen there has to set SO_REUSEADDR, as servers do.
    """
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield int(holder.getsockname()[1])
