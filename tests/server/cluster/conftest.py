"""Clusters of real processes: apis, executor services, and the wires between them."""

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import pytest
from postgresql_server import PostgresqlServer
from server_process import ServerProcess

KEY = "a key for tests"
SIGNING_KEY = "a signing key for tests, of 32 bytes or more"
PLUGIN = Path(__file__).parent / "plugin"
KIT = Path(__file__).parents[2] / "kit"
ENTRY_POINTS = """[qiskit_runtime_server.executors]
counted = counted_executor:CountedExecutor
faulty = counted_executor:FaultyExecutor
"""


class Plugins:
    """The executors of `plugin`, as if they were installed, and what they write down.

    Attributes:
        starts: A line for each start of a job: the process id of the executor, and the name of the circuit.
    """

    def __init__(self, folder: Path) -> None:
        self.starts = folder / "starts"
        self.starts.touch()
        self._distribution = folder / "distribution"
        metadata = self._distribution / "counted_executors-1.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: counted-executors\nVersion: 1\n")
        (metadata / "entry_points.txt").write_text(ENTRY_POINTS)

    @property
    def environment(self) -> dict[str, str]:
        """What makes a process see them."""
        path = os.pathsep.join(map(str, (self._distribution, PLUGIN, KIT)))
        return {"PYTHONPATH": path, "STARTS": str(self.starts)}


class Cluster:
    """Processes that share a folder and a key.

    Attributes:
        data_dir: Of the apis.
    """

    def __init__(self, folder: Path, plugins: Plugins, stack: ExitStack) -> None:
        self.data_dir = folder / "data"
        self._plugins = plugins
        self._before = plugins.starts.stat().st_size
        self._stack = stack

    def command(self, *arguments: str, **environment: str | None) -> "subprocess.Popen[str]":
        """Run the command line; a variable that is None is not set."""
        variables = {**os.environ, "PYTHONUNBUFFERED": "1", "QRS_EXECUTOR_KEY": KEY, **self._plugins.environment}
        return subprocess.Popen(
            [sys.executable, "-m", "qiskit_runtime_server", *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={name: value for name, value in (variables | environment).items() if value is not None},
        )

    def begin(self, *arguments: str, **environment: str | None) -> ServerProcess:
        """Start a server that is not waited for; it is killed at the end."""
        process = self.command(*arguments, **environment)
        server = ServerProcess(process, self.data_dir)

        def end() -> None:
            process.kill()
            process.wait()
            server.reader.join()

        self._stack.callback(end)
        return server

    def executors(self, count: int = 1, *options: str, **environment: str | None) -> list[ServerProcess]:
        """Start executor services with one slot each, side by side."""
        arguments = ("executor", "counted", "--port=0", "--slots=1", "--memory=512Mi", *options)
        servers = [self.begin(*arguments, **environment) for _ in range(count)]
        for server in servers:
            server.wait_until_ready()
        return servers

    def executor(self, *options: str, **environment: str | None) -> ServerProcess:
        """Start an executor service with one slot."""
        return self.executors(1, *options, **environment)[0]

    def api(self, *urls: str, **environment: str | None) -> ServerProcess:
        """Start an api for the executor services at `urls`."""
        [server] = self.apis(1, *urls, **environment)
        return server

    def apis(self, count: int, *urls: str, **environment: str | None) -> list[ServerProcess]:
        """Start several at once; more than one need a database."""
        executors = [f"--executor=counted={url}" for url in urls]
        arguments = ("api", "--port=0", f"--data-dir={self.data_dir}", *executors)
        servers = [self.begin(*arguments, **environment) for _ in range(count)]
        for server in servers:
            server.wait_until_ready()
        return servers

    def wire(self, server: ServerProcess) -> "Wire":
        """Return a wire to a server."""
        return self._stack.enter_context(wire_to(server.url))

    def starts(self, name: str) -> list[int]:
        """Return which executors have started a job of this name since the test began, by their process ids."""
        lines = self._plugins.starts.read_text()[self._before :].splitlines()
        return [int(line.partition(" ")[0]) for line in lines if line.partition(" ")[2] == name]

    def wait_for_start(self, name: str) -> int:
        """Return the process id of the executor that starts the job first."""
        wait_until(lambda: bool(self.starts(name)))
        return self.starts(name)[0]


def wait_until(condition: Callable[[], bool], *, seconds: float = 20) -> float:
    """Return how many seconds it took until `condition` held; fail the test after `seconds`."""
    start = time.monotonic()
    while not condition():
        assert time.monotonic() - start < seconds, f"not within {seconds} s"
        time.sleep(0.02)
    return time.monotonic() - start


class Wire:
    """A TCP connection that a test can listen to and cut.

    Attributes:
        sent: What has been sent to the server.
    """

    def __init__(self, listener: socket.socket, target: tuple[str, int]) -> None:
        self.sent = b""
        self.url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        self._listener = listener
        self._target = target
        self._severed = False
        self._sockets: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def cut(self) -> None:
        """Break all connections; new ones can be made."""
        for end in self._sockets:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def sever(self) -> None:
        """Break all connections, and each new one at once, as something in between would that has lost its way."""
        self._severed = True
        self.cut()

    def count(self, request: str) -> int:
        """Return how many requests have begun like this."""
        return self.sent.count(request.encode())

    def close(self) -> None:
        """Break all connections for good."""
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self.cut()
        for thread in self._threads:
            thread.join()
        for end in [self._listener, *self._sockets]:
            end.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._sockets.append(client)
                try:
                    if self._severed:
                        raise ConnectionError
                    server = socket.create_connection(self._target)
                except OSError:
                    client.shutdown(socket.SHUT_RDWR)
                    continue
                self._sockets.append(server)
                for source, sink, listen in ((client, server, True), (server, client, False)):
                    thread = threading.Thread(target=self._pump, args=(source, sink, listen), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, listen: bool) -> None:  # noqa: FBT001 - for a thread
        with suppress(OSError):
            while data := source.recv(65536):
                if listen:
                    self.sent += data
                sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def wire_to(url: str) -> Iterator[Wire]:
    """Lay a wire to a server."""
    host, _, port = url.removeprefix("http://").partition(":")
    wire = Wire(socket.create_server(("127.0.0.1", 0)), (host, int(port)))
    try:
        yield wire
    finally:
        wire.close()


@pytest.fixture(scope="session")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Plugins:
    """Return the executors that the services of the tests run."""
    return Plugins(tmp_path_factory.mktemp("plugins"))


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


def shared_by_apis(url: str) -> dict[str, str]:
    """Return the variables of apis that share a database."""
    return {"QRS_DATABASE_URL": url, "QRS_SIGNING_KEY": SIGNING_KEY}


@pytest.fixture(scope="session")
def standing(tmp_path_factory: pytest.TempPathFactory, plugins: Plugins) -> Iterator[list[ServerProcess]]:
    """Share two executors between the tests that leave them as they were."""
    with ExitStack() as stack:
        yield Cluster(tmp_path_factory.mktemp("standing"), plugins, stack).executors(2)
