"""Fixtures of pytest for those whose library uses Qiskit Runtime: a server of the test session, and faults for tests.

    @pytest.mark.runtime_faults("fail=1305")
    def test_my_library_reports_a_timeout(runtime_backend):
        ...

pytest loads this module wherever the package is installed, so nothing is imported here that a test without these
fixtures does not need. docs/how-to/test-your-library.md says more.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import pytest

from qiskit_runtime_server.pytest_plugin.server import RuntimeServer, running

if TYPE_CHECKING:
    from qiskit_ibm_runtime import IBMBackend, QiskitRuntimeService

__all__ = ["RuntimeServer", "runtime_backend", "runtime_server", "runtime_service"]

_MARKER: Final = "runtime_faults"
_BACKEND: Final = "runtime_backend"
_SETTINGS: Final = "runtime_server_settings"
_FAULTS_FIXTURE: Final = "_runtime_faults"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the options of the ini-file."""
    parser.addini(_BACKEND, "backend of the fixture runtime_backend", default="chaos_fake_manila@aer")
    parser.addini(_SETTINGS, "settings of the server, as QRS_NAME=VALUE, one a line", type="linelist")


def pytest_configure(config: pytest.Config) -> None:
    """Describe the marker."""
    config.addinivalue_line("markers", f"{_MARKER}(*words): what happens on chaos_ backends in this test")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Have the tests with the marker, and no others, set faults before they begin."""
    for item in items:
        if item.get_closest_marker(_MARKER) is not None and isinstance(item, pytest.Function):
            item.fixturenames.insert(0, _FAULTS_FIXTURE)


@pytest.fixture(scope="session")
def runtime_server(tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config) -> Iterator[RuntimeServer]:
    """Start a server on a free port, once; it ends with the session."""
    settings = dict(_setting(line) for line in pytestconfig.getini(_SETTINGS))
    with running(tmp_path_factory.mktemp("runtime-server"), settings) as server:
        yield server


@pytest.fixture(scope="session")
def runtime_service(runtime_server: RuntimeServer) -> "Iterator[QiskitRuntimeService]":
    """Return the client library's service, connected to the server; the process's variables lead there meanwhile."""
    from qiskit_runtime_server.client import connect, environment  # noqa: PLC0415 - costs those nothing who do without

    with pytest.MonkeyPatch.context() as patch:
        # With these a plain `QiskitRuntimeService()`, as libraries make it, connects to the server, too.
        for name, value in environment(runtime_server.url, runtime_server.token).items():
            patch.setenv(name, value)
        yield connect(runtime_server.url, runtime_server.token)


@pytest.fixture
def runtime_backend(runtime_service: "QiskitRuntimeService", pytestconfig: pytest.Config) -> "IBMBackend":
    """Return the backend that the ini-file names, by default a small device that can have faults."""
    return runtime_service.backend(pytestconfig.getini(_BACKEND))


@pytest.fixture
def _runtime_faults(request: pytest.FixtureRequest) -> Iterator[None]:
    """Have the test's faults happen while it runs."""
    # Before there are faults, which may keep a client from connecting.
    server: RuntimeServer = request.getfixturevalue("runtime_server")
    request.getfixturevalue("runtime_service")
    marks = list(request.node.iter_markers(_MARKER))
    server.set_faults(*(word for mark in reversed(marks) for word in mark.args))
    yield
    server.set_faults()


def _setting(line: str) -> tuple[str, str]:
    name, separator, value = line.partition("=")
    if not separator or not name.strip().upper().startswith("QRS_"):
        raise pytest.UsageError(f"{_SETTINGS}: {line!r} is not of the form QRS_NAME=VALUE")
    return name.strip(), value.strip()
