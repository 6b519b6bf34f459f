"""The executor service as a dispatcher meets it: fences, orphans, keys, and messages of other releases."""

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.server.cluster_processes import KEY, Cluster, wait_until, workers_of
from kit.server.executor_tasks import task_of
from kit.server.server_process import ServerProcess
from qiskit_runtime_server.messages.messages import (
    LENGTH,
    Completed,
    Event,
    Frames,
    Heartbeat,
    Log,
    Occupancy,
    Started,
    Task,
    framed,
)

EVENTS = msgspec.msgpack.Decoder(Event)


@pytest.fixture
def service(standing: list[ServerProcess]) -> Iterator[httpx.Client]:
    headers = {"Authorization": "Bearer a key for tests"}
    with httpx.Client(base_url=standing[0].url, headers=headers, timeout=10) as client:
        yield client
        wait_until_idle(client)


def wait_until_idle(client: httpx.Client) -> None:
    with client.stream("GET", "/v1/watch") as stream:
        frames = Frames(msgspec.msgpack.Decoder(Occupancy))
        for chunk in stream.iter_raw():
            if any(occupancy.idle for occupancy in frames.feed(chunk)):
                return


def start(client: httpx.Client, work: Task) -> httpx.Response:
    """Send a task and return the response, whose stream is left."""
    with client.stream("POST", "/v1/jobs", content=msgspec.msgpack.encode(work)) as response:
        return response


@contextmanager
def started(client: httpx.Client, work: Task) -> Iterator[Iterator[Event]]:
    with client.stream("POST", "/v1/jobs", content=msgspec.msgpack.encode(work)) as response:
        assert response.status_code == 200
        yield events_of(response)
    client.delete(f"/v1/jobs/{work.job_id}")


def events_of(response: httpx.Response) -> Iterator[Event]:
    frames = Frames(EVENTS)
    for chunk in response.iter_raw():
        yield from frames.feed(chunk)


def has_ended(pid: int) -> bool:
    """Tell whether a process and all its threads are gone: the last of them closes its connections."""
    return not Path(f"/proc/{pid}").exists()


def attached(client: httpx.Client, job_id: str, **params: int) -> list[Event]:
    with client.stream("GET", f"/v1/jobs/{job_id}", params=params) as response:
        assert response.status_code == 200
        return list(events_of(response))


def test_events_come_as_a_stream_that_ends_with_the_result(service: httpx.Client) -> None:
    with started(service, task_of("zeros")) as events:
        received = list(events)
    assert isinstance(received[0], Started)
    assert isinstance(received[-1], Completed)


def test_heartbeats_come_while_the_worker_holds_the_interpreter_lock(service: httpx.Client) -> None:
    with started(service, task_of("hold the interpreter lock")) as events:
        assert isinstance(next(events), Started)
        assert isinstance(next(events), Heartbeat)


def test_a_full_executor_refuses_at_once_and_says_how_busy_it_is(service: httpx.Client) -> None:
    with started(service, task_of("sleep")):
        refused = start(service, task_of("zeros"))
        assert refused.status_code == 429
        occupancy = json.loads(refused.headers["QRS-Occupancy"])
        assert (occupancy["slots"], occupancy["idle"]) == (1, 0)
        assert service.get("/v1/load").json() == occupancy


def test_a_worker_that_is_killed_while_idle_costs_no_job_an_attempt(cluster: Cluster) -> None:
    executor = cluster.executor()
    with httpx.Client(base_url=executor.url, headers={"Authorization": f"Bearer {KEY}"}, timeout=10) as client:
        [worker] = workers_of(executor)
        os.kill(worker, signal.SIGKILL)
        wait_until(lambda: has_ended(worker))
        # Whoever answers this has met the end of the connection.
        client.get("/v1/load").raise_for_status()
        assert start(client, task_of("zeros")).status_code == 429
        wait_until_idle(client)
        with started(client, task_of("zeros")) as events:
            assert isinstance(list(events)[-1], Completed)


def test_a_higher_fence_takes_the_stream_over_and_a_lower_one_is_refused(
    service: httpx.Client, cluster: Cluster
) -> None:
    with started(service, task_of(cluster.held, job_id="contested", fence=2)) as events:
        assert isinstance(next(events), Started)
        assert service.get("/v1/jobs/contested", params={"fence": 1}).status_code == 409
        with service.stream("GET", "/v1/jobs/contested", params={"fence": 3}) as response:
            cluster.let_go()
            taken = list(events_of(response))
        assert isinstance(taken[0], Started)
        assert isinstance(taken[-1], Completed)
        assert not [event for event in events if isinstance(event, Completed)]
        for fence, status in ((2, 409), (3, 204)):
            assert service.put("/v1/jobs/contested/lease", json={"fence": fence}).status_code == status
        assert service.delete("/v1/jobs/contested", params={"fence": 2}).status_code == 409
        assert start(service, task_of(cluster.held, job_id="contested", fence=3)).status_code == 409
        assert start(service, task_of(cluster.held, job_id="contested", fence=4)).status_code == 200
    assert len(cluster.starts(cluster.held)) == 1


def test_events_that_were_dealt_with_are_not_sent_again(service: httpx.Client) -> None:
    with started(service, task_of("stumble", job_id="told")) as events:
        received = list(events)
        assert [type(event) for event in received[:2]] == [Started, Log]
        assert attached(service, "told", fence=1) == received
        assert attached(service, "told", fence=1, seen=1) == received[1:]
        service.put("/v1/jobs/told/lease", json={"fence": 1, "seen": 2})
        assert attached(service, "told", fence=2) == received[2:]
        service.put("/v1/jobs/told/lease", json={"fence": 2, "seen": 9})
        assert attached(service, "told", fence=2) == received[-1:], "the end is kept until the job is done with"


def test_a_job_that_is_done_with_is_forgotten_and_does_not_start_again(service: httpx.Client) -> None:
    with started(service, task_of("zeros", job_id="done", fence=2)) as events:
        assert isinstance(list(events)[-1], Completed)
    assert service.get("/v1/jobs/done", params={"fence": 2}).status_code == 404
    assert service.put("/v1/jobs/done/lease", json={"fence": 2}).status_code == 404
    assert start(service, task_of("zeros", job_id="done", fence=2)).status_code == 409


def test_an_end_that_overtakes_its_start_prevents_it(service: httpx.Client) -> None:
    assert service.delete("/v1/jobs/early", params={"fence": 4}).status_code == 204
    assert start(service, task_of("zeros", job_id="early", fence=4)).status_code == 409
    with started(service, task_of("zeros", job_id="early", fence=5)) as events:
        assert isinstance(list(events)[-1], Completed)


def test_a_request_for_an_earlier_start_of_the_executor_is_refused(service: httpx.Client) -> None:
    headers = {"QRS-Boot-Id": "an earlier one"}
    assert service.get("/v1/jobs/any", params={"fence": 1}, headers=headers).status_code == 412
    work = msgspec.msgpack.encode(task_of("zeros"))
    assert service.post("/v1/jobs", content=work, headers=headers).status_code == 412


@pytest.mark.parametrize(
    "authorization", [None, "Bearer a guess", "Bearer", "a key for tests", "Bearer a key for testsx"]
)
def test_only_the_probes_need_no_key(standing: list[ServerProcess], authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    with httpx.Client(base_url=standing[0].url, headers=headers) as stranger:
        for method, path in (
            ("GET", "/v1/load"),
            ("GET", "/v1/watch"),
            ("POST", "/v1/jobs"),
            ("GET", "/v1/jobs/x?fence=1"),
            ("PUT", "/v1/jobs/x/lease"),
            ("DELETE", "/v1/jobs/x"),
            ("GET", "/health/../v1/load"),
        ):
            assert stranger.request(method, path).status_code == 401, path
        assert stranger.get("/health/live").status_code == 200
        assert stranger.get("/health").json() == {"status": "ready", "version": version("qiskit-runtime-server")}
        assert stranger.get("/health/ready").status_code == 200


@pytest.mark.parametrize("content", [b"", b"\xc1", msgspec.msgpack.encode({"type": "task"})])
def test_a_task_that_makes_no_sense_is_refused(service: httpx.Client, content: bytes) -> None:
    assert service.post("/v1/jobs", content=content).status_code == 400
    assert service.put("/v1/jobs/x/lease", content=content).status_code == 404


def test_an_api_that_goes_away_while_it_sends_is_no_mistake_of_the_executor(standing: list[ServerProcess]) -> None:
    executor = standing[0]
    before = len(executor.output)
    parts = urlsplit(executor.url)
    lines = [
        "POST /v1/jobs HTTP/1.1",
        "Host: x",
        "Authorization: Bearer a key for tests",
        "Content-Length: 1000",
        "",
        "",
    ]
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        connection.sendall("\r\n".join(lines).encode() + b"x" * 500)
        time.sleep(0.5)
    time.sleep(0.5)
    assert httpx.get(f"{executor.url}/health", timeout=10).status_code == 200
    said = "".join(executor.output[before:])
    assert "Traceback" not in said, said


def test_fields_of_a_later_release_are_ignored(service: httpx.Client) -> None:
    later = msgspec.to_builtins(task_of("zeros"), builtin_types=(bytes,)) | {"priority": {"of": "a later release"}}
    with service.stream("POST", "/v1/jobs", content=msgspec.msgpack.encode(later)) as response:
        assert isinstance(list(events_of(response))[-1], Completed)
    event = msgspec.msgpack.encode({"type": "log", "text": "x", "level": "info"})
    assert list(Frames(EVENTS).feed(LENGTH.pack(len(event)) + event)) == [Log(text="x")]


@given(st.lists(st.text()), st.data())
def test_messages_survive_any_cutting_of_their_stream(texts: list[str], data: st.DataObject) -> None:
    stream = b"".join(framed(Log(text=text)) for text in texts)
    frames = Frames(EVENTS)
    received: list[Event] = []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        received += frames.feed(stream[:size])
        stream = stream[size:]
    assert received == [Log(text=text) for text in texts]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["executor", "faulty", "--slots=1"], "not in a usable state"),
        (["executor", "nothing"], "nothing"),
        (["executor", "counted", "--memory=plenty"], "QRS_MEMORY"),
        (["executor", "counted", "--slots=0"], "QRS_SLOTS"),
        (["api"], "--executors aer=http://"),
        (["api", "--executors=aer=http://x:seven"], "NAME=http://"),
    ],
)
def test_what_cannot_start_says_why_in_one_line(cluster: Cluster, arguments: list[str], words: str) -> None:
    with cluster.command(*arguments, "--port=0") as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert words in output
    assert "Traceback" not in output


@pytest.mark.parametrize("key", [None, ""])
def test_an_executor_that_others_can_reach_needs_a_key(cluster: Cluster, key: str | None) -> None:
    arguments = ("executor", "counted", "--host=0.0.0.0", "--port=0")
    with cluster.command(*arguments, QRS_EXECUTOR_KEY=key) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "QRS_EXECUTOR_KEY" in output


@pytest.mark.parametrize(
    ("command", "variable", "value", "message"),
    [
        (["serve"], "QRS_BACKENDS", "fake_torin", "no device is called fake_torin, .*fake_torino"),
        (["serve"], "QRS_SNAPSHOTS", "/nowhere/at/all", "The snapshots folder /nowhere/at/all does not exist"),
        (
            ["executor", "counted"],
            "QRS_SNAPSHOTS",
            "/nowhere/at/all",
            "snapshots folder /nowhere/at/all does not exist",
        ),
        (["serve"], "QRS_DATADIR", "x", "QRS_DATADIR is not a setting of the server: do you mean QRS_DATA_DIR"),
    ],
)
def test_a_slip_in_the_environment_is_said_in_one_line(
    cluster: Cluster, command: list[str], variable: str, value: str, message: str
) -> None:
    with cluster.command(*command, "--port=0", **{variable: value}) as process:
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert re.search(message, output)
    assert "Traceback" not in output
