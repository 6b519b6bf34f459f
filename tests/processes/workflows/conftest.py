"""A server, and the environment in which packages of Qiskit's ecosystem run against it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from qiskit_ibm_runtime import QiskitRuntimeService

from kit.server.client_environments import EnvironmentUnavailableError, python_with, run_script, without_environment
from kit.server.server_process import ServerProcess, running_server
from qiskit_runtime_server.client import connect, environment

HERE = Path(__file__).parent
ENVIRONMENT = "workflows"
ACCOUNT = "ecosystem"
UNAVAILABLE = pytest.StashKey[EnvironmentUnavailableError]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Make the environment before the first test starts, for that takes longer than a test may."""
    chosen = any(item.path.is_relative_to(HERE) for item in session.items)
    if session.config.option.collectonly or not chosen:
        return
    capture = session.config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():
            python_with(ENVIRONMENT)
    except EnvironmentUnavailableError as error:
        session.config.stash[UNAVAILABLE] = error


@pytest.fixture(scope="session")
def ecosystem(pytestconfig: pytest.Config) -> Path:
    """The interpreter that has the packages."""
    error = pytestconfig.stash.get(UNAVAILABLE, None)
    if error is not None:
        without_environment(error)
    return python_with(ENVIRONMENT)


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with running_server(tmp_path_factory.mktemp("data")) as running:
        yield running


@pytest.fixture(scope="session")
def run(ecosystem: Path, server: ServerProcess) -> Callable[[str], dict[str, Any]]:
    """Return a function that runs a script as its reader would, and returns what it prints on its last line."""

    def run_named(name: str) -> dict[str, Any]:
        printed = run_script(ecosystem, HERE / "scripts" / f"{name}.py", environment(server.url, ACCOUNT))
        values: dict[str, Any] = json.loads(printed.splitlines()[-1])
        return values

    return run_named


@pytest.fixture(scope="session")
def service(server: ServerProcess) -> QiskitRuntimeService:
    """The account of the scripts."""
    return connect(server.url, ACCOUNT)
