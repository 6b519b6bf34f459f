"""The parent's handle on one worker process.

A simulator holds the interpreter lock for a whole run and answers no signal, so a worker is never asked to stop: it is
killed. The only thing it shares with anybody is its socket.
"""

import asyncio
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Final, Self

import msgspec

from qiskit_runtime_server.byte_budget import Share
from qiskit_runtime_server.messages.messages import LENGTH, Event, Log, Pieces, Ready, Stage, StageName, Task
from qiskit_runtime_server.worker.child import WorkerSpec, work
from qiskit_runtime_server.worker.confinement.bounds import excess
from qiskit_runtime_server.worker.confinement.scratch import new_scratch, remove
from qiskit_runtime_server.worker.fork_server import FORKS, start

# What the kernel or the C library sends a process for its own mistake.
_FAULTS: Final = {signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGABRT}
_EVENTS: Final[msgspec.msgpack.Decoder[Event]] = msgspec.msgpack.Decoder(Event)


def _launch(process: BaseProcess, theirs: socket.socket) -> None:
    """Start a process with its end of a socket, which is closed here only then, whoever waits for it or does not."""
    with theirs:
        start(process)


def _unheard(_stage: Stage) -> None:
    """Tell nobody."""


class WorkerDied(EOFError):  # noqa: N818 - a fact, caught where it is expected, like EOFError itself
    """The process is gone; the message says how it ended.

    Attributes:
        overdue: Whether it ended because a simulation went on for longer than its limit.
        decoding: Whether it ended by a mistake of its own, and not by somebody who killed it, when it decoded a task.
        excess: What it had more of than it may, if that is why it was killed, for people.
    """

    def __init__(
        self, message: str, *, overdue: bool = False, decoding: bool = False, excess: str | None = None
    ) -> None:
        super().__init__(message)
        self.overdue = overdue
        self.decoding = decoding
        self.excess = excess


class WorkerProcess:
    """A process that runs one task after the other, forked from a template that all of this process have in common."""

    def __init__(
        self, process: BaseProcess, scratch: Path, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._process = process
        self._scratch = scratch
        self._reader = reader
        self._writer = writer
        self._decoding = False
        self._excess: str | None = None
        self._enter: Callable[[Stage], None] = _unheard
        self._bytes_when_ready = 0

    @classmethod
    async def start(cls, spec: WorkerSpec) -> Self:
        """Start a process; its first event is Ready.

        The first one of all waits for the template, which takes seconds.

        Raises:
            WorkerDied: If there is no template.
        """
        ours, theirs = socket.socketpair()
        scratch = new_scratch()
        process = FORKS.Process(target=work, args=(theirs, spec, scratch), name="qrs-worker", daemon=True)
        try:
            # On its way it is not called back: it closes what is its own.
            await asyncio.shield(asyncio.get_running_loop().run_in_executor(None, _launch, process, theirs))
        except BaseException as error:
            # The process, should it come up yet, finds its socket closed.
            ours.close()
            remove(scratch)
            if isinstance(error, EOFError | OSError):
                raise WorkerDied("The process that workers are forked from has ended.") from error
            raise
        return cls(process, scratch, *await asyncio.open_connection(sock=ours))

    @property
    def pid(self) -> int:
        """The process's id."""
        return self._process.pid or 0

    @property
    def is_connected(self) -> bool:
        """Whether the process has been there until a moment ago; asks nobody."""
        return not self._reader.at_eof() and self._reader.exception() is None

    async def send(self, task: Task, enter: Callable[[Stage], None] = _unheard) -> None:
        """Hand over a task, whose stages `enter` is told of.

        Raises:
            WorkerDied: If the process is gone.
        """
        self._decoding, self._enter = True, enter
        try:
            # Piece by piece, or the transport would copy what does not fit into the socket.
            for piece in Pieces(task).framed():
                self._writer.write(piece)
                await self._writer.drain()
        except ConnectionError as error:
            raise await self._died() from error

    async def receive(self, share: Share) -> Event:
        """Return the next event, for which room is made in `share`.

        Must not be cancelled before the process is stopped, as half a message would be lost.

        Raises:
            WorkerDied: If the process is gone.
        """
        while True:
            try:
                (length,) = LENGTH.unpack(await self._reader.readexactly(LENGTH.size))
                await share.hold(length)
                event = _EVENTS.decode(await self._reader.readexactly(length))
            except (asyncio.IncompleteReadError, ConnectionError) as error:
                raise await self._died() from error
            if isinstance(event, Ready):
                self._bytes_when_ready = self._resident_bytes()
            if not isinstance(event, Log) or event.stage is None:
                return event
            self._decoding = event.stage.name is StageName.DECODE
            self._enter(event.stage)

    async def keep_within_bounds(self) -> None:
        """Kill the process if it has taken more than it may; who waits for it is told so."""
        self._excess = self._excess or await asyncio.to_thread(excess, self.pid, self._scratch)
        if self._excess is not None:
            self._process.kill()

    @property
    def grown_bytes(self) -> int:
        """By how much more memory it has than when it was ready; 0 where the system does not tell."""
        return self._resident_bytes() - self._bytes_when_ready

    def pause(self) -> None:
        """Have the kernel take it off the processor, until `resume`; it can be killed meanwhile."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    async def stop(self) -> None:
        """Kill the process and return once it is gone, and its memory with it."""
        self._process.kill()
        # First, as whoever waits for the process may be cancelled meanwhile.
        self._writer.close()
        await asyncio.to_thread(self._clear_up)
        with suppress(ConnectionError):
            await self._writer.wait_closed()

    def _signal(self, number: signal.Signals) -> None:
        if self._process.is_alive():
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def _resident_bytes(self) -> int:
        with suppress(OSError):
            _, resident, *_ = Path(f"/proc/{self.pid}/statm").read_text().split()
            return int(resident) * os.sysconf("SC_PAGE_SIZE")
        return 0

    def _clear_up(self) -> None:
        self._process.join()
        remove(self._scratch)

    async def _died(self) -> WorkerDied:
        await asyncio.to_thread(self._process.join)
        code = self._process.exitcode or 0
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return WorkerDied(
            f"The worker process {how}",
            overdue=code == -signal.SIGALRM,
            decoding=self._decoding and -code in _FAULTS,
            excess=self._excess,
        )
