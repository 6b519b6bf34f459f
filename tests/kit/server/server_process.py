"""A real server process, for tests that speak HTTP."""

import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from queue import Empty, Queue
from typing import Protocol

import pytest

NO_EXECUTOR = "--executors=aer=http://127.0.0.1:9"
"""Of a server that runs no job: nobody listens there, and nothing of a simulator is started or imported."""
START_SECONDS = 120
STOP_SECONDS = 60


class ServerProcess:
    """A running `qiskit-runtime-server serve`."""

    def __init__(self, process: "subprocess.Popen[str]", data_dir: Path) -> None:
        self.process = process
        self.data_dir = data_dir
        self.output: list[str] = []
        self._lines: Queue[str | None] = Queue()
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        self.url = ""

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.output.append(line)
                self._lines.put(line)
        self._lines.put(None)

    def wait_until_ready(self) -> None:
        """Return when the server listens; fail the test if it does not."""
        while not self.url:
            try:
                line = self._lines.get(timeout=START_SECONDS)
            except Empty:
                pytest.fail(f"The server did not start in {START_SECONDS} s:\n{''.join(self.output)}")
            if line is None:
                pytest.fail(f"The server ended with {self.process.wait()}:\n{''.join(self.output)}")
            if match := re.search(r"Listening on (https?://[^\s\"]+)", line):
                self.url = match[1]

    @property
    def internal_url(self) -> str:
        """Where the internal port is, once the server listens."""
        match = re.search(r"internal\W+(http://[^/\s]+)", "".join(self.output))
        assert match is not None, "".join(self.output)
        return match[1]

    def memory(self) -> tuple[int, int]:
        """Return how much memory the process holds now, and the most since `forget_peak`, in bytes."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        now, peak = (int(re.findall(rf"{name}:\s+(\d+) kB", status)[0]) * 1024 for name in ("VmRSS", "VmHWM"))
        return now, peak

    def forget_peak(self) -> None:
        """Begin to look for the most memory anew."""
        Path(f"/proc/{self.process.pid}/clear_refs").write_text("5")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and return the exit code; of a server that was not killed, `output` is complete then."""
        self.process.send_signal(number)
        code = self.process.wait(STOP_SECONDS)
        if number != signal.SIGKILL:
            self.reader.join(STOP_SECONDS)
        return code


class StartServer(Protocol):
    """Starts a server on the test's data folder."""

    def __call__(self, *options: str, **environment: str) -> ServerProcess: ...


@contextmanager
def running_server(
    data_dir: Path, *options: str, within: Sequence[str] = (), **environment: str
) -> Iterator[ServerProcess]:
    """Start a server on a free port, by way of the command `within`, and kill it at the end, if it is still there."""
    process = subprocess.Popen(
        [*within, *_command(sys.executable, data_dir, options)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1", **environment},
    )
    server = ServerProcess(process, data_dir)
    try:
        server.wait_until_ready()
        yield server
    finally:
        process.kill()
        process.wait()
        server.reader.join()


def refusal(python: str, data_dir: Path, *options: str, **environment: str) -> str:
    """Return what a server says that does not start; fail the test if it starts, or ends in another way."""
    command, variables = _command(python, data_dir, options), {**os.environ, **environment}
    refused = subprocess.run(command, env=variables, capture_output=True, text=True, timeout=60, check=False)
    assert refused.returncode == 1, refused.stderr
    assert "Traceback" not in refused.stderr
    return refused.stderr


def _command(python: str, data_dir: Path, options: Sequence[str]) -> list[str | Path]:
    return [python, "-m", "qiskit_runtime_server", "serve", "--port=0", f"--data-dir={data_dir}", *options]
