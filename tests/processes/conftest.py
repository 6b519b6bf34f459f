"""Servers for the tests that speak HTTP."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from kit.server.cloud_takeover import CALLED_SO
from kit.server.cluster_processes import Plugins
from kit.server.server_process import ServerProcess, StartServer, running_server
from kit.server.warm_python import warm_python


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """Share one server between the tests that leave it as it was."""
    with running_server(tmp_path_factory.mktemp("data"), **CALLED_SO) as shared:
        yield shared


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Plugins:
    """Return the executors that the services of the tests run."""
    return Plugins(tmp_path_factory.mktemp("plugins"))


@pytest.fixture(scope="session")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return a Python that has imported the client already, for programs that tests run."""
    with warm_python(tmp_path_factory.mktemp("python")) as command:
        yield command


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Return a function that starts servers, all on one data folder."""
    with ExitStack() as stack:

        def start(*options: str, **environment: str) -> ServerProcess:
            return stack.enter_context(running_server(tmp_path / "data", *options, **environment))

        yield start
