"""The pool of an executor service: finds its endpoints, and knows which of them have free slots."""

import asyncio
import logging
import math
import random
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import httpx
import msgspec

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.dispatch.remote.endpoint import (
    CONNECT_SECONDS,
    MAX_BACKOFF_SECONDS,
    MIN_BACKOFF_SECONDS,
    STREAM_TIMEOUT,
    Endpoint,
    Place,
    addresses_of,
)
from qiskit_runtime_server.dispatch.remote.run import RemoteReservation, RunTimings, end
from qiskit_runtime_server.dispatch.remote.tls import ExecutorTrust, NamedAddresses
from qiskit_runtime_server.dispatch.remote.transports import TransportPerOrigin
from qiskit_runtime_server.messages.messages import Capabilities, Frames, Holder, Occupancy
from qiskit_runtime_server.settings import Settings
from qiskit_runtime_server.trust.cookies import no_cookies
from qiskit_runtime_server.trust.pem_files import LOOK_SECONDS
from qiskit_runtime_server.waiting import Backoff, KeptTasks, News, cancelled

_OCCUPANCIES: Final = msgspec.msgpack.Decoder(Occupancy)

_RESOLVE_SECONDS: Final = 2.0
# Far longer than between two confirmations of a run at an address that the host does not have any more.
_UNUSED_SECONDS: Final = 60.0
# While no slot is known: a job may wait for the first executor to come up.
_RESOLVE_EAGERLY_SECONDS: Final = 0.5
_RETRY_SECONDS: Final = 0.5
# An address is known as soon as a pod has it; the executor in it has yet to be imported.
_COMES_UP_SECONDS: Final = 10.0
_CALL_SECONDS: Final = 5.0
# An executor looks once a second for runs that nobody asks for, and ends them one after the other.
_GIVING_UP_SECONDS: Final = 3.0
# How long requests wait, after the start, to learn what an executor can do.
_ACQUAINTANCE_SECONDS: Final = 3.0
# Circuits for a small ideal device fit a larger one, not the other way round.
_CAPABILITIES_OF_ANY: Final = Capabilities(num_qubits=20)

logger = logging.getLogger(__name__)


class RemotePool:
    """A `LastingPool`: the endpoints of one executor service, or of several.

    Every address of every host is an endpoint. Each is watched over a connection of its own, on which it tells how
    busy it is; one whose connection breaks gets no jobs until it answers again.
    """

    def __init__(self, name: ExecutorName, urls: Sequence[str], settings: Settings, budget: ByteBudget) -> None:
        self._name = name
        self._urls = urls
        self._timings = RunTimings(
            confirm=settings.confirm_every.total_seconds(),
            patience=(settings.orphan_after + settings.orphan_kept).total_seconds() + _GIVING_UP_SECONDS,
            budget=budget,
        )
        self._addresses = NamedAddresses(urls)
        key = settings.executor_key
        # One for all endpoints: to make it takes longer than a request.
        self._trust = (
            ExecutorTrust(settings.executor_ca, settings.executor_certificate, settings.executor_certificate_key)
            if any(url.startswith("https:") for url in urls)
            else None
        )
        usual = True if self._trust else httpx.create_ssl_context(trust_env=False)
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._transports = TransportPerOrigin(
            lambda: httpx.AsyncHTTPTransport(
                verify=self._trust.context if self._trust else usual, limits=limits, trust_env=False
            )
        )
        self._client = httpx.AsyncClient(
            headers={} if key is None else {"Authorization": f"Bearer {key.get_secret_value()}"},
            timeout=httpx.Timeout(_CALL_SECONDS, connect=CONNECT_SECONDS),
            trust_env=False,
            cookies=no_cookies(),
            transport=self._transports,
            event_hooks={"request": [self._addresses.name]},
        )
        self._endpoints: dict[str, Endpoint] = {}
        self._watching: dict[str, asyncio.Task[None]] = {}
        self._others = KeptTasks()
        self._capabilities: Capabilities | None = None
        self._acquainted = -math.inf
        self._last_known = time.monotonic()
        self._news = News()

    def __str__(self) -> str:
        return ", ".join(self._urls)

    async def start(self) -> None:
        """Begin to look for endpoints."""
        self._last_known = time.monotonic()
        self._acquainted = self._last_known + _ACQUAINTANCE_SECONDS
        self._others.begin(self._resolve())
        if self._trust is not None:
            self._others.begin(self._follow(self._trust))

    async def stop(self) -> None:
        """Close all connections."""
        await self._others.cancel()
        await cancelled(*self._watching.values())
        await self._client.aclose()

    @property
    def size(self) -> int:
        """How many slots are known; those of executors that drain take no more jobs, and do not count."""
        known = (endpoint.occupancy for endpoint in self._distinct())
        return sum(occupancy.slots for occupancy in known if occupancy is not None and not occupancy.draining)

    @property
    def missing_seconds(self) -> float:
        """See `Pool.missing_seconds`; before the first executor has been heard of, it counts from the start."""
        return 0.0 if self.size else time.monotonic() - self._last_known

    @property
    def idle(self) -> int:
        """How many of them are believed to be free."""
        return sum(endpoint.free(Place.SLOT) for endpoint in self._distinct())

    def endpoints(self) -> Mapping[str, Occupancy]:
        """See `Pool.endpoints`."""
        known = ((urlsplit(endpoint.url).hostname or "", endpoint.occupancy) for endpoint in self._distinct())
        return {host: occupancy for host, occupancy in known if occupancy is not None}

    async def capabilities(self) -> Capabilities:
        """See `Pool.capabilities`."""
        while self._capabilities is None and (rest := self._acquainted - time.monotonic()) > 0:
            await self._news.wait(rest)
        return self._capabilities or _CAPABILITIES_OF_ANY

    async def reserve(self) -> RemoteReservation:
        """See `Pool.reserve`; the endpoint with the most free slots is chosen."""
        return await self._reserve(Place.SLOT)

    async def reserve_look(self) -> RemoteReservation:
        """See `LookPool.reserve_look`."""
        return await self._reserve(Place.LOOK)

    def attach(self, holder: Holder) -> RemoteReservation | None:
        """See `LastingPool.attach`."""
        if not holder.endpoint.startswith("http"):
            return None
        endpoint = self._endpoints.get(holder.endpoint) or Endpoint(holder.endpoint)
        return RemoteReservation(self._client, endpoint, holder, self._timings)

    def end_everywhere(self, job_id: str) -> None:
        """See `LastingPool.end_everywhere`."""
        for endpoint in self._endpoints.values():
            self._others.begin(end(self._client, endpoint.url, job_id))

    def _distinct(self) -> list[Endpoint]:
        """Return the endpoints that are heard of, one for each executor: a host may have two addresses."""
        by_boot_id: dict[str, Endpoint] = {}
        for endpoint in self._endpoints.values():
            if endpoint.occupancy is not None:
                by_boot_id.setdefault(endpoint.occupancy.boot_id, endpoint)
        return list(by_boot_id.values())

    async def _reserve(self, place: Place) -> RemoteReservation:
        while (reservation := self._choose(place)) is None:
            await self._news.wait(_RETRY_SECONDS)
        return reservation

    def _choose(self, place: Place) -> RemoteReservation | None:
        endpoints = self._distinct()
        # Where several are equally idle, replicas of the api should not all ask the same one.
        random.shuffle(endpoints)
        endpoint = max(endpoints, key=lambda candidate: candidate.free(place), default=None)
        if endpoint is None or endpoint.occupancy is None or not endpoint.free(place):
            return None
        endpoint.reserved[place] += 1
        holder = Holder(endpoint=endpoint.url, boot_id=endpoint.occupancy.boot_id)

        def free() -> None:
            endpoint.reserved[place] -= 1
            self._news.tell()

        return RemoteReservation(self._client, endpoint, holder, self._timings, on_release=free)

    async def _resolve(self) -> None:
        """Keep the endpoints in step with the addresses of the hosts, for ever."""
        found: dict[str, set[str]] = {}
        problems: dict[str, str] = {}
        while True:
            for url in self._urls:
                try:
                    found[url] = await addresses_of(url)
                    self._addresses.note(url, found[url])
                except (OSError, UnicodeError) as error:
                    # What is known stays: the name server may be away. An executor without pods has no address at all.
                    if problems.get(url) != str(error):
                        logger.warning("Cannot look up %s of executor %s: %s", url, self._name, error)
                    problems[url] = str(error)
                else:
                    problems.pop(url, None)
            wanted = set[str]().union(*found.values())
            for address in wanted - self._endpoints.keys():
                self._endpoints[address] = endpoint = Endpoint(address)
                self._watching[address] = asyncio.create_task(self._watch(endpoint))
            for address in self._endpoints.keys() - wanted:
                # It gets no more jobs; the runs there have connections of their own.
                self._lose(self._endpoints.pop(address))
                self._watching.pop(address).cancel()
            await self._transports.close_unused(keep=self._endpoints, seconds=_UNUSED_SECONDS)
            await asyncio.sleep(_RESOLVE_SECONDS if self.size else _RESOLVE_EAGERLY_SECONDS)

    async def _follow(self, trust: ExecutorTrust) -> None:
        """Take up what changes in the files of certificates, for ever.

        When an authority is trusted no more, all connections begin anew, for it may have signed for one of them.
        """
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if await asyncio.to_thread(trust.read_again):
                await self._transports.aclose()

    async def _watch(self, endpoint: Endpoint) -> None:
        """Keep the occupancy of an endpoint up to date, for ever."""
        backoff = Backoff(MIN_BACKOFF_SECONDS, MAX_BACKOFF_SECONDS)
        silent_since, told = time.monotonic(), False
        while True:
            problem = "it closed the connection"
            try:
                async for occupancy in self._occupancies(endpoint):
                    backoff.succeed()
                    if endpoint.occupancy is None:
                        logger.info("Executor %s answers at %s.", self._name, endpoint.url)
                    endpoint.note(occupancy)
                    if not occupancy.draining:
                        self._last_known = time.monotonic()
                    self._capabilities = occupancy.capabilities
                    self._news.tell()
            except (httpx.HTTPError, msgspec.DecodeError) as error:
                problem = str(error) or repr(error)
            if endpoint.occupancy is not None:
                # One that drains is about to end.
                silent_since, told = time.monotonic(), endpoint.occupancy.draining
            if not told and (endpoint.occupancy or time.monotonic() - silent_since > _COMES_UP_SECONDS):
                logger.warning("Executor %s does not answer at %s: %s", self._name, endpoint.url, problem)
                told = True
            self._lose(endpoint)
            await asyncio.sleep(backoff.fail() * random.uniform(0.5, 1))  # noqa: S311 - spreads the tries

    def _lose(self, endpoint: Endpoint) -> None:
        """Know nothing of an endpoint's slots any more."""
        if endpoint.occupancy is not None and not endpoint.occupancy.draining:
            self._last_known = time.monotonic()
        endpoint.occupancy = None

    async def _occupancies(self, endpoint: Endpoint) -> AsyncIterator[Occupancy]:
        frames = Frames(_OCCUPANCIES)
        async with self._client.stream("GET", f"{endpoint.url}/v1/watch", timeout=STREAM_TIMEOUT) as response:
            response.raise_for_status()
            async for chunk in response.aiter_raw():
                for occupancy in frames.feed(chunk):
                    yield occupancy
