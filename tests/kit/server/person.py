"""Somebody at a shell: a HOME of their own, the commands of one environment, and what they type."""

import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit import ROOT
from kit.server.server_process import ServerProcess

SECONDS = 240


class Person:
    """Somebody with a HOME, a shell, and the commands of an environment.

    Attributes:
        variables: Of the shell; nothing of the tests' own is in them.
    """

    def __init__(self, home: Path, commands: Path) -> None:
        self.home = home
        self.variables = {"HOME": str(home), "PATH": f"{commands}:/usr/bin:/bin", "PYTHONUNBUFFERED": "1"}

    def tries(self, command: str, *, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
        """Type a command and wait for its end."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=folder,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def types(self, command: str, *, folder: Path = ROOT) -> str:
        """Type a command that has to work, and return what it printed."""
        done = self.tries(command, folder=folder)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def serves(self, *options: str) -> Iterator[ServerProcess]:
        """Start README's server in another shell, on a free port."""
        with self.starts(" ".join(["qiskit-runtime-server serve --port 0", *options])) as server:
            yield server

    @contextmanager
    def starts(self, command: str, **variables: str) -> Iterator[ServerProcess]:
        """Start a server in another shell, in HOME; it gets SIGTERM at the end, if it is still there.

        Args:
            command: The last line of it is the server.
            variables: Of that shell only.
        """
        *before, last = command.strip().splitlines()
        process = subprocess.Popen(
            ["bash", "-euo", "pipefail", "-c", "\n".join([*before, f"exec {last}"])],
            env=self.variables | variables,
            cwd=self.home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        server = ServerProcess(process, self.home)
        try:
            server.wait_until_ready()
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(SECONDS)
            server.reader.join()
