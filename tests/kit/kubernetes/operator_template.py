"""A process that has imported the operator, of which the operators of tests are forks.

To import the operator takes more than a second of a core, and tests start sixty of them. A fork of a process that has
done so takes milliseconds, and goes on where the command `qiskit-runtime-operator` begins.

    tests ── arguments, variables, pipe ──> template ── fork ──> operator
      ^────────── pipe: process id, at last exit code ──────────────┘

`python -m kit.kubernetes.operator_template SOCKET` is the template. When nobody has the other end of its socket any
more, it ends, and its operators with it: also where tests are killed.
"""

import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from selectors import EVENT_READ, BaseSelector, DefaultSelector
from types import TracebackType
from typing import IO, Any, NoReturn, Self

from kit import environment
from qiskit_runtime_operator import entry_point

_NUMBER = 8
_LONGEST = 2**17
_RUN_SECONDS = 60


class OperatorTemplate:
    """Starts operators; a context, at whose end all are gone."""

    def __enter__(self) -> Self:
        self._requests, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "kit.kubernetes.operator_template", str(theirs.fileno())],
                env=environment(),
                stdin=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
            )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._requests.close()
        self._process.wait()

    def start(self, variables: Mapping[str, str], log: Path) -> "Fork":
        """Start `qiskit-runtime-operator run` with these environment variables and no others.

        The client library has read KUBECONFIG when it was imported, so that the operator is given it as an option.
        """
        with log.open("ab") as output:
            return self._fork(["run", f"--kubeconfig={variables['KUBECONFIG']}"], variables, output, output)

    def run(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        """Run `qiskit-runtime-operator` with these arguments to its end."""
        command = [str(argument) for argument in arguments]
        with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
            code = self._fork(command, os.environ, output, errors).wait(_RUN_SECONDS)
            for file in (output, errors):
                file.seek(0)
            return subprocess.CompletedProcess(command, code, output.read(), errors.read())

    def _fork(self, arguments: Sequence[str], variables: Mapping[str, str], output: IO[Any], errors: IO[Any]) -> "Fork":
        read, write = os.pipe()
        message = json.dumps([arguments, dict(variables)]).encode()
        try:
            socket.send_fds(self._requests, [message], [write, output.fileno(), errors.fileno()])
        finally:
            os.close(write)
        return Fork(read)


class Fork:
    """The process of an operator, with what subprocess.Popen has for it.

    Attributes:
        pid: Its process id.
        returncode: Its exit code, or minus the signal that has ended it; None as long as nobody has seen it end.
    """

    def __init__(self, report: int) -> None:
        self.returncode: int | None = None
        self._report = report
        self._lock = threading.Lock()
        self.pid = self._read()

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""
        return self._exit_code(seconds=0)

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code.

        Raises:
            TimeoutExpired: If it takes longer than `timeout` seconds.
        """
        code = self._exit_code(timeout)
        if code is None:
            assert timeout is not None
            raise subprocess.TimeoutExpired("qiskit-runtime-operator", timeout)
        return code

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it, unless it has ended."""
        self.send_signal(signal.SIGKILL)

    def _exit_code(self, seconds: float | None) -> int | None:
        with self._lock:
            if self.returncode is None and select.select([self._report], [], [], seconds)[0]:
                self.returncode = self._read()
                os.close(self._report)
            return self.returncode

    def _read(self) -> int:
        number = os.read(self._report, _NUMBER)
        if not number:
            raise RuntimeError("the template of operators has ended")
        return int.from_bytes(number, signed=True)


def main(number: str) -> None:
    """Import the operator, and fork one for each message on the socket of this number."""
    import_module("qiskit_runtime_operator.__main__")
    # What has been imported stays: to look through it again is to copy it.
    gc.freeze()
    # The keyboard's interrupt reaches the tests too, which then end this process.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=int(number)) as requests, DefaultSelector() as selector:
        selector.register(requests, EVENT_READ)
        while True:
            for key, _ in selector.select():
                if key.data is not None:
                    _report_end(selector, key.fd, *key.data)
                elif not _fork_operator(selector, requests):
                    return


def _fork_operator(selector: BaseSelector, requests: socket.socket) -> bool:
    """Do what a message says; if there will be none any more, kill all operators and return False."""
    message, files, _, _ = socket.recv_fds(requests, _LONGEST, 3)
    if not message:
        for pid, _ in filter(None, [key.data for key in selector.get_map().values()]):
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return False
    report, *streams = files
    pid = os.fork()
    if pid == 0:
        os.close(report)
        arguments, variables = json.loads(message)
        _operate(arguments, variables, streams)
    for stream in streams:
        os.close(stream)
    os.write(report, _bytes_of(pid))
    selector.register(os.pidfd_open(pid), EVENT_READ, (pid, report))
    return True


def _report_end(selector: BaseSelector, descriptor: int, pid: int, report: int) -> None:
    selector.unregister(descriptor)
    os.close(descriptor)
    _, status = os.waitpid(pid, 0)
    os.write(report, _bytes_of(os.waitstatus_to_exitcode(status)))
    os.close(report)


def _operate(arguments: list[str], variables: Mapping[str, str], streams: Iterable[int]) -> NoReturn:
    """Go on as the command does."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream, own in zip(streams, (sys.stdout, sys.stderr), strict=True):
        os.dup2(stream, own.fileno())
    os.environ.clear()
    os.environ.update(variables)
    sys.argv = ["qiskit-runtime-operator", *arguments]
    entry_point.main()
    sys.exit()


def _bytes_of(number: int) -> bytes:
    return number.to_bytes(_NUMBER, signed=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
