"""Clusters for tests; see `cluster_processes`."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from kit.server.cluster_processes import Cluster, Plugins, shared_by_apis
from kit.server.postgresql_server import PostgresqlServer
from kit.server.server_process import ServerProcess


@pytest.fixture
def cluster(tmp_path: Path, plugins: Plugins) -> Iterator[Cluster]:
    """Return a cluster without processes."""
    with ExitStack() as stack:
        yield Cluster(tmp_path, plugins, stack)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[PostgresqlServer]:
    """Return a server for all tests that do not stop it."""
    with PostgresqlServer() as server:
        yield server


@pytest.fixture
def shared_store(postgresql_server: PostgresqlServer) -> dict[str, str]:
    """Return the variables of apis that share an empty database."""
    return shared_by_apis(postgresql_server.create(f"store_{uuid4().hex}"))


@pytest.fixture
def reserved_port() -> Iterator[int]:
    """Return a port where nobody listens, and that the system gives to nobody but who asks for it by number."""
    with socket.socket() as holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.bind(("127.0.0.1", 0))
        yield holder.getsockname()[1]


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory, plugins: Plugins) -> Iterator[list[ServerProcess]]:
    """Share two executors between the tests that leave them as they were."""
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("standing"), plugins, stack).executors(2)
