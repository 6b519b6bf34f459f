"""Multiprocessing's fork server, from which workers are forked; the only module of `worker` with private names.

It ends once nobody holds the other end of its pipe "alive" any more. Python gives that end to each process that it
forks too, so that a worker in the middle of a job would keep alive the very process whose end is to be its own:

    server killed, pipe held by the worker    fork server stays, and the worker computes until its job is over
    server killed, pipe held by the server    fork server ends, and the kernel kills the worker with it

This module imports nothing heavy: the command `executor` starts the fork server before it imports what it is itself.
"""

import atexit
import multiprocessing
import os
import re
import signal
import sys
from contextlib import suppress
from functools import cache
from multiprocessing import current_process, forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path
from threading import Lock
from typing import Any, Final

from qiskit_runtime_server.worker.confinement.scratch import home

FORKS: Final = multiprocessing.get_context("forkserver")
"""Where processes are forked from a template, which begins with the first of them at the latest."""
FORKS.set_forkserver_preload(["qiskit_runtime_server.worker.template"])

# Has the C library ask for huge pages where it takes much memory: Linux mostly gives them to those who ask only. States
# are gone through again and again: if their pages have 4 KiB, to look these up takes a seventh of qsim's time.
# (https://www.gnu.org/software/libc/manual/html_node/Memory-Allocation-Tunables.html)
_TUNABLES: Final = "GLIBC_TUNABLES"
_HUGE_PAGES: Final = "glibc.malloc.hugetlb"

# Of the server alone; some are secrets.
_SETTINGS: Final = ("QRS_", "OTEL_")
# Of whoever started it, such as QISKIT_IBM_TOKEN and PGPASSWORD, and addresses with a password.
_SECRET_NAMES: Final = re.compile("KEY|TOKEN|SECRET|PASS|_PWD|CREDENTIAL")
_SECRET_VALUES: Final = re.compile("://[^/@ ]*:[^/@ ]+@")
# Of OpenMP: each worker would bind its threads to the first cores, where those of all others are.
# (https://www.openmp.org/spec-html/5.2/openmpch21.html)
_PLACES: Final = {"OMP_PROC_BIND", "OMP_PLACES", "GOMP_CPU_AFFINITY", "KMP_AFFINITY"}

# Of a socket. (https://man7.org/linux/man-pages/man7/unix.7.html)
_MOST_PATH_BYTES: Final = 107

_starting: Final = Lock()


def start_template() -> None:
    """Start the template, unless it is there; return at once, while it imports for as long as a second.

    It sees no setting of the server, no variable that looks like a secret, and none that binds threads to cores. It and
    its workers have large states in huge pages, unless the environment says otherwise. It ends with this process, also
    where that fails before it has any worker.
    """
    with _starting:
        _keep_house()
        _end_with_process()
        before = dict(os.environ)
        for name in filter(_is_hidden, before):
            del os.environ[name]
        tunables = before.get(_TUNABLES, "")
        if _HUGE_PAGES not in tunables:
            os.environ[_TUNABLES] = f"{tunables}:{_HUGE_PAGES}=1".lstrip(":")
        try:
            forkserver.ensure_running()
        finally:
            os.environ.pop(_TUNABLES, None)
            os.environ.update(before)


def start(process: BaseProcess) -> None:
    """Start a process of `FORKS`, from a template that has what `start_template` says, also if it has to start, too."""
    start_template()
    process.start()


def let_fork_server_end() -> None:
    """Close this process's end of the pipe; nothing happens in a process that was not forked by a fork server."""
    server: Any = forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None


def _is_hidden(name: str) -> bool:
    plain = name.upper()
    return (
        plain.startswith(_SETTINGS)
        or plain in _PLACES
        or bool(_SECRET_NAMES.search(plain) or _SECRET_VALUES.search(os.environ[name]))
    )


def _keep_house() -> None:
    """Have multiprocessing put its socket into this process's home; by itself it makes a folder that nobody sweeps."""
    process: Any = current_process()
    if "tempdir" not in process._config:
        process._config["tempdir"] = _short_name(home())


def _short_name(folder: Path) -> str:
    """Return a name that a folder has in this process, and that leaves room for the name of a socket."""
    if len(os.fsencode(folder)) <= _MOST_PATH_BYTES - len("/listener-12345678") or sys.platform != "linux":
        return str(folder)
    return f"/proc/self/fd/{os.open(folder, os.O_PATH | os.O_CLOEXEC)}"


@cache
def _end_with_process() -> None:
    atexit.register(_end_template)


def _end_template() -> None:
    """Kill it: while it imports it does not look whether anybody needs it any more."""
    server: Any = forkserver._forkserver
    if server._forkserver_pid is not None:
        with suppress(ProcessLookupError):
            os.kill(server._forkserver_pid, signal.SIGKILL)
