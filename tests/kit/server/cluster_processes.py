"""Clusters of real processes: apis and executor services that share a folder, a key and perhaps a database."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import kit
from kit.faults.wire import Wire, wire_to
from kit.server.server_process import ServerProcess

KEY = "a key for tests"
SIGNING_KEY = "a signing key for tests, of 32 bytes or more"
ENTRY_POINTS = """[qiskit_runtime_server.executors]
counted = kit.server.counted_executor:CountedExecutor
faulty = kit.server.counted_executor:FaultyExecutor
patient = kit.server.counted_executor:PatientAerExecutor
null = kit.faults.scripted_executor:ScriptedExecutor
"""


class Plugins:
    """The executors of `counted_executor`, as if they were installed, and what they write down.

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
        path = kit.environment(self._distribution)["PYTHONPATH"]
        # They write outside of their own folder.
        return {"PYTHONPATH": path, "STARTS": str(self.starts), "QRS_CONFINE_WORKERS": "false"}

    def let_go(self, name: str) -> None:
        """Let the jobs of this name, `held <word>`, end."""
        self.starts.with_name(name).touch()


class Cluster:
    """Processes that share a folder and a key.

    Attributes:
        data_dir: Of the apis.
        held: The name of jobs that run until `let_go`.
    """

    def __init__(self, folder: Path, plugins: Plugins, stack: ExitStack) -> None:
        self.data_dir = folder / "data"
        self.held = f"held {uuid4().hex}"
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

    def executors(
        self, count: int = 1, *options: str, name: str = "counted", **environment: str | None
    ) -> list[ServerProcess]:
        """Start executor services with one slot each, side by side."""
        arguments = ("executor", name, "--port=0", "--slots=1", "--memory=512Mi", *options)
        return self._ready([self.begin(*arguments, **environment) for _ in range(count)])

    def executor(self, *options: str, name: str = "counted", **environment: str | None) -> ServerProcess:
        """Start an executor service with one slot."""
        return self.executors(1, *options, name=name, **environment)[0]

    def api(self, *urls: str, name: str = "counted", **environment: str | None) -> ServerProcess:
        """Start an api for the executor services at `urls`."""
        executors = [f"--executors={name}={url}" for url in urls]
        arguments = ("api", "--port=0", f"--data-dir={self.data_dir}", *executors)
        return self._ready([self.begin(*arguments, **environment)])[0]

    def wire(self, server: ServerProcess) -> Wire:
        """Return a wire to a server."""
        return self._stack.enter_context(wire_to(server.url))

    def starts(self, name: str) -> list[int]:
        """Return which executors have started a job of this name since the test began, by their process ids."""
        return [executor for executor, started in self.all_starts() if started == name]

    def all_starts(self) -> list[tuple[int, str]]:
        """Return the process ids of the executors that have started jobs since the test began, with the jobs' names."""
        lines = [line.partition(" ") for line in self._plugins.starts.read_text()[self._before :].splitlines()]
        return [(int(executor), name) for executor, _, name in lines]

    def wait_for_start(self, name: str) -> int:
        """Return the process id of the executor that starts the job first."""
        wait_until(lambda: bool(self.starts(name)))
        return self.starts(name)[0]

    def let_go(self) -> None:
        """Let the jobs end that are held."""
        self._plugins.let_go(self.held)

    def _ready(self, servers: list[ServerProcess]) -> list[ServerProcess]:
        for server in servers:
            server.wait_until_ready()
        return servers


def shared_by_apis(url: str) -> dict[str, str]:
    """Return the variables of apis that share a database."""
    return {"QRS_DATABASE_URL": url, "QRS_SIGNING_KEY": SIGNING_KEY}


def wait_until(condition: Callable[[], bool], *, seconds: float = 60) -> float:
    """Return how many seconds it took until `condition` held; fail the test after `seconds`.

    What takes long is looked at less often, as in `kit.kubernetes.client.eventually`.
    """
    start = time.monotonic()
    while not condition():
        waited = time.monotonic() - start
        assert waited < seconds, f"not within {seconds} s"
        time.sleep(min(0.1, 0.02 + waited / 50))
    return time.monotonic() - start


def workers_of(server: ServerProcess, *, paused: bool = False) -> set[int]:
    """Return the ids of the living worker processes of a server, also of those `paused` until their account's next job.

    Those that are in a slot are not paused.
    """
    templates = templates_of(server.process.pid)
    return {
        pid
        for pid, name, state, parent in _processes()
        if name == "qrs-worker" and parent in templates and (paused or state != "T")
    }


def templates_of(server: int) -> set[int]:
    """Return the id of the living process that workers of the server of this id are forked from, if there is one."""
    children = [pid for pid, _, _, parent in _processes() if parent == server]
    return {pid for pid in children if b"forkserver" in _command_line_of(pid)}


def _command_line_of(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""  # it has gone since it was listed


def own_memory_of(pid: int) -> int:
    """Return how many bytes a process holds that are no file's; 0 if it is gone."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    return sum(int(size) * 1024 for size in re.findall(r"RssAnon:\s+(\d+) kB", status))


def is_alive(pid: int) -> bool:
    """Return whether a process exists and is more than an entry that nobody has collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def _processes() -> Iterator[tuple[int, str, str, int]]:
    """Iterate over the id, the name, the state as proc(5) has it, and the parent of each process that lives."""
    for path in Path("/proc").glob("[0-9]*"):
        try:
            begin, _, rest = (path / "stat").read_text().rpartition(")")
        except OSError:
            continue
        state, parent, *_ = rest.split()
        if state != "Z":
            yield int(path.name), begin.partition("(")[2], state, int(parent)
