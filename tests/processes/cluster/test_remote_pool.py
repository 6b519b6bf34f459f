"""What an api knows of the executors behind a name, and how it follows their runs."""

import asyncio
import socket
import time
from contextlib import aclosing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from kit.server.certificates import Authority
from kit.server.cluster_processes import Cluster, wait_until, workers_of
from kit.server.executor_tasks import task_of
from kit.server.remote_pools import pool_of
from kit.server.server_process import ServerProcess
from qiskit_runtime_server.dispatch.pools import LastingPool, RunLost
from qiskit_runtime_server.dispatch.remote import pool as remote_pool
from qiskit_runtime_server.dispatch.remote import run as remote_run
from qiskit_runtime_server.dispatch.remote.pool import RemotePool
from qiskit_runtime_server.messages.messages import Completed, Started
from qiskit_runtime_server.worker.slots import Slots


def test_slots_of_this_process_do_not_outlive_it() -> None:
    assert issubclass(RemotePool, LastingPool)
    assert not issubclass(Slots, LastingPool)


async def test_an_executor_with_two_addresses_counts_once(cluster: Cluster, standing: list[ServerProcess]) -> None:
    async with pool_of(standing[0].url, cluster.wire(standing[0]).url) as pool:
        first = await asyncio.wait_for(pool.reserve(), 60)
        await asyncio.sleep(0.5)
        assert pool.size == 1
        first.release()
        assert pool.idle == 1


async def test_a_pool_knows_for_how_long_no_executor_has_been_up(
    cluster: Cluster, standing: list[ServerProcess], reserved_port: int
) -> None:
    wire = cluster.wire(standing[0])
    async with pool_of(f"http://127.0.0.1:{reserved_port}") as nowhere, pool_of(wire.url) as pool:
        (await asyncio.wait_for(pool.reserve(), 60)).release()
        assert pool.missing_seconds == 0
        await asyncio.sleep(0.5)
        severed = time.monotonic()
        wire.sever()
        await asyncio.to_thread(wait_until, lambda: pool.size == 0)
        assert 0 < pool.missing_seconds <= time.monotonic() - severed
        assert nowhere.missing_seconds > 0.5


async def test_an_executor_that_never_answered_can_do_what_any_can(
    reserved_port: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with pool_of(f"http://127.0.0.1:{reserved_port}") as pool:
        assert (await pool.capabilities()).num_qubits == 20
        assert (pool.size, pool.idle) == (0, 0)
        async with asyncio.timeout(0.1):
            await pool.capabilities()
        assert "does not answer" not in caplog.text, "it may be about to come up"
        monkeypatch.setattr(remote_pool, "_COMES_UP_SECONDS", 0)
        async with asyncio.timeout(30):
            while "does not answer" not in caplog.text:  # noqa: ASYNC110 - the log tells nobody
                await asyncio.sleep(0.05)


async def test_an_authority_that_is_taken_out_of_its_file_is_trusted_no_more(
    cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_pool, "LOOK_SECONDS", 0.1)
    old, new = Authority(tmp_path / "old.pem"), Authority(tmp_path / "new.pem")
    trusted, own = tmp_path / "trusted.pem", old.for_server(tmp_path / "executor.pem")
    trusted.write_bytes(old.file.read_bytes() + new.file.read_bytes())
    executor = await asyncio.to_thread(cluster.executor, QRS_TLS_CERTIFICATE=str(own), QRS_TLS_KEY=str(own))
    async with pool_of(executor.url.replace("127.0.0.1", "localhost"), executor_ca=trusted) as pool:
        await when_size(pool, 1)
        reservation = await pool.reserve()
        async with aclosing(reservation.run(task_of("nap 3"))) as events:
            assert isinstance(await anext(events), Started)
            trusted.write_bytes(new.file.read_bytes())
            await when_size(pool, 0)
            await asyncio.sleep(1)
            assert pool.size == 0
            trusted.write_bytes(new.file.read_bytes() + old.file.read_bytes())
            await when_size(pool, 1)
            *_, last = [event async for event in events]
            assert isinstance(last, Completed), "the run goes on, and is followed again"
        reservation.release()


async def test_a_job_cancelled_elsewhere_is_ended_at_its_executor(standing: list[ServerProcess]) -> None:
    async with pool_of(standing[1].url) as pool:
        await asyncio.wait_for(pool.capabilities(), 10)
        reservation = await pool.reserve()
        async with aclosing(reservation.run(task_of("sleep", job_id="elsewhere", fence=7))) as events:
            assert isinstance(await anext(events), Started)
            pool.end_everywhere("elsewhere")
            start = time.monotonic()
            with pytest.raises(RunLost):
                _ = [event async for event in events]
            assert time.monotonic() - start < 20, "by itself the job takes 60 s"
        reservation.release()
        await asyncio.wait_for(pool.reserve(), 60)


async def test_a_run_that_is_out_of_reach_is_given_up_when_its_executor_has_given_it_up(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    # It is asked again and again, so that it is given up in the first moment in which it may be.
    monkeypatch.setattr(remote_run, "MAX_BACKOFF_SECONDS", 0.1)
    executor = await asyncio.to_thread(cluster.executor, QRS_ORPHAN_AFTER="1", QRS_ORPHAN_KEPT="3")
    wire = cluster.wire(executor)
    async with pool_of(wire.url, orphan_after=timedelta(seconds=1), orphan_kept=timedelta(seconds=3)) as pool:
        reservation = await asyncio.wait_for(pool.reserve(), 60)
        async with aclosing(reservation.run(task_of("sleep"))) as events:
            assert isinstance(await anext(events), Started)
            workers = workers_of(executor)
            wire.sever()
            with pytest.raises(RunLost, match="out of reach"):
                _ = [event async for event in events]
            assert not workers & workers_of(executor)
        assert pool.size == 0, "an endpoint that does not answer gets no jobs"


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[str]]:
    """Return the addresses of host names, which tests change; a name without any cannot be looked up."""
    known: dict[str, list[str]] = {}
    real = socket.getaddrinfo

    def look_up(host: str, *arguments: Any, **options: Any) -> list[Any]:
        if host not in known:
            return real(host, *arguments, **options)
        found = [found for address in known[host] for found in real(address, *arguments, **options)]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    return known


async def when_size(pool: RemotePool, size: int) -> None:
    async with asyncio.timeout(30):
        while pool.size != size:  # noqa: ASYNC110 - the pool tells nobody
            await asyncio.sleep(0.05)


async def test_the_executors_of_a_name_come_and_go_with_its_addresses(
    cluster: Cluster, names: dict[str, list[str]], caplog: pytest.LogCaptureFixture
) -> None:
    [one] = await asyncio.to_thread(cluster.executors)
    port = one.url.rpartition(":")[2]
    other = await asyncio.to_thread(cluster.executor, "--host=127.0.0.2", f"--port={port}")
    names["executors.test"] = []
    async with pool_of(f"http://executors.test:{port}") as pool:
        assert (await pool.capabilities()).num_qubits == 20
        names["executors.test"] = ["127.0.0.1"]
        await when_size(pool, 1)
        reservation = await pool.reserve()
        async with aclosing(reservation.run(task_of("nap 8", job_id="named"))) as events:
            await anext(events)
            names["executors.test"] = ["127.0.0.1", "127.0.0.2"]
            await when_size(pool, 2)
            names["executors.test"] = ["127.0.0.2"]
            await when_size(pool, 1)
            second = await pool.reserve()
            assert "127.0.0.2" in second.holder.endpoint
            names["executors.test"] = []
            *_, last = [event async for event in events]
            assert isinstance(last, Completed), "a run has a connection of its own"
        assert pool.size == 1, "the name server may be away: what is known stays"
        # Its address stays until it has ended.
        async with aclosing(second.run(task_of(cluster.held, job_id="last"))) as events:
            await anext(events)
            other.process.terminate()
            await when_size(pool, 0)
            assert [occupancy.draining for occupancy in pool.endpoints().values()] == [True]
            assert pool.missing_seconds < 10
            cluster.let_go()
            *_, last = [event async for event in events]
            assert isinstance(last, Completed)
        async with asyncio.timeout(30):
            while pool.endpoints():  # noqa: ASYNC110 - the pool tells nobody
                await asyncio.sleep(0.05)
    assert "does not answer" not in caplog.text, "it ended as it was told to"
