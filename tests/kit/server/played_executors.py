"""Many executor endpoints in one small process, whose jobs take as long as they are told to and compute nothing.

All of the service is the server's own: `worker.service` and `worker.runs`, with slots in place of worker processes.
Each endpoint has a port of its own, as a pod has an address. An api does with it what it does with real executors.

    python -m kit.server.played_executors --endpoints=200 --slots=4 --seconds=10
"""

import argparse
import asyncio
import json
import signal
import subprocess
import sys
import uuid
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta

import httpx
import uvicorn
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from starlette.types import ASGIApp, Receive, Scope, Send

import kit
from qiskit_runtime_server.messages.messages import Capabilities, Completed, Event, Holder, Metrics, Started, Task
from qiskit_runtime_server.roles.process import listen
from qiskit_runtime_server.trust.shared_keys import SharedKeys
from qiskit_runtime_server.worker.metrics import ExecutorMetrics
from qiskit_runtime_server.worker.runs import Runs
from qiskit_runtime_server.worker.service import Service

HOST = "127.0.0.1"
KEY = "a key for tests"
_COUNTED = ("refused", "started")


@dataclass
class Tally:
    """What all endpoints have done together."""

    running: int = 0
    most: int = 0
    completed: int = 0


@dataclass
class PlayedSlots:
    """The slots of one endpoint."""

    size: int
    seconds: float
    tally: Tally
    let_go: asyncio.Event
    holder: Holder = field(default_factory=lambda: Holder(endpoint="local", boot_id=uuid.uuid4().hex))
    usable: bool = True
    idle: "asyncio.Queue[PlayedSlots]" = field(default_factory=asyncio.Queue)

    async def start(self) -> None:
        for _ in range(self.size):
            self.release()

    async def capabilities(self) -> Capabilities:
        return Capabilities(num_qubits=30, methods=("played",))

    async def reserve(self) -> "PlayedSlots":
        return await self.idle.get()

    async def reserve_look(self) -> "PlayedSlots":
        """Wait for ever: these are looked at nowhere."""
        await asyncio.Event().wait()
        return self

    def release(self) -> None:
        # They are all alike.
        self.idle.put_nowait(self)

    async def run(self, task: Task) -> AsyncGenerator[Event, None]:
        del task
        self.tally.running += 1
        self.tally.most = max(self.tally.most, self.tally.running)
        try:
            yield Started()
            with suppress(TimeoutError):
                await asyncio.wait_for(self.let_go.wait(), self.seconds)
            self.tally.completed += 1
            metrics = Metrics(seconds=self.seconds, slot_seconds=self.seconds)
            yield Completed(metrics=metrics, result=b'{"results": []}')
        finally:
            self.tally.running -= 1


class PlayedExecutors:
    """An ASGI application on many ports, an endpoint on each; the first one tells how things are."""

    def __init__(self, tally: Tally) -> None:
        self._tally = tally
        self._apps: dict[int, ASGIApp] = {}
        self._registry = CollectorRegistry()
        self._metrics = ExecutorMetrics(self._registry)

    async def add(self, port: int, slots: PlayedSlots) -> None:
        patience = timedelta(seconds=15)
        runs = Runs(slots, self._metrics, orphan_after=patience, orphan_kept=patience)  # type: ignore[arg-type]
        await slots.start()
        await runs.start()
        self._apps[port] = Service(runs).app(SharedKeys(SecretStr(KEY)))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._apps.get(scope["server"][1])
        if app is not None:
            await app(scope, receive, send)
            return
        counters = {name: self._registry.get_sample_value(f"qrs_executor_runs_{name}_total") for name in _COUNTED}
        counted = {name: int(value or 0) for name, value in counters.items()}
        body = json.dumps({**vars(self._tally), **counted}).encode()
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
        await send({"type": "http.response.body", "body": body})


async def play(endpoints: int, slots: int, seconds: float) -> None:
    """Serve for ever; the first line of the output has the URLs, that of the tally first. SIGUSR1 lets all jobs end."""
    tally, let_go = Tally(), asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGUSR1, let_go.set)
    app = PlayedExecutors(tally)
    listeners = [listen(HOST, 0) for _ in range(endpoints + 1)]
    ports = [listener.getsockname()[1] for listener in listeners]
    for port in ports[1:]:
        await app.add(port, PlayedSlots(slots, seconds, tally, let_go))
    server = uvicorn.Server(uvicorn.Config(app, lifespan="off", log_level="warning", access_log=False))
    print(json.dumps([f"http://{HOST}:{port}" for port in ports]), flush=True)
    await server.serve(sockets=listeners)


@dataclass(frozen=True)
class Endpoints:
    """Played executors that run.

    Attributes:
        urls: One for each endpoint.
    """

    urls: Sequence[str]
    tally_url: str
    process: "subprocess.Popen[str]"

    def let_go(self) -> None:
        """Let all jobs end, and those to come at once."""
        self.process.send_signal(signal.SIGUSR1)

    def tally(self) -> Mapping[str, int]:
        """Return how many jobs run, at most ran, have completed, and found no free slot; and how many runs began."""
        found: dict[str, int] = httpx.get(self.tally_url, timeout=30, verify=kit.trusted(self.tally_url)).json()
        return found


@contextmanager
def played_executors(endpoints: int, *, slots: int = 4, seconds: float = 10) -> Iterator[Endpoints]:
    """Start the process; it is killed at the end."""
    sizes = (f"--endpoints={endpoints}", f"--slots={slots}", f"--seconds={seconds}")
    command = [sys.executable, "-m", "kit.server.played_executors", *sizes]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=kit.environment()) as process:
        try:
            assert process.stdout is not None
            first, *urls = json.loads(process.stdout.readline())
            yield Endpoints(urls, first, process)
        finally:
            process.kill()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--endpoints", type=int, default=200)
    parser.add_argument("--slots", type=int, default=4)
    parser.add_argument("--seconds", type=float, default=10)
    options = parser.parse_args()
    asyncio.run(play(options.endpoints, options.slots, options.seconds))


if __name__ == "__main__":
    main()
