"""Clients that hold what they do not use: others are served, memory is bounded, and the log says it in a few lines."""

import resource
import secrets
import socket
import time
from concurrent.futures import ThreadPoolExecutor
from threading import Event

from qiskit import QuantumCircuit

from kit.server.http_jobs import end_of, signed_in, submission, submit
from kit.server.open_sockets import all_closed, connected, head, is_closed, is_refused_or_closed, slowly
from kit.server.server_process import NO_EXECUTOR, ServerProcess, StartServer

MIB = 1 << 20
# Half of what the server lets pass, which looks every 10 s or waits for 15 s or 20 s.
PATIENCE = 30.0


def lines(server: ServerProcess) -> list[str]:
    return [line for line in server.output if "WARNING" in line or "connection" in line]


def slowest(url: str, count: int = 20) -> float:
    """Return how long the slowest of so many ordinary calls took, each on a connection of its own."""
    took = []
    for _ in range(count):
        begin = time.monotonic()
        with signed_in(url, "another account") as client:
            client.get("/jobs").raise_for_status()
        took.append(time.monotonic() - begin)
    return max(took)


def test_uploads_that_stop_take_no_room_and_no_slot_from_others(start_server: StartServer) -> None:
    server = start_server("--executors=aer=1", QRS_MAX_HELD_BYTES="1Mi")
    with signed_in(server.url, "attacker") as attacker, signed_in(server.url, "user") as user:
        stopped = [connected(server.url) for _ in range(20)]
        with all_closed(stopped):
            for upload in stopped:
                upload.sendall(head("POST", "/jobs", attacker.headers["Authorization"], 100 * MIB) + b"{" * 1000)
            begin = time.monotonic()
            body = submission(tags=["x" * 80])
            body["params"]["padding"] = "x" * 700_000
            accepted = user.post("/jobs", json=body)
            assert accepted.status_code == 200, accepted.text
            assert end_of(user, accepted.json()["id"])["status"] in {"Completed", "Failed"}
            assert time.monotonic() - begin < PATIENCE / 2
            assert all(is_closed(upload, PATIENCE) for upload in stopped)


def test_one_account_cannot_take_all_the_room_for_uploads(start_server: StartServer) -> None:
    server = start_server("--executors=aer=1", QRS_MAX_HELD_BYTES="2Mi")
    with signed_in(server.url, "attacker") as attacker, signed_in(server.url, "user") as user:
        sent = [connected(server.url) for _ in range(6)]
        with all_closed(sent):
            for upload in sent:
                upload.sendall(head("POST", "/jobs", attacker.headers["Authorization"], MIB) + b"{" * (MIB // 2 - 1000))
            time.sleep(1)
            body = submission()
            body["params"]["padding"] = "x" * 400_000
            assert user.post("/jobs", json=body).status_code == 200


def test_half_sent_requests_keep_nobody_out(start_server: StartServer) -> None:
    server = start_server("--executors=aer=1", QRS_MAX_CONNECTIONS="64")
    resource.prlimit(server.process.pid, resource.RLIMIT_NOFILE, (256, 256))
    quiet = slowest(server.url)
    half_sent = []
    for _ in range(400):
        half_sent.append(connected(server.url))
        half_sent[-1].sendall(b"GET /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-Padding: ")
    with all_closed(half_sent):
        # Beside other work each may be held up: the least of three is what the half-sent requests cost.
        assert any(slowest(server.url) < max(1.0, 5 * quiet) for _ in range(3))
        assert all(is_closed(connection, PATIENCE) for connection in half_sent)
    assert len(lines(server)) < 20, lines(server)[:20]
    assert server.process.poll() is None


def test_requests_without_their_bodies_keep_nobody_out(start_server: StartServer) -> None:
    server = start_server(NO_EXECUTOR, QRS_MAX_CONNECTIONS="32")
    half_sent = []
    for _ in range(100):
        half_sent.append(connected(server.url))
        half_sent[-1].sendall(b"POST /identity/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\na")
    with all_closed(half_sent), signed_in(server.url) as client:
        for _ in range(5):
            client.get("/jobs").raise_for_status()
        with ThreadPoolExecutor(1) as thread:
            begun = Event()
            sent = thread.submit(client.post, "/jobs", content=slowly(b"{" * 20, begun))
            # A connection that waits for its next request may be closed for a new one.
            assert begun.wait(30)
            assert slowest(server.url, count=10) < 5
            # It was not given up for the others.
            assert sent.result().status_code == 400


def test_an_address_that_has_most_connections_gives_way_before_others(start_server: StartServer) -> None:
    server = start_server(NO_EXECUTOR, QRS_MAX_CONNECTIONS="16")
    half_sent = b"POST /identity/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\na"
    others = [connected(server.url, source="127.0.0.2") for _ in range(2)]
    others[0].sendall(half_sent)
    flood: list[socket.socket] = []
    with all_closed(others), all_closed(flood):
        for _ in range(60):
            flood.append(connected(server.url))
            flood[-1].sendall(half_sent)
        # Both have waited longer than what came after them, and one is without a request.
        others[0].sendall(b"a")
        others[1].sendall(b"GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert [other.recv(12) for other in others] == [b"HTTP/1.1 400", b"HTTP/1.1 200"]


def test_one_address_gets_no_more_connections_than_it_may(start_server: StartServer) -> None:
    server = start_server("--executors=aer=1", QRS_MAX_CONNECTIONS_EACH="8")
    with all_closed([connected(server.url) for _ in range(8)]) as held:
        with all_closed([connected(server.url)]) as one_more:
            assert is_closed(one_more[0], 5)
        held.pop().close()
        time.sleep(0.2)
        with signed_in(server.url) as client:
            client.get("/jobs").raise_for_status()


def test_answers_that_nobody_reads_are_given_up_and_take_no_more_than_their_room(start_server: StartServer) -> None:
    server = start_server("--executors=aer=1", QRS_MAX_HELD_BYTES="16Mi")
    with signed_in(server.url, "attacker") as attacker:
        job_id = submit(attacker, with_padding(6 * MIB))
        end_of(attacker, job_id)
        # Twice, as the first one warms everything up.
        for _ in range(2):
            attacker.get(f"/jobs/{job_id}").raise_for_status()
        server.forget_peak()
        memory = server.memory()[0]
        unread: list[socket.socket] = []
        for _ in range(60):
            unread.append(connected(server.url, receive_buffer=4096))
            unread[-1].sendall(head("GET", f"/jobs/{job_id}", attacker.headers["Authorization"]))
        with all_closed(unread):
            assert slowest(server.url) < 5
            # To look for the end of an answer is to read it.
            time.sleep(22)
            assert all(is_refused_or_closed(one, PATIENCE) for one in unread)
        assert server.memory()[1] - memory < 2 * 16 * MIB


def with_padding(size: int) -> QuantumCircuit:
    """Return a circuit whose document has about so many bytes."""
    circuit = QuantumCircuit(1, 1)
    circuit.x(0)
    circuit.measure(0, 0)
    circuit.metadata = {"padding": secrets.token_hex(size // 2)}
    return circuit
