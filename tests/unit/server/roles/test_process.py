"""The socket that a server listens on, and what it does before it serves."""

import gc
import os
import signal
from collections.abc import Iterator

import pytest
from starlette.responses import PlainTextResponse

from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.roles.connections import ConnectionLimits
from qiskit_runtime_server.roles.process import listen, serve_app


@pytest.fixture
def unfrozen() -> Iterator[None]:
    """Have later tests find their garbage again."""
    yield
    gc.unfreeze()


@pytest.mark.usefixtures("unfrozen")
async def test_what_is_there_at_the_start_is_not_looked_through_for_garbage_again() -> None:
    left: list[int] = []

    def announce(_url: str) -> None:
        left.append(len(gc.get_objects()))
        os.kill(os.getpid(), signal.SIGTERM)

    async def nothing() -> None:
        """Do nothing."""

    before = len(gc.get_objects())
    with listen("127.0.0.1", 0) as listener:
        await serve_app(
            PlainTextResponse("here"),
            listener,
            limits=ConnectionLimits(),
            announce=announce,
            drain=nothing,
            close=nothing,
        )
    assert left[0] < before / 10


def test_a_port_that_is_taken_is_named_once_with_what_may_be_done() -> None:
    with listen("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartupError) as refused:
            listen("127.0.0.1", port)
    reason, advice = str(refused.value).split(". ", 1)
    assert reason == f"Cannot listen on 127.0.0.1 port {port}: Address already in use"
    assert "--port" in advice
