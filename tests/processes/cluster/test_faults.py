"""Apis that sleep past their leases, and networks that lose everything in one direction or in both."""

import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest

from kit.faults.wire import Wire
from kit.server.cluster_processes import Cluster, Plugins, wait_until, workers_of
from kit.server.http_jobs import end_of, signed_in, submit_named
from kit.server.server_process import ServerProcess

IMPATIENT = {"QRS_CONFIRM_EVERY": "0.3", "QRS_ORPHAN_AFTER": "2", "QRS_ORPHAN_KEPT": "4"}
WAYS = [{"requests": True}, {"answers": True}, {"requests": True, "answers": True}]


def test_what_an_api_has_to_say_that_slept_past_its_lease_is_refused(
    cluster: Cluster, standing: list[ServerProcess], shared_store: dict[str, str]
) -> None:
    wires = [cluster.wire(standing[0]) for _ in range(2)]
    apis = [cluster.api(wire.url, QRS_LEASE="2", **shared_store) for wire in wires]
    with signed_in(apis[0].url) as client:
        job = submit_named(client, cluster.held)
        cluster.wait_for_start(cluster.held)
        asleep, awake = apis if wires[0].count("POST /v1/jobs ") else apis[::-1]
        asleep.process.send_signal(signal.SIGSTOP)
        cluster.let_go()
        client.base_url = httpx.URL(f"{awake.url}/api/v1")
        ended = end_of(client, job)
        assert ended["status"] == "Completed"
        asleep.process.send_signal(signal.SIGCONT)
        # After a long sleep it hears of the end before it reads what the executor sent.
        refused = (f"{job} is not ours any more", f"{job} has ended otherwise")
        wait_until(lambda: any(words in line for line in asleep.output for words in refused))
        assert client.get(f"/jobs/{job}", params={"exclude_params": "true"}).json() == ended
    assert len(cluster.starts(cluster.held)) == 1


@pytest.fixture(scope="module")
def patient(tmp_path_factory: pytest.TempPathFactory, plugins: Plugins) -> Iterator[tuple[ServerProcess, Wire]]:
    """Share an api, and its wire to an executor that keeps jobs for long, between the tests that heal the wire."""
    variables = IMPATIENT | {"QRS_ORPHAN_KEPT": "30"}
    with ExitStack() as stack:
        cluster = Cluster(tmp_path_factory.mktemp("patient"), plugins, stack)
        wire = cluster.wire(cluster.executor(**variables))
        yield cluster.api(wire.url, **variables), wire


@pytest.mark.parametrize("ways", WAYS)
def test_a_job_outlives_a_network_that_loses_everything_for_a_while(
    cluster: Cluster, patient: tuple[ServerProcess, Wire], ways: dict[str, bool]
) -> None:
    api, wire = patient
    with signed_in(api.url) as client:
        job = submit_named(client, cluster.held)
        cluster.wait_for_start(cluster.held)
        wire.hold(**ways)
        time.sleep(3)
        wire.heal()
        cluster.let_go()
        assert end_of(client, job)["status"] == "Completed"
    assert len(cluster.starts(cluster.held)) == 1


@pytest.mark.parametrize("ways", [*(pytest.param(way, marks=pytest.mark.thorough) for way in WAYS[:-1]), WAYS[-1]])
def test_a_network_that_stays_away_does_not_leave_two_copies_running(cluster: Cluster, ways: dict[str, bool]) -> None:
    executors = {executor.process.pid: executor for executor in cluster.executors(2, **IMPATIENT)}
    wires = {pid: cluster.wire(executor) for pid, executor in executors.items()}
    with signed_in(cluster.api(*(wire.url for wire in wires.values()), **IMPATIENT).url) as client:
        job = submit_named(client, "sleep")
        first = cluster.wait_for_start("sleep")
        workers = workers_of(executors[first])
        wires[first].hold(**ways)
        wait_until(lambda: len(cluster.starts("sleep")) == 2, seconds=120)
        assert not workers & workers_of(executors[first])
        assert set(cluster.starts("sleep")) == executors.keys()
        assert client.post(f"/jobs/{job}/cancel").status_code == 204
