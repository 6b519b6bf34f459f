"""Ports that are held for somebody."""

import socket

import pytest

from kit.ports import held_port


def test_a_held_port_is_for_who_asks_for_it_again_and_again() -> None:
    with held_port() as port:
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        for _ in range(2):
            with socket.create_server(("127.0.0.1", port)), socket.create_connection(("127.0.0.1", port)):
                pass
        # Not for who takes whatever there is.
        with pytest.raises(OSError, match="in use"), socket.socket() as other:
            other.bind(("127.0.0.1", port))
