"""An executor that plays code which a client got to run in a worker: it tries what it can reach, and tells."""

import ctypes
import errno
import fcntl
import json
import os
import resource
import socket
import stat
import subprocess
import tempfile
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from qiskit.primitives import PrimitiveResult
from qiskit.primitives.containers.sampler_pub import SamplerPub

from kit.faults.scripted_executor import server_pid
from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.executors import AerExecutor

# CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: to files, which Landlock keeps.
_TO_FILES = 1 << 1 | 1 << 2


class ProbingExecutor(AerExecutor):
    """Fails jobs with a circuit called `probe` with the names of what it reached; `LOOT` lists files to look for."""

    def execute_sampler(
        self, pubs: Sequence[SamplerPub], options: Mapping[str, Any], backend_name: str
    ) -> PrimitiveResult[Any]:
        if pubs[0].circuit.name != "probe":
            return super().execute_sampler(pubs, options, backend_name)
        raise InvalidInputError(json.dumps([name for name, attempt in _attempts().items() if _reached(attempt)]))


def _attempts() -> dict[str, Callable[[], object]]:
    own = Path(tempfile.gettempdir()) / "own"
    loot = [Path(path) for path in os.environ["LOOT"].split(":")]
    changeable = [path for path in loot if path.parent != Path("/etc")]
    return {
        "compute on a thread": _on_a_thread,
        "its own limits": lambda: resource.prlimit(os.getpid(), resource.RLIMIT_CPU),
        "write to its own folder": lambda: own.write_text("x"),
        **{f"read {path.name}": path.read_bytes for path in loot},
        **{f"change the mode of {path.name}": partial(_change_mode, path) for path in changeable},
        **{f"change the times of {path.name}": partial(os.utime, path) for path in changeable},
        **{f"change the owner of {path.name}": partial(os.chown, path, -1, os.getgid()) for path in changeable},
        "list the home folder": lambda: os.listdir(os.path.expanduser("~root")),  # noqa: PTH111, PTH208 - as code would
        "write elsewhere": lambda: Path("/tmp/left-by-a-probe").write_text("x"),  # noqa: S108 - that is the point
        "secrets in the environment": _find_secrets,
        "a socket": lambda: socket.socket().close(),
        "a Unix socket": lambda: socket.socket(socket.AF_UNIX).close(),
        "another process": _fork,
        "a program": lambda: subprocess.run(["/bin/true"], check=True),
        "a namespace": lambda: _call(272, 0x04000000),
        "memory of System V": lambda: _call(29, 0x17171717, 4096, 0o1600),
        "a character typed into the terminal": _type,
        "the name of the machine": lambda: socket.sethostname(socket.gethostname()),
        "rights of root": _find_capabilities,
        **_attempts_at("server", server_pid()),
        **_attempts_at("template", os.getppid()),
    }


def _attempts_at(name: str, pid: int) -> dict[str, Callable[[], object]]:
    return {
        f"read the {name}'s environment": Path(f"/proc/{pid}/environ").read_bytes,
        f"read the {name}'s memory": lambda: os.open(f"/proc/{pid}/mem", os.O_RDONLY),
        f"a signal to the {name}": lambda: os.kill(pid, 0),
        f"a look into the {name}": lambda: _call(310, pid, 0, 0, 0, 0, 0),
        f"the limits of the {name}": lambda: resource.prlimit(pid, resource.RLIMIT_CPU),
        f"the priority of the {name}": lambda: os.setpriority(os.PRIO_PROCESS, pid, 0),
        f"the scheduler of the {name}": lambda: os.sched_setscheduler(pid, os.SCHED_OTHER, os.sched_param(0)),
        f"the kernel to signal the {name}": lambda: _have_signalled(pid),
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


def _find_capabilities() -> None:
    status = Path("/proc/self/status").read_text()
    has = int(status.partition("CapPrm:")[2].split()[0], 16)
    if os.getuid() != 0 and has & ~_TO_FILES == 0:
        raise PermissionError


def _change_mode(path: Path) -> None:
    """Give a file the mode that it has; to ask for that, nobody needs a right to the file."""
    path.chmod(stat.S_IMODE(path.stat().st_mode))


def _type() -> None:
    """Find out whether the kernel itself refuses, as there is no terminal."""
    try:
        fcntl.ioctl(2, termios.TIOCSTI, b" ")
    except OSError as error:
        if error.errno == errno.EPERM:
            raise


def _have_signalled(pid: int) -> None:
    """Have a process get a signal for what happens on a descriptor, which nothing does."""
    ours, _ = os.pipe()
    fcntl.fcntl(ours, fcntl.F_SETOWN, pid)


def _call(number: int, *arguments: int) -> None:
    """Make a system call, by its number on x86_64."""
    if ctypes.CDLL(None, use_errno=True).syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")
