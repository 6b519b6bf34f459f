"""One job at an executor service: its slot, its events over as many connections as it takes, and its end."""

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from http import HTTPStatus
from typing import Final

import httpx
import msgspec

from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.dispatch.pools import RunLost
from qiskit_runtime_server.dispatch.remote.endpoint import (
    MAX_BACKOFF_SECONDS,
    MIN_BACKOFF_SECONDS,
    STREAM_TIMEOUT,
    Endpoint,
)
from qiskit_runtime_server.errors import NoFreeSlotError
from qiskit_runtime_server.log.trace import of_job
from qiskit_runtime_server.messages.messages import (
    BOOT_ID,
    OCCUPANCY,
    PIECE_BYTES,
    POSITION,
    TRACEPARENT,
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
from qiskit_runtime_server.waiting import Backoff

_EVENTS: Final[msgspec.msgpack.Decoder[Event]] = msgspec.msgpack.Decoder(Event)
_OCCUPANCY_HEADER: Final = msgspec.json.Decoder(Occupancy)

# No such run, it belongs to a later claim, or the executor has been started anew.
_GONE: Final = {HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT, HTTPStatus.PRECONDITION_FAILED}
# A process that is there accepts connections; for this long it may be something in between that refuses.
_REFUSED_SECONDS: Final = 3.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTimings:
    """What holds for all runs; times are in seconds.

    Attributes:
        confirm: Between two confirmations of a run.
        patience: How long an executor that is out of reach may still have a run.
        budget: Where results make room for themselves before they are read.
    """

    confirm: float
    patience: float
    budget: ByteBudget


class RemoteReservation:
    """A slot of an executor service, and then the run in it.

    Attributes:
        holder: The executor.
    """

    def __init__(
        self,
        client: httpx.AsyncClient,
        endpoint: Endpoint,
        holder: Holder,
        timings: RunTimings,
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
            self._on_release()
            self._on_release = None

    async def _events(self, job_id: str, fence: int, first: httpx.Request | None) -> AsyncGenerator[Event, None]:
        """Yield the events of the run, over as many connections as it takes."""
        self._job_id, self._fence, self._asked, self._heard = job_id, fence, True, time.monotonic()
        confirming = asyncio.create_task(self._confirm())
        request = first
        refused_since: float | None = None
        backoff = Backoff(MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS)
        try:
            while not self._ended:
                try:
                    async with aclosing(self._connection(request or self._attachment())) as events:
                        async for event in events:
                            refused_since = None
                            backoff.succeed()
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
                logger.info(
                    "The stream of job %s from %s broke: %s",
                    job_id,
                    self.holder.endpoint,
                    problem,
                    extra=of_job(job_id),
                )
                await asyncio.sleep(backoff.fail())
        finally:
            confirming.cancel()
            if self._asked and not self._detached:
                await end(self._client, self.holder.endpoint, job_id, self.holder.boot_id, fence)

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
            headers=self._headers | {"Content-Length": str(pieces.size), **_trace_of(task)},
            timeout=STREAM_TIMEOUT,
        )

    def _attachment(self) -> httpx.Request:
        params = {"fence": self._fence} if self._seen is None else {"fence": self._fence, "seen": self._seen}
        return self._client.build_request(
            "GET", self._job_url, params=params, headers=self._headers, timeout=STREAM_TIMEOUT
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
                logger.warning(
                    "%s when it was given job %s, and is given no jobs for %g s.",
                    problem,
                    self._job_id,
                    seconds,
                    extra=of_job(self._job_id),
                )
            raise NoFreeSlotError(f"{problem}.")
        if response.status_code in _GONE:
            self._asked = False
            raise RunLost(f"{problem}: it does not know the run any more.")
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
                logger.info(
                    "%s could not be told that job %s is still followed: %r",
                    self.holder.endpoint,
                    self._job_id,
                    error,
                    extra=of_job(self._job_id),
                )
            else:
                if answer.is_success:
                    self._heard = time.monotonic()


def _trace_of(task: Task) -> dict[str, str]:
    return {} if task.traceparent is None else {TRACEPARENT: task.traceparent}


async def _sent(pieces: Pieces) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield bytes(piece)


async def end(
    client: httpx.AsyncClient, endpoint: str, job_id: str, boot_id: str | None = None, fence: int | None = None
) -> None:
    """Have an executor end its run of a job and forget it; one that does not hear it finds out by itself."""
    params = {} if fence is None else {"fence": fence}
    headers = {} if boot_id is None else {BOOT_ID: boot_id}
    try:
        await client.delete(f"{endpoint}/v1/jobs/{job_id}", params=params, headers=headers)
    except httpx.HTTPError as error:
        logger.info("%s could not be told to forget job %s: %r", endpoint, job_id, error, extra=of_job(job_id))


def _is_refused(error: BaseException | None) -> bool:
    """Return whether nobody listens there: the library keeps the system's own error as a cause."""
    while error is not None and not isinstance(error, ConnectionRefusedError):
        error = error.__cause__ or error.__context__
    return error is not None
