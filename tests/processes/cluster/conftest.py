"""Clusters for tests; see `cluster_processes`."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from kit.ports import held_port
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
    with held_port() as port:
        yield port


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory, plugins: Plugins) -> Iterator[list[ServerProcess]]:
    """Share two executors between the tests that leave them as they were."""
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("standing"), plugins, stack).executors(2)
