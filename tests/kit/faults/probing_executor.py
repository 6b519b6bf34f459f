"""An executor that plays code which a client got to run in a worker: it tries what it can reach, and tells."""

import ctypes
import json
import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from qiskit.primitives import PrimitiveResult
from qiskit.primitives.containers.sampler_pub import SamplerPub

from kit.faults.scripted_executor import server_pid
from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.executors import AerExecutor


class ProbingExecutor(AerExecutor):
    """Fails jobs with a circuit called `probe` with what it reached, by name; `LOOT` lists files to look for."""

    def execute_sampler(
        self, pubs: Sequence[SamplerPub], options: Mapping[str, Any], backend_name: str
    ) -> PrimitiveResult[Any]:
        if pubs[0].circuit.name != "probe":
            return super().execute_sampler(pubs, options, backend_name)
        raise InvalidInputError(json.dumps({name: _reached(attempt) for name, attempt in _attempts().items()}))


def _attempts() -> dict[str, Callable[[], object]]:
    own = Path(tempfile.gettempdir()) / "own"
    return {
        "compute on a thread": _on_a_thread,
        "write to its own folder": lambda: own.write_text("x"),
        **{f"read {path}": Path(path).read_bytes for path in os.environ["LOOT"].split(":")},
        "list the home folder": lambda: os.listdir(os.path.expanduser("~root")),  # noqa: PTH111, PTH208 - as code would
        "write elsewhere": lambda: Path("/tmp/left-by-a-probe").write_text("x"),  # noqa: S108 - that is the point
        "secrets in the environment": _find_secrets,
        "a socket": lambda: socket.socket().close(),
        "a Unix socket": lambda: socket.socket(socket.AF_UNIX).close(),
        "another process": _fork,
        "a program": lambda: subprocess.run(["/bin/true"], check=True),
        "a namespace": lambda: _call(272, 0x04000000),
        **_attempts_at("server", server_pid()),
        **_attempts_at("template", os.getppid()),
    }


def _attempts_at(name: str, pid: int) -> dict[str, Callable[[], object]]:
    return {
        f"read the {name}'s environment": Path(f"/proc/{pid}/environ").read_bytes,
        f"read the {name}'s memory": lambda: os.open(f"/proc/{pid}/mem", os.O_RDONLY),
        f"a signal to the {name}": lambda: os.kill(pid, 0),
        f"a look into the {name}": lambda: _call(310, pid, 0, 0, 0, 0, 0),
    }


def _reached(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except (OSError, subprocess.SubprocessError):
        return False
    return True


def _on_a_thread() -> None:
    thread = threading.Thread(target=sum, args=([1, 2],))
    thread.start()
    thread.join()


def _fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def _find_secrets() -> None:
    inherited = Path("/proc/self/environ").read_bytes().decode().split("\0")
    if not any(line.startswith("QRS_") and "KEY" in line.partition("=")[0] for line in [*inherited, *os.environ]):
        raise FileNotFoundError


def _call(number: int, *arguments: int) -> None:
    """Make a system call, by its number on x86_64."""
    if ctypes.CDLL(None, use_errno=True).syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
