"""A server of a test session, in a process of its own."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_STOP_SECONDS: Final = 30
_LOOK_SECONDS: Final = 0.1
_LISTENING: Final = re.compile(r"Listening on (http://\S+)")


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeServer:
    """A server that runs.

    Attributes:
        url: Where it listens, on loopback.
        token: Of the account of this test session.
    """

    url: str
    token: str

    def set_faults(self, *words: str) -> None:
        """Replace the faults that jobs and requests on `chaos_` backends meet from now on, as in ``"run=2"``.

        Raises:
            ValueError: If a word makes no sense; the message names it.
        """
        import httpx  # noqa: PLC0415 - a third of a second, which tests without faults need not cost

        headers = {"Authorization": f"apikey {self.token}"}
        answer = httpx.put(f"{self.url}/api/v1/chaos", json={"faults": words}, headers=headers, timeout=30)
        if answer.status_code != httpx.codes.NO_CONTENT:
            raise ValueError(answer.json()["error"]["message"])


@contextmanager
def running(folder: Path, settings: Mapping[str, str]) -> Iterator[RuntimeServer]:
    """Start a server on a free port, all of whose devices can have faults, and stop it in the end.

    Args:
        folder: For its data and its log.
        settings: Its variables; those of this process are not passed on.

    Raises:
        RuntimeError: If it does not start; the message has what it said.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.upper().startswith("QRS_")}
    log = folder / "log.txt"
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603 - our own command
            [sys.executable, "-m", "qiskit_runtime_server", "serve", "--port=0", f"--data-dir={folder / 'data'}"],
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            env={**inherited, "QRS_CHAOS": "*", **settings, "PYTHONUNBUFFERED": "1"},
        )
    try:
        yield RuntimeServer(url=_url(process, log), token="pytest")  # noqa: S106 - any word will do
    finally:
        process.terminate()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _url(process: "subprocess.Popen[str]", log: Path) -> str:
    """Return where a server listens, once its log says so."""
    while (found := _LISTENING.search(log.read_text())) is None:
        if process.poll() is not None:
            raise RuntimeError(f"The runtime server did not start:\n{log.read_text()}")
        time.sleep(_LOOK_SECONDS)
    return found[1]
