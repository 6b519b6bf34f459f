"""The pool of an executor service: finds its endpoints, knows which of them have free slots, and follows runs there."""

import asyncio
import logging
import math
import random
import socket
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import msgspec

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.dispatch.pools import RunLost
from qiskit_runtime_server.errors import NoFreeSlotError
from qiskit_runtime_server.messages.messages import (
    BOOT_ID,
    OCCUPANCY,
    PIECE_BYTES,
    POSITION,
    Capabilities,
    Completed,
    Confirmation,
    Event,
    Failed,
    Frames,
    HandedBack,
    Heartbeat,
    Holder,
    Occupancy,
    Pieces,
    Task,
)
from qiskit_runtime_server.settings import Settings

_EVENTS: Final[msgspec.msgpack.Decoder[Event]] = msgspec.msgpack.Decoder(Event)
_OCCUPANCIES: Final = msgspec.msgpack.Decoder(Occupancy)
_OCCUPANCY_HEADER: Final = msgspec.json.Decoder(Occupancy)

_DEFAULT_PORT = 80
_RESOLVE_SECONDS = 2.0
_RETRY_SECONDS = 0.5
_CONNECT_SECONDS = 3.0
# Executors are never silent for longer than 2 s.
_SILENCE_SECONDS = 7.0
_CALL_SECONDS = 5.0
_MIN_BACKOFF_SECONDS = 0.2
_MAX_BACKOFF_SECONDS = 5.0
_STREAM_TIMEOUT: Final = httpx.Timeout(_SILENCE_SECONDS, connect=_CONNECT_SECONDS)
# No such run, it belongs to a later claim, or the executor has been started anew.
_GONE: Final = {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED}
# A process that is there accepts connections; for this long it may be something in between that refuses.
_REFUSED_SECONDS = 3.0
# An executor looks once a second for runs that nobody asks for, and ends them one after the other.
_GIVING_UP_SECONDS = 3.0
# How long requests wait, after the start, to learn what an executor can do.
_ACQUAINTANCE_SECONDS = 3.0
# Circuits for a small ideal device fit a larger one, not the other way round.
_CAPABILITIES_OF_ANY: Final = Capabilities(num_qubits=20)

logger = logging.getLogger(__name__)


class _Endpoint:
    """One address of an executor service, and what is believed of it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.occupancy: Occupancy | None = None
        self.reserved = 0
        self._rests_until = 0.0
        self._refusals = 0

    @property
    def free(self) -> int:
        """How many slots are believed to be free; none while it is not heard of, or rests."""
        if self.occupancy is None or self.occupancy.draining or time.monotonic() < self._rests_until:
            return 0
        return max(0, self.occupancy.idle - self.reserved)

    def note(self, occupancy: Occupancy) -> None:
        """Note how busy it is, unless that is old news."""
        known = self.occupancy
        if known is None or known.boot_id != occupancy.boot_id or known.revision <= occupancy.revision:
            self.occupancy = occupancy

    def rest(self) -> float:
        """Break the circuit for a while, longer each time, and return for how long."""
        seconds = min(_MIN_BACKOFF_SECONDS * 2.0**self._refusals, _MAX_BACKOFF_SECONDS)
        self._refusals += 1
        self._rests_until = time.monotonic() + seconds
        return seconds

    def recover(self) -> None:
        """Close the circuit."""
        self._refusals = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class _RunTimings:
    """What holds for all runs; times are in seconds.

    Attributes:
        confirm: Between two confirmations of a run.
        patience: How long an executor that is out of reach may still have a run.
        budget: Where results make room for themselves before they are read.
    """

    confirm: float
    patience: float
    budget: ByteBudget


class RemotePool:
    """A `LastingPool`: the endpoints of one executor service, or of several.

    Every address of every host is an endpoint. Each is watched over a connection of its own, on which it tells how
    busy it is; one whose connection breaks gets no jobs until it answers again.
    """

    def __init__(self, name: ExecutorName, urls: Sequence[str], settings: Settings, budget: ByteBudget) -> None:
        self._name = name
        self._urls = urls
        self._timings = _RunTimings(
            confirm=settings.confirm_every.total_seconds(),
            patience=(settings.orphan_after + settings.orphan_kept).total_seconds() + _GIVING_UP_SECONDS,
            budget=budget,
        )
        key = settings.executor_key
        self._client = httpx.AsyncClient(
            headers={} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=None),
            timeout=httpx.Timeout(_CALL_SECONDS, connect=_CONNECT_SECONDS),
            trust_env=False,
        )
        self._endpoints: dict[str, _Endpoint] = {}
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._others: set[asyncio.Task[None]] = set()
        self._capabilities: Capabilities | None = None
        self._acquainted = -math.inf
        self._news = asyncio.Event()

    def __str__(self) -> str:
        return ", ".join(self._urls)

    async def start(self) -> None:
        """Begin to look for endpoints."""
        self._acquainted = time.monotonic() + _ACQUAINTANCE_SECONDS
        self._spawn(self._resolve())

    async def stop(self) -> None:
        """Close all connections."""
        tasks = [*self._watching.values(), *self._others]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()

    @property
    def size(self) -> int:
        """How many slots are known."""
        return sum(endpoint.occupancy.slots for endpoint in self._distinct() if endpoint.occupancy is not None)

    @property
    def idle(self) -> int:
        """How many of them are believed to be free."""
        return sum(endpoint.free for endpoint in self._distinct())

    async def capabilities(self) -> Capabilities:
        """See `Pool.capabilities`."""
        while self._capabilities is None and (rest := self._acquainted - time.monotonic()) > 0:
            await self._changed(rest)
        return self._capabilities or _CAPABILITIES_OF_ANY

    async def reserve(self) -> "RemoteReservation":
        """See `Pool.reserve`; the endpoint with the most free slots is chosen."""
        while (reservation := self._choose()) is None:
            await self._changed(_RETRY_SECONDS)
        return reservation

    def attach(self, holder: Holder) -> "RemoteReservation | None":
        """See `LastingPool.attach`."""
        if not holder.endpoint.startswith("http"):
            return None
        endpoint = self._endpoints.get(holder.endpoint) or _Endpoint(holder.endpoint)
        return RemoteReservation(self._client, endpoint, holder, self._timings)

    def end_everywhere(self, job_id: str) -> None:
        """See `LastingPool.end_everywhere`."""
        for endpoint in self._endpoints.values():
            self._spawn(_end(self._client, endpoint.url, job_id))

    def _distinct(self) -> list[_Endpoint]:
        """Return the endpoints that are heard of, one for each executor: a host may have two addresses."""
        by_boot_id: dict[str, _Endpoint] = {}
        for endpoint in self._endpoints.values():
            if endpoint.occupancy is not None:
                by_boot_id.setdefault(endpoint.occupancy.boot_id, endpoint)
        return list(by_boot_id.values())

    def _choose(self) -> "RemoteReservation | None":
        endpoints = self._distinct()
        # Where several are equally idle, replicas of the api should not all ask the same one.
        random.shuffle(endpoints)
        endpoint = max(endpoints, key=lambda candidate: candidate.free, default=None)
        if endpoint is None or endpoint.occupancy is None or not endpoint.free:
            return None
        endpoint.reserved += 1
        holder = Holder(endpoint=endpoint.url, boot_id=endpoint.occupancy.boot_id)
        return RemoteReservation(self._client, endpoint, holder, self._timings, on_release=self._tell)

    async def _changed(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._news.wait()

    def _tell(self) -> None:
        told, self._news = self._news, asyncio.Event()
        told.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._others.add(task)
        task.add_done_callback(self._others.discard)

    async def _resolve(self) -> None:
        """Keep the endpoints in step with the addresses of the hosts, for ever."""
        found: dict[str, set[str]] = {}
        while True:
            for url in self._urls:
                try:
                    found[url] = await _addresses(url)
                except (OSError, UnicodeError) as error:
                    # What is known stays: the name server may be away.
                    logger.warning("Cannot look up %s of executor %s: %s", url, self._name, error)
            wanted = set[str]().union(*found.values())
            for address in wanted - self._endpoints.keys():
                self._endpoints[address] = endpoint = _Endpoint(address)
                self._watching[address] = asyncio.create_task(self._watch(endpoint))
            for address in self._endpoints.keys() - wanted:
                # It gets no more jobs; the runs there have connections of their own.
                del self._endpoints[address]
                self._watching.pop(address).cancel()
            await asyncio.sleep(_RESOLVE_SECONDS)

    async def _watch(self, endpoint: _Endpoint) -> None:
        """Keep the occupancy of an endpoint up to date, for ever."""
        backoff = _MIN_BACKOFF_SECONDS
        while True:
            problem = "it closed the connection"
            try:
                async for occupancy in self._occupancies(endpoint):
                    backoff = _MIN_BACKOFF_SECONDS
                    if endpoint.occupancy is None:
                        logger.info("Executor %s answers at %s.", self._name, endpoint.url)
                    endpoint.note(occupancy)
                    self._capabilities = occupancy.capabilities
                    self._tell()
            except (httpx.HTTPError, msgspec.DecodeError) as error:
                problem = str(error) or repr(error)
            if endpoint.occupancy is not None or backoff == _MIN_BACKOFF_SECONDS:
                logger.warning("Executor %s does not answer at %s: %s", self._name, endpoint.url, problem)
            endpoint.occupancy = None
            await asyncio.sleep(backoff * random.uniform(0.5, 1))  # noqa: S311 - spreads the tries
            backoff = min(2 * backoff, _MAX_BACKOFF_SECONDS)

    async def _occupancies(self, endpoint: _Endpoint) -> AsyncIterator[Occupancy]:
        frames = Frames(_OCCUPANCIES)
        async with self._client.stream("GET", f"{endpoint.url}/v1/watch", timeout=_STREAM_TIMEOUT) as response:
            response.raise_for_status()
            async for chunk in response.aiter_raw():
                for occupancy in frames.feed(chunk):
                    yield occupancy


class RemoteReservation:
    """A slot of an executor service, and then the run in it.

    Attributes:
        holder: The executor.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        endpoint: _Endpoint,
        holder: Holder,
        timings: _RunTimings,
        *,
        on_release: Callable[[], None] | None = None,
    ) -> None:
        self.holder = holder
        self._client = client
        self._endpoint = endpoint
        self._timings = timings
        self._on_release = on_release
        self._job_id = ""
        self._fence = 0
        self._asked = False
        self._detached = False
        self._ended = False
        self._seen: int | None = None
        self._heard = 0.0

    def release(self) -> None:
        """See `Reservation.release`."""
        self._settle()

    def detach(self) -> bool:
        """See `LastingReservation.detach`."""
        self._detached = True
        return self._asked

    async def run(self, task: Task) -> AsyncGenerator[Event, None]:
        """See `Reservation.run`."""
        first = self._start_of(task)
        job_id, fence = task.job_id, task.fence
        # Held on to for as long as the job runs otherwise.
        del task
        async with aclosing(self._events(job_id, fence, first)) as events:
            async for event in events:
                yield event

    async def follow(self, job_id: str, fence: int) -> AsyncGenerator[Event, None]:
        """See `LastingReservation.follow`."""
        async with aclosing(self._events(job_id, fence, None)) as events:
            async for event in events:
                yield event

    @property
    def _headers(self) -> dict[str, str]:
        return {BOOT_ID: self.holder.boot_id}

    @property
    def _job_url(self) -> str:
        return f"{self.holder.endpoint}/v1/jobs/{self._job_id}"

    def _settle(self) -> None:
        """Stop counting the slot as taken: what the executor says counts from now on."""
        if self._on_release is not None:
            self._endpoint.reserved -= 1
            self._on_release()
            self._on_release = None

    async def _events(self, job_id: str, fence: int, first: httpx.Request | None) -> AsyncGenerator[Event, None]:
        """Yield the events of the run, over as many connections as it takes."""
        self._job_id, self._fence, self._asked, self._heard = job_id, fence, True, time.monotonic()
        confirming = asyncio.create_task(self._confirm())
        request = first
        refused_since: float | None = None
        backoff = _MIN_BACKOFF_SECONDS
        try:
            while not self._ended:
                try:
                    async with aclosing(self._connection(request or self._attachment())) as events:
                        async for event in events:
                            refused_since, backoff = None, _MIN_BACKOFF_SECONDS
                            yield event
                    problem = "it ended"
                except (httpx.HTTPError, msgspec.DecodeError) as error:
                    if request is not None and isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
                        self._asked = False
                        self._endpoint.rest()
                        raise NoFreeSlotError(f"{self.holder.endpoint} does not answer.") from error
                    problem = str(error) or repr(error)
                    refused_since = (refused_since or time.monotonic()) if _is_refused(error) else None
                if self._ended:
                    break
                request = None
                self._check_hope(problem, refused_since)
                logger.info("The stream of job %s from %s broke: %s", job_id, self.holder.endpoint, problem)
                await asyncio.sleep(backoff)
                backoff = min(2 * backoff, _MAX_BACKOFF_SECONDS)
        finally:
            confirming.cancel()
            if self._asked and not self._detached:
                await _end(self._client, self.holder.endpoint, job_id, self.holder.boot_id, fence)

    def _check_hope(self, problem: str, refused_since: float | None) -> None:
        now = time.monotonic()
        if refused_since is not None and now - refused_since > _REFUSED_SECONDS:
            raise RunLost(f"The executor at {self.holder.endpoint} that ran the job is gone.")
        if now - self._heard > self._timings.patience:
            raise RunLost(f"The executor at {self.holder.endpoint} that ran the job is out of reach: {problem}.")

    def _start_of(self, task: Task) -> httpx.Request:
        pieces = Pieces(task)
        small = pieces.size <= PIECE_BYTES
        return self._client.build_request(
            "POST",
            f"{self.holder.endpoint}/v1/jobs",
            content=b"".join(pieces) if small else _sent(pieces),
            headers=self._headers | {"Content-Length": str(pieces.size)},
            timeout=_STREAM_TIMEOUT,
        )

    def _attachment(self) -> httpx.Request:
        params = {"fence": self._fence} if self._seen is None else {"fence": self._fence, "seen": self._seen}
        return self._client.build_request(
            "GET", self._job_url, params=params, headers=self._headers, timeout=_STREAM_TIMEOUT
        )

    async def _connection(self, request: httpx.Request) -> AsyncGenerator[Event, None]:
        """Yield the events of one connection."""
        frames = Frames(_EVENTS)
        response = await self._client.send(request, stream=True)
        try:
            self._accept(request, response)
            with self._timings.budget.share() as share:
                async for chunk in response.aiter_raw():
                    for event in frames.feed(chunk):
                        self._heard = time.monotonic()
                        yield event
                        if not isinstance(event, Heartbeat):
                            self._seen = (self._seen or 0) + 1
                        # Read on to the end of the stream, so that the connection can be used again.
                        self._ended = self._ended or isinstance(event, Completed | Failed | HandedBack)
                    await share.hold(frames.pending)
        finally:
            await response.aclose()

    def _accept(self, request: httpx.Request, response: httpx.Response) -> None:
        if OCCUPANCY in response.headers:
            self._endpoint.note(_OCCUPANCY_HEADER.decode(response.headers[OCCUPANCY]))
        if response.is_success:
            self._endpoint.recover()
            self._settle()
            self._heard = time.monotonic()
            if self._seen is None:
                self._seen = int(response.headers.get(POSITION, 0))
            return
        problem = f"{self.holder.endpoint} answered {response.status_code}"
        if request.method == "POST":
            self._asked = False
            if response.status_code != HTTPStatus.TOO_MANY_REQUESTS:
                seconds = self._endpoint.rest()
                logger.warning("%s to job %s and gets no jobs for %g s.", problem, self._job_id, seconds)
            raise NoFreeSlotError(f"{problem}.")
        if response.status_code in _GONE:
            self._asked = False
            raise RunLost(f"{problem}: the run is not there any more.")
        response.raise_for_status()

    async def _confirm(self) -> None:
        """Tell the executor again and again that its run is followed."""
        while True:
            await asyncio.sleep(self._timings.confirm)
            confirmation = Confirmation(fence=self._fence, seen=self._seen or 0)
            try:
                answer = await self._client.put(
                    f"{self._job_url}/lease", content=msgspec.json.encode(confirmation), headers=self._headers
                )
            except httpx.HTTPError as error:
                logger.info("%s did not hear that job %s is followed: %r", self.holder.endpoint, self._job_id, error)
            else:
                if answer.is_success:
                    self._heard = time.monotonic()


async def _sent(pieces: Pieces) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield bytes(piece)


async def _end(
    client: httpx.AsyncClient, endpoint: str, job_id: str, boot_id: str | None = None, fence: int | None = None
) -> None:
    """Have an executor end its run of a job and forget it; one that does not hear it finds out by itself."""
    params = {} if fence is None else {"fence": fence}
    headers = {} if boot_id is None else {BOOT_ID: boot_id}
    try:
        await client.delete(f"{endpoint}/v1/jobs/{job_id}", params=params, headers=headers)
    except httpx.HTTPError as error:
        logger.info("%s did not hear that job %s is done with: %r", endpoint, job_id, error)


async def _addresses(url: str) -> set[str]:
    """Return `url` with each address of its host in its place.

    Raises:
        OSError: If the host is not known.
    """
    parts = urlsplit(url)
    found = await asyncio.get_running_loop().getaddrinfo(
        parts.hostname, parts.port or _DEFAULT_PORT, type=socket.SOCK_STREAM
    )
    hosts = {str(address[0]) for *_, address in found}
    port = parts.port or _DEFAULT_PORT
    return {f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}" for host in hosts}


def _is_refused(error: BaseException | None) -> bool:
    """Return whether nobody listens there: the library keeps the system's own error as a cause."""
    while error is not None and not isinstance(error, ConnectionRefusedError):
        error = error.__cause__ or error.__context__
    return error is not None
