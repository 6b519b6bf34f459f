"""Who may write, and for how long: with a Lease that is a dict, and a clock that is moved by hand."""

from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest

from qiskit_runtime_operator.cluster.lease import Leadership, LeaseTimings
from qiskit_runtime_operator.errors import ClusterError, LeadershipLostError, StaleError


class Leases:
    """The one Lease, and an API server that may be away."""

    def __init__(self) -> None:
        self.lease: dict[str, Any] | None = None
        self.away = False
        self.now = 1000.0

    async def get(self, *_: object) -> dict[str, Any] | None:
        self._check()
        return deepcopy(self.lease)

    async def create(self, _: object, lease: dict[str, Any]) -> bool:
        self._check()
        if self.lease is not None:
            return False
        await self._store(lease)
        return True

    async def replace(self, _: object, lease: dict[str, Any]) -> dict[str, Any]:
        self._check()
        assert self.lease is not None
        if lease["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            raise StaleError("the object has been modified")
        return await self._store(lease)

    def of(self, identity: str) -> Leadership:
        terms = LeaseTimings(
            namespace="system",
            name="operator",
            identity=identity,
            duration=timedelta(seconds=10),
            period=timedelta(milliseconds=1),
        )
        return Leadership(self, terms, lambda: self.now)  # type: ignore[arg-type]  # what it uses of a Cluster

    def holder(self) -> str:
        assert self.lease is not None
        return str(self.lease["spec"]["holderIdentity"])

    def _check(self) -> None:
        if self.away:
            raise ClusterError("the API server is away")

    async def _store(self, lease: dict[str, Any]) -> dict[str, Any]:
        version = int(self.lease["metadata"]["resourceVersion"]) + 1 if self.lease else 1
        self.lease = deepcopy(lease)
        self.lease["metadata"]["resourceVersion"] = str(version)
        return deepcopy(self.lease)


async def test_the_first_leads_and_may_write_for_less_than_the_lease_lasts() -> None:
    leases = Leases()
    first = leases.of("first")
    with pytest.raises(LeadershipLostError):
        first.time_left()
    await first.acquire()
    assert timedelta(seconds=9) < first.time_left() < timedelta(seconds=10)
    leases.now += 9.6
    with pytest.raises(LeadershipLostError):
        first.time_left()


async def test_a_second_waits_until_it_has_seen_nothing_new_for_as_long_as_the_lease_lasts() -> None:
    leases = Leases()
    first, second = leases.of("first"), leases.of("second")
    await first.acquire()
    assert not await second._attempt()
    leases.now += 9
    assert await first._attempt()
    leases.now += 9
    assert not await second._attempt()
    leases.now += 9
    assert not await second._attempt()
    leases.now += 2
    assert await second._attempt()
    assert leases.holder() == "second"


async def test_one_whose_lease_was_taken_ends_though_its_own_clock_says_it_may_go_on() -> None:
    leases = Leases()
    first = leases.of("first")
    await first.acquire()
    assert leases.lease is not None
    leases.lease["spec"]["holderIdentity"] = "second"
    with pytest.raises(LeadershipLostError, match="second"):
        await first.keep()


async def test_an_api_server_that_is_away_is_borne_for_as_long_as_the_lease_lasts() -> None:
    leases = Leases()
    first = leases.of("first")
    await first.acquire()
    leases.away = True
    leases.now += 5
    assert not await first._attempt()
    assert first.leads()
    leases.now += 6
    with pytest.raises(LeadershipLostError, match="run out"):
        await first.keep()
    leases.now += 30
    assert first.out_of_touch() == ["the Lease could not be read for 41 s"]


async def test_one_that_lets_go_makes_room_at_once_and_takes_no_term_of_its_own() -> None:
    leases = Leases()
    first, second = leases.of("first"), leases.of("second")
    await first.acquire()
    assert not await second._attempt()
    await first.release()
    assert not first.leads()
    assert await second._attempt()
    assert leases.lease is not None
    assert leases.lease["spec"]["leaseTransitions"] == 1


async def test_of_two_that_try_at_once_one_gets_it() -> None:
    leases = Leases()
    first, second = leases.of("first"), leases.of("second")
    await first.acquire()
    await first.release()
    seen = await leases.get()
    assert await first._attempt()
    assert seen is not None
    with pytest.raises(StaleError):
        await second._write(seen, holder="second")
    assert leases.holder() == "first"
