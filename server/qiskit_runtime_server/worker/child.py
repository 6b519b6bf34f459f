"""What runs inside a worker process: the only place where what clients send is decoded."""

import ctypes
import gc
import os
import resource
import signal
import socket
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec.structs import replace

from qiskit_runtime_server.errors import (
    CircuitTooLongError,
    InternalError,
    JobError,
    OutOfMemoryError,
    ServerError,
    is_panic,
)
from qiskit_runtime_server.log.lines import LogFormat, begin_log
from qiskit_runtime_server.log.trace import begin_job
from qiskit_runtime_server.messages.messages import (
    LENGTH,
    Completed,
    Event,
    Failed,
    Fitted,
    Log,
    Metrics,
    Pieces,
    Ready,
    Stage,
    StageName,
    Task,
    framed,
)
from qiskit_runtime_server.worker.confinement.kernel import confine_calls, confine_files, folders_of
from qiskit_runtime_server.worker.confinement.scratch import keep
from qiskit_runtime_server.worker.confinement.user import leave_root
from qiskit_runtime_server.worker.fork_server import let_fork_server_end

if TYPE_CHECKING:
    from qiskit_runtime_server.executors.base import BaseExecutor

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_NAME: Final = 15
_MADV_NOHUGEPAGE: Final = 15
# As tools list it, where the command line is that of the template.
_NAME: Final = b"qrs-worker"
# Messages quote what clients send, which may be megabytes.
_MAX_REASON: Final = 2_000
_MAX_LOG: Final = 100_000
# More than any job may take; timers of the kernel have a largest value.
_MOST_SECONDS: Final = 1e7
# What is shorter is over before anybody could make use of it.
_WORTH_TELLING_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerSpec:
    """What a worker process runs; sent to it by pickle.

    Attributes:
        executor: The name of an installed executor, or an executor.
        memory_bytes: What jobs may use in a slot, or None for no limit.
        look_bytes: What they may use in this process, in which they are only looked at; None in a slot.
        threads: How many threads a simulation may use where its task does not say it.
        snapshots: Folder with further devices.
        options: As in `executors.ready`.
        confined: Whether the process is to lose what no simulation needs; see `worker.confinement.kernel`.
        log_format: How it writes warnings to its parent's log.
        shared: Whether it runs jobs of several accounts, one after the other; None for only if it has a GPU.
    """

    executor: "str | BaseExecutor"
    memory_bytes: int | None
    look_bytes: int | None = None
    threads: int
    snapshots: Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    confined: bool = True
    log_format: LogFormat = "text"
    shared: bool | None = None


def work(connection: socket.socket, spec: WorkerSpec, scratch: Path) -> None:
    """Run tasks from `connection` one by one until it is closed.

    The first event is Ready, or Failed if the executor does not come up. Files are written to `scratch` only.
    """
    _settle_in(scratch)
    confinement = ["user"] * (spec.confined and leave_root(scratch))
    # After that, as the kernel forgets it with the former user.
    _die_with_parent()
    begin_log("warning", spec.log_format)
    try:
        from qiskit_runtime_server.worker.run import run_program  # noqa: PLC0415 - the server must not import qiskit
        from qiskit_runtime_server.worker.template import LIBRARIES  # noqa: PLC0415

        confinement += ["Landlock"] * (spec.confined and confine_files(scratch, _readable(spec)))
        executor = _executor(spec)
        capabilities = executor.capabilities()
    except ServerError as error:
        _send(connection, Failed(reason=str(error), code=0))
        return
    except Exception:  # noqa: BLE001 - a plug-in's mistake, reported by the parent
        _send(connection, Failed(reason=traceback.format_exc(), code=0))
        return
    _limit_memory(spec.memory_bytes if spec.look_bytes is None else spec.look_bytes)
    # What the executor has imported stays, too.
    gc.freeze()
    confinement += ["seccomp"] * (spec.confined and confine_calls())
    try:
        told = replace(capabilities, confinement=tuple(confinement), fitted=_fitted(spec))
        _send(connection, Ready(capabilities=told))
    except ConnectionError:
        return  # nobody waits for it any more
    tasks = msgspec.msgpack.Decoder(Task)
    while (frame := _receive(connection)) is not None:
        task = tasks.decode(frame)
        begin_job(task.job_id, task.traceparent)
        LIBRARIES.limit(limits=task.cores or spec.threads, user_api="blas")
        executor.use_cores(task.cores or spec.threads)
        last: list[Event] = []
        last.append(_outcome(run_program, task, executor, connection, last))
        _send(connection, *last)
        del frame, task
        _trim()


def _settle_in(scratch: Path) -> None:
    """Have libraries keep their caches and temporary files in a folder of this process's own, while it lives."""
    keep(scratch.parent)
    for name in ("HOME", "TMPDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR", "CUPY_CACHE_DIR"):
        os.environ[name] = str(scratch)
    # What the template may have found out already.
    tempfile.tempdir = None


def _readable(spec: WorkerSpec) -> Iterator[Path]:
    """Iterate over what the executor needs beside what every Python process does."""
    if spec.snapshots is not None:
        yield spec.snapshots
    if isinstance(spec.executor, str):
        from qiskit_runtime_server.executors.registry import entries  # noqa: PLC0415 - as above

        for entry in entries().select(name=spec.executor):
            yield from folders_of(entry.module)
    else:
        # A script's, whose other modules may lie beside it, in the working folder.
        yield from map(Path, filter(None, sys.path))


def _executor(spec: WorkerSpec) -> "BaseExecutor":
    from qiskit_runtime_server.executors.ready import ready  # noqa: PLC0415 - as above

    executor = ready(
        spec.executor, spec.options, memory_bytes=spec.memory_bytes, threads=spec.threads, snapshots=spec.snapshots
    )
    executor.time_limit = _time_limit
    return executor


def _fitted(spec: WorkerSpec) -> Fitted:
    kind = spec.executor if isinstance(spec.executor, str) else ""
    return Fitted(kind=kind, memory_bytes=spec.memory_bytes, threads=spec.threads, options=spec.options)


class _Estimates:
    """Tells the parent how long a simulation is about to take, where it is notably longer than all before."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._longest = _WORTH_TELLING_SECONDS

    def __call__(self, seconds: float) -> None:
        if seconds > self._longest:
            self._longest = 2 * seconds
            _send(self._connection, Log(text="", expected_seconds=seconds))


def _outcome(
    run_program: Callable[..., Completed],
    task: Task,
    executor: "BaseExecutor",
    connection: socket.socket,
    later: list[Event],
) -> Completed | Failed:
    """Run one task; whatever goes wrong becomes a reason. What can wait until the end is put into `later`."""
    start = time.monotonic()
    failed: JobError
    try:
        return run_program(
            task,
            executor,
            lambda line: _send(connection, Log(text=f"{line}\n")),
            expect=_Estimates(connection),
            tell=lambda progress: _send(connection, Log(text="", progress=progress)),
            enter=partial(_tell_stage, connection, later, traced=task.traceparent is not None),
        )
    except CircuitTooLongError as error:
        failed = CircuitTooLongError(f"{error} The limit: {task.limit}." if task.limit else str(error))
    except JobError as error:
        failed = error
    except MemoryError:
        failed = OutOfMemoryError("The job needs more memory than its slot has.")
    except BaseException as error:  # the top loop: the job ends
        if not isinstance(error, Exception) and not is_panic(error):
            raise
        _send(connection, Log(text=traceback.format_exc()[-_MAX_LOG:]))
        failed = InternalError(f"{type(error).__name__}: {error}")
    return Failed(
        reason=str(failed)[:_MAX_REASON],
        code=failed.code,
        worker_unfit=isinstance(failed, InternalError),
        metrics=Metrics(seconds=time.monotonic() - start),
    )


def _tell_stage(connection: socket.socket, later: list[Event], stage: Stage, *, traced: bool) -> None:
    """Tell the parent that the task has been decoded, which it has to know, and for a trace of another stage, later."""
    told = Log(text="", stage=stage)
    if stage.name is StageName.SIMULATE:
        _send(connection, told)
    elif traced:
        # With the result, so that the parent is woken once.
        later.append(told)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    """Have the kernel end this process after `seconds`: a simulator that holds the interpreter lock hears no signal.

    The parent knows by SIGALRM why it ended.
    """
    signal.setitimer(signal.ITIMER_REAL, min(seconds, _MOST_SECONDS))
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _send(connection: socket.socket, *events: Event) -> None:
    """Send events; all but the last are small."""
    *small, last = events
    head = b"".join(map(framed, small))
    for piece in Pieces(last).framed():
        connection.sendall(head + piece if head else piece)
        head = b""


def _receive(connection: socket.socket) -> bytearray | None:
    """Return the next message, or None once the other end is closed."""
    head = _read(connection, LENGTH.size)
    return None if head is None else _read(connection, LENGTH.unpack(head)[0])


def _read(connection: socket.socket, size: int) -> bytearray | None:
    data = bytearray(size)
    rest = memoryview(data)
    while rest:
        count = connection.recv_into(rest)
        if count == 0:
            return None
        rest = rest[count:]
    return data


def _die_with_parent() -> None:
    """Name this process, and have the kernel kill it when its parent dies, which the fork server does with the server.

    This is for Linux; elsewhere, and where the parent is dead already, the closed socket ends it after its job.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        ctypes.CDLL(None).prctl(_PR_SET_NAME, _NAME)
    let_fork_server_end()


def _limit_memory(memory_bytes: int | None) -> None:
    """Let allocations fail with MemoryError before the kernel's killer takes the whole container (Linux).

    RLIMIT_DATA counts private writable memory, which is what a simulation allocates; RLIMIT_AS would count
    libraries too.
    """
    if memory_bytes is None or sys.platform != "linux":
        return
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    used = int(fields["VmData"].split()[0]) * 1024
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (used + memory_bytes, hard))


def _trim() -> None:
    """Return freed memory to the system, so that an idle worker is small and stays so."""
    if sys.platform == "linux":
        library = ctypes.CDLL(None)
        library.malloc_trim(0)
        if (begin := _heap_begin()) is not None:
            library.sbrk.restype = ctypes.c_void_p
            size = library.sbrk(ctypes.c_ssize_t(0)) - begin
            # The C library has asked for huge pages here, too: with these the kernel would fill freed memory again.
            library.madvise(ctypes.c_void_p(begin), ctypes.c_size_t(size), _MADV_NOHUGEPAGE)


@cache
def _heap_begin() -> int | None:
    """Return where the heap begins, if there is one; larger pieces of memory, as states are, lie elsewhere."""
    lines = Path("/proc/self/maps").read_text().splitlines()
    return next((int(line.partition("-")[0], 16) for line in lines if line.endswith("[heap]")), None)
