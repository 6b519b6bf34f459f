"""Runs calls in a process of their own: a crash or an endless loop is a finding then, and not the end of the tests."""

import multiprocessing
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

_START_SECONDS = 120.0


@dataclass(frozen=True, kw_only=True)
class Failed:
    """Why a call has no result: an exception, a crash or its time limit; `reason` says which."""

    reason: str


class CaseProcess:
    """A process that calls one function again and again.

    It is replaced after every failure: what is broken in it must not break the next call as well.
    """

    def __init__(self, function: Callable[..., Any], seconds: float) -> None:
        """Take what to call and how long a call may take.

        Args:
            function: At the top level of a module; arguments and results can be pickled.
            seconds: For one call, without the start of the process.
        """
        self._function = function
        self._seconds = seconds
        self._process: Any = None
        self._connection: Connection | None = None

    def __enter__(self) -> "CaseProcess":
        return self

    def __exit__(self, *_: object) -> None:
        self._end()

    def call(self, *arguments: object) -> Any:  # noqa: ANN401 - whatever the function returns
        """Return what the function returns, or a `Failed`."""
        connection = self._connection or self._started()
        connection.send(arguments)
        if not connection.poll(self._seconds):
            self._end()
            return Failed(reason=f"hang: no result after {self._seconds} s")
        try:
            result = connection.recv()
        except EOFError:
            code = self._end()
            return Failed(reason=f"crash: the process ended with code {code}")
        if isinstance(result, Failed):
            self._end()
        return result

    def _started(self) -> Connection:
        context = multiprocessing.get_context("spawn")
        here, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, self._function), daemon=True)
        self._process.start()
        there.close()
        if not here.poll(_START_SECONDS) or here.recv() != "ready":
            self._end()
            message = "The process of the cases does not start."
            raise RuntimeError(message)
        self._connection = here
        return here

    def _end(self) -> int | None:
        if self._process is None:
            return None
        if self._connection is not None:
            self._connection.close()
        self._process.join(0.5)
        if self._process.is_alive():
            self._process.kill()
        self._process.join()
        code: int | None = self._process.exitcode
        self._process = self._connection = None
        return code


def _serve(connection: Connection, function: Callable[..., Any]) -> None:
    connection.send("ready")
    while True:
        try:
            arguments = connection.recv()
        except EOFError:
            return
        try:
            result = function(*arguments)
        except Exception:  # noqa: BLE001 - the other side reports it
            result = Failed(reason=traceback.format_exc())
        connection.send(result)
