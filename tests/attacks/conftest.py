"""Servers that are attacked."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kit.server.server_process import ServerProcess, StartServer, running_server


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    with ExitStack() as stack:

        def start(*options: str, **environment: str) -> ServerProcess:
            return stack.enter_context(running_server(tmp_path / "data", *options, **environment))

        yield start
