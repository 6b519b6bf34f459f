"""The socket that a server listens on."""

import pytest

from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.roles.process import listen


def test_a_port_that_is_taken_is_named_once_with_what_may_be_done() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError) as refused:
            listen("127.0.0.1", port)
    reason, advice = str(refused.value).split(". ", 1)
    assert reason == f"Cannot listen on 127.0.0.1 port {port}: Address already in use"
    assert "--port" in advice
