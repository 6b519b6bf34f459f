"""What large bodies meet: refusals before they are read, and retention of what was kept."""

import socket
import time
from collections.abc import Iterator
from urllib.parse import urlsplit

import httpx
import pytest

from kit.server.cluster_processes import wait_until
from kit.server.http_jobs import end_of, signed_in, submission, submit
from kit.server.scraped import scraped
from kit.server.server_process import ServerProcess, StartServer, running_server
from qiskit_runtime_server.errors import BusyError


@pytest.fixture(scope="module")
def little_room(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server with room for one large submission, which each test leaves empty."""
    settings = {"QRS_MAX_HELD_BYTES": "1Mi", "QRS_INTERNAL_PORT": "0"}
    with running_server(tmp_path_factory.mktemp("data"), "--executors=aer=2", **settings) as server:
        yield server


class HeldUpload:
    """A submission of 900,000 bytes that the server holds: it stops before its end, until told to go on."""

    def __init__(self, server: ServerProcess, client: httpx.Client) -> None:
        parts = urlsplit(server.url)
        self._body = padded(900_000)
        self._socket = socket.create_connection((parts.hostname, parts.port))
        head = f"POST /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(self._body)}\r\n"
        head += f"Authorization: {client.headers['Authorization']}\r\nConnection: close\r\n\r\n"
        self._socket.sendall(head.encode() + self._body[:-1000])
        wait_until(lambda: scraped(server.internal_url)["qrs_held_bytes"] >= 800_000)

    def go_on(self) -> bytes:
        """Send the rest and return the answer."""
        with self._socket:
            self._socket.sendall(self._body[-1000:])
            answer = b""
            while data := self._socket.recv(65536):
                answer += data
            return answer

    def break_off(self) -> None:
        """Leave."""
        self._socket.close()


def padded(size: int) -> bytes:
    body = httpx.Request("POST", "http://x", json=submission()).content
    return body[:-1] + b" " * (size - len(body)) + body[-1:]


def answered(client: httpx.Client, status: int) -> httpx.Response:
    """Return the answer to a large submission once it has this status."""
    deadline = time.monotonic() + 20
    while (answer := client.post("/jobs", content=padded(900_000))).status_code != status:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)
    return answer


def test_too_much_at_once_is_refused_before_it_is_accepted(little_room: ServerProcess) -> None:
    with signed_in(little_room.url) as client:
        held = HeldUpload(little_room, client)
        refused = answered(client, 503)
        accepted = client.get("/jobs").json()["count"]
        assert refused.headers["Retry-After"] == str(BusyError.retry_after)
        assert "try again" in refused.json()["error"]["message"]
        assert client.post("/jobs", content=iter([padded(900_000)])).status_code == 503
        assert client.get("/jobs").json()["count"] == accepted
        assert end_of(client, submit(client))["status"] == "Completed", "what is small passes"
        assert held.go_on().startswith(b"HTTP/1.1 200")
        assert end_of(client, answered(client, 200).json()["id"])["status"] == "Completed"


def test_an_upload_that_breaks_off_gives_its_room_back(little_room: ServerProcess) -> None:
    with signed_in(little_room.url) as client:
        held = HeldUpload(little_room, client)
        answered(client, 503)
        held.break_off()
        answered(client, 200)
    assert "Traceback" not in "".join(little_room.output)


def test_large_jobs_pass_through_little_room_one_after_the_other(little_room: ServerProcess) -> None:
    with signed_in(little_room.url) as client:
        ids = [answered(client, 200).json()["id"] for _ in range(4)]
        assert {end_of(client, job_id)["status"] for job_id in ids} == {"Completed"}


def test_ended_jobs_over_a_limit_are_swept(start_server: StartServer) -> None:
    server = start_server("--executors=aer=1", QRS_RETAIN_JOBS="2", QRS_SWEEP_EVERY="0.2", QRS_INTERNAL_PORT="0")
    with signed_in(server.url) as client:
        ids = [submit(client) for _ in range(4)]
        for job_id in ids[2:]:
            end_of(client, job_id)
        deadline = time.monotonic() + 20
        while client.get("/jobs").json()["count"] != 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert {job["id"] for job in client.get("/jobs").json()["jobs"]} == set(ids[2:])
        assert client.get(f"/jobs/{ids[0]}/results").status_code == 404
    # They are counted after they have gone.
    wait_until(lambda: scraped(server.internal_url)['qrs_swept_jobs_total{limit="jobs"}'] >= 2)
    seen = scraped(server.internal_url)
    assert seen['qrs_swept_jobs_total{limit="jobs"}'] == 2
    assert seen['qrs_swept_bytes_total{limit="jobs"}'] > 0
