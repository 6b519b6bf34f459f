"""What is tried against a server: each attempt ends by itself, and raises if something else happens than should."""

import asyncio
import base64
import json
import random
import secrets
import socket
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx

from kit.server.http_jobs import end_of, submission
from kit.server.open_sockets import all_closed, connected, head, is_closed, is_refused_or_closed, slowly
from kit.server.server_process import ServerProcess
from kit.server.store_speed import fill_with_ended, sqlite_store
from qiskit_runtime_server.jobs import AccountId

MIB = 1 << 20
# Twice what the server lets pass, which looks every 10 s or waits for 15 s or 20 s.
PATIENCE = 60.0
HELD_BYTES = 64 * MIB
"""What `QRS_MAX_HELD_BYTES` is in all attempts."""


@dataclass(frozen=True, kw_only=True)
class Size:
    """How often things are tried.

    Attributes:
        quiet_seconds: How long the other account is watched before.
        least_seconds: How long it is watched from the beginning of an attempt on.
    """

    connections: int
    readers: int
    guesses: int
    requests: int
    submissions: int
    sessions: int
    damaged: int
    own_jobs: int
    listings: int
    quiet_seconds: float
    least_seconds: float


SHORT = Size(
    connections=100,
    readers=120,
    guesses=100,
    requests=800,
    submissions=60,
    sessions=40,
    damaged=15,
    own_jobs=20_000,
    listings=45,
    quiet_seconds=1,
    least_seconds=1,
)
FULL = Size(
    connections=2000,
    readers=200,
    guesses=3000,
    requests=20_000,
    submissions=1000,
    sessions=2000,
    damaged=300,
    own_jobs=200_000,
    listings=150,
    quiet_seconds=15,
    least_seconds=15,
)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What an attempt works with.

    Attributes:
        attacker: The token of an account with the limits of `ACCOUNTS`.
        user: That of the account that is watched.
    """

    server: ServerProcess
    size: Size
    attacker: str
    user: str

    @contextmanager
    def client(self, token: str) -> Iterator[httpx.Client]:
        """Return a client of the API with a token."""
        headers = {"Authorization": f"apikey {token}"}
        with httpx.Client(base_url=f"{self.server.url}/api/v1", headers=headers, timeout=60) as client:
            yield client

    def ask_at_once(self, count: int, ask: Callable[[httpx.Client, int], httpx.Response]) -> Counter[int]:
        """Ask so often as the attacker, on eight connections, and return how often there was which status."""
        with self.client(self.attacker) as client, ThreadPoolExecutor(8) as threads:
            answers = list(threads.map(lambda number: ask(client, number), range(count)))
        assert all("Retry-After" in answer.headers for answer in answers if told_to_wait(answer))
        return Counter(answer.status_code for answer in answers)


def told_to_wait(answer: httpx.Response) -> bool:
    """Tell whether an answer refuses by rate, and not by a limit that waiting does not change."""
    return answer.status_code == HTTPStatus.TOO_MANY_REQUESTS and "a minute" in answer.text


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """Something that is tried.

    Attributes:
        what: For people, without its number.
        run: Tries it, and returns how often and what held.
        settings: Of the server, beside those that all have.
        disk_bytes: The size of the disk of its data folder; None for one that is large.
        prepare: Fills the data folder, before there is a server; None where it begins empty.
    """

    what: str
    run: Callable[[Scene], tuple[int, str]]
    settings: Mapping[str, str] = field(default_factory=dict)
    disk_bytes: int | None = None
    prepare: Callable[[Path, Size], None] | None = None


ACCOUNTS = """
[accounts.attacker]
stored_bytes = "12Mi"
sessions = 30
queued = 40
"""


def body_of(size: int) -> dict[str, Any]:
    """Return a job whose params have about so many bytes that cannot be compressed."""
    body = submission()
    body["params"]["padding"] = secrets.token_hex(size // 2)
    return body


def stopped_uploads(scene: Scene) -> tuple[int, str]:
    """Announce uploads of 100 MiB and send one kilobyte of each."""
    count = scene.size.connections // 10
    uploads = [connected(scene.server.url) for _ in range(count)]
    with all_closed(uploads), scene.client(scene.user) as user:
        for upload in uploads:
            upload.sendall(head("POST", "/jobs", f"apikey {scene.attacker}", 100 * MIB) + b"{" * 1000)
        assert end_of(user, user.post("/jobs", json=body_of(MIB)).raise_for_status().json()["id"])
        assert all(is_closed(upload, PATIENCE) for upload in uploads)
    return count, "closed, and another's upload of 1 MiB went through meanwhile"


def half_sent_requests(scene: Scene) -> tuple[int, str]:
    """Begin requests and send no more of them."""
    opened: list[socket.socket] = []
    with all_closed(opened):
        for _ in range(scene.size.connections):
            opened.append(connected(scene.server.url))
            opened[-1].sendall(b"GET /api/v1/jobs HTTP/1.1\r\nHost: localhost\r\nX-Padding: ")
        assert all(is_closed(one, PATIENCE) for one in opened)
    lines = [line for line in scene.server.output if "connection" in line]
    assert len(lines) < 50, lines[:50]
    return scene.size.connections, f"closed, with {len(lines)} lines in the log"


def half_sent_bodies(scene: Scene) -> tuple[int, str]:
    """Announce bodies of 1 kB and send one byte of each; beside them an honest client sends its own slowly."""
    opened: list[socket.socket] = []
    with all_closed(opened), scene.client(scene.user) as user:
        for _ in range(scene.size.connections):
            opened.append(connected(scene.server.url))
            opened[-1].sendall(b"POST /identity/token HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\na")
        slow = user.post("/jobs", content=slowly(b"{" * 20))
        assert slow.status_code == HTTPStatus.BAD_REQUEST, slow.text
        assert all(is_closed(one, PATIENCE) for one in opened)
    lines = [line for line in scene.server.output if "connection" in line]
    assert len(lines) < 50, lines[:50]
    return scene.size.connections, f"closed, with {len(lines)} lines in the log; another's slow body went through"


def unread_answers(scene: Scene) -> tuple[int, str]:
    """Ask for a large job and read nothing of it."""
    with scene.client(scene.attacker) as attacker:
        job_id = attacker.post("/jobs", json=body_of(6 * MIB)).raise_for_status().json()["id"]
        end_of(attacker, job_id)
    unread: list[socket.socket] = []
    with all_closed(unread), scene.client(scene.user) as user:
        own = user.post("/jobs", json=body_of(MIB)).raise_for_status().json()["id"]
        end_of(user, own)
        for _ in range(scene.size.readers):
            unread.append(connected(scene.server.url, receive_buffer=4096))
            unread[-1].sendall(head("GET", f"/jobs/{job_id}", f"apikey {scene.attacker}"))
        assert user.get(f"/jobs/{own}").status_code == HTTPStatus.OK
        time.sleep(25)
        assert all(is_refused_or_closed(one, PATIENCE) for one in unread)
    return scene.size.readers, "refused for lack of room, or given up after 10 s without a byte; another reads its own"


def guessed_tokens(scene: Scene) -> tuple[int, str]:
    """Sign in with tokens that nobody has, from the address that the others have, too."""
    chance = random.Random(17)  # noqa: S311 - the guesses are the same each time
    guesses = [f"{chance.randbytes(4 + number % 12).hex()}" for number in range(scene.size.guesses)]

    begin = time.monotonic()
    with httpx.Client(base_url=scene.server.url, timeout=60) as client, ThreadPoolExecutor(8) as threads:

        def guess(token: str) -> int:
            return client.post("/identity/token", data={"apikey": token}).status_code

        found = Counter(threads.map(guess, guesses))
        assert guess(scene.user) == HTTPStatus.OK
    seconds = time.monotonic() - begin
    assert set(found) == {HTTPStatus.BAD_REQUEST, HTTPStatus.TOO_MANY_REQUESTS}, found
    told = sum("sign-in refused" in line for line in scene.server.output)
    assert told <= 60 + seconds + 1, (told, seconds)
    return len(
        guesses
    ), f"{found[400]} were looked at, the others answered 429; {told} lines in the log; a user signs in"


def floods_of_requests(scene: Scene) -> tuple[int, str]:
    """Ask for the list of jobs faster than the account may: for longer, where that is not so yet."""
    found: Counter[int] = Counter()
    while not found[HTTPStatus.TOO_MANY_REQUESTS]:
        found += scene.ask_at_once(scene.size.requests, lambda client, _: client.get("/jobs"))
        assert set(found) <= {HTTPStatus.OK, HTTPStatus.TOO_MANY_REQUESTS}, found
    return found.total(), f"{found[200]} answered, {found[429]} refused by rate, each with the time to wait"


def floods_of_jobs(scene: Scene) -> tuple[int, str]:
    """Submit more jobs than may wait, and faster than the account may."""
    found = scene.ask_at_once(scene.size.submissions, lambda client, _: client.post("/jobs", json=submission()))
    assert set(found) <= {HTTPStatus.OK, HTTPStatus.TOO_MANY_REQUESTS}, found
    assert found[429] > 0, found
    with scene.client(scene.user) as user:
        begin = time.monotonic()
        job = end_of(user, user.post("/jobs", json=submission()).raise_for_status().json()["id"])
        assert job["status"] == "Completed", job
        took = time.monotonic() - begin
    return (
        scene.size.submissions,
        f"{found[200]} accepted, {found[429]} refused; another's job ended {took:.2f} s later",
    )


def endless_sessions(scene: Scene) -> tuple[int, str]:
    """Open sessions and never use them."""
    new = {"backend": "fake_manila@aer", "mode": "batch"}
    found = scene.ask_at_once(scene.size.sessions, lambda client, _: client.post("/sessions", json=new))
    assert found == {200: 30, 429: scene.size.sessions - 30}, found
    return scene.size.sessions, "30 opened, as the account may; the others refused"


def hoarded_bytes(scene: Scene) -> tuple[int, str]:
    """Keep more than the account may, in jobs of 1 MiB."""
    count = max(36, scene.size.submissions // 10)
    with scene.client(scene.attacker) as attacker, scene.client(scene.user) as user:
        answers = [attacker.post("/jobs", json=body_of(MIB)) for _ in range(count)]
        found = Counter(answer.status_code for answer in answers)
        assert set(found) == {200, 429}, found
        assert "its limit is 12582912. Delete jobs" in answers[-1].text, answers[-1].text
        assert user.post("/jobs", json=body_of(MIB)).status_code == HTTPStatus.OK
        newest = attacker.get("/jobs").json()["jobs"]
        for job in newest:
            attacker.delete(f"/jobs/{job['id']}").raise_for_status()
        assert attacker.post("/jobs", json=body_of(MIB)).status_code == HTTPStatus.OK
    return count, f"{found[200]} accepted, {found[429]} refused until some were deleted; others submit"


def wide_queries(scene: Scene) -> tuple[int, str]:
    """Ask with thousands of parameters, and with parameters that have no bounds."""
    queries = [
        "tags=" + "&tags=".join(f"t{number}" for number in range(4000)),
        "search=" + "x" * 60_000,
        f"offset={10**30}",
        "limit=-1",
        "created_after=0001-01-01&created_before=9999-12-31&limit=200&offset=2147483647",
    ]
    count = max(len(queries), scene.size.requests // 100)
    host = scene.server.url.removeprefix("http://")

    def ask(number: int) -> int:
        # Httpx takes longer to read such a URL than the server.
        connection = HTTPConnection(host, timeout=60)
        try:
            path = f"/api/v1/jobs?{queries[number % len(queries)]}"
            connection.request("GET", path, headers={"Authorization": f"apikey {scene.attacker}"})
            return connection.getresponse().status
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        found = Counter(threads.map(ask, range(count)))
    assert not any(status >= HTTPStatus.INTERNAL_SERVER_ERROR for status in found), found
    return count, f"{sum(found.values()) - found[200]} refused, {found[200]} answered, none a mistake of the server"


def damaged_circuits(scene: Scene) -> tuple[int, str]:
    """Submit circuits with one to three wrong bytes inside what QPY compresses."""
    chance = random.Random(1717)  # noqa: S311 - the same each time
    whole = submission()
    data = zlib.decompress(base64.b64decode(circuit_in(whole)["__value__"]))
    ends: Counter[str] = Counter()
    with scene.client(scene.attacker) as attacker, scene.client(scene.user) as user:
        for _ in range(scene.size.damaged):
            changed = bytearray(data)
            for _ in range(chance.randint(1, 3)):
                changed[chance.randrange(len(changed))] = chance.randrange(256)
            body = json.loads(json.dumps(whole))
            circuit_in(body)["__value__"] = base64.b64encode(zlib.compress(bytes(changed))).decode()
            job_id = attacker.post("/jobs", json=body).raise_for_status().json()["id"]
            ends[end_of(attacker, job_id, seconds=PATIENCE)["status"]] += 1
            attacker.delete(f"/jobs/{job_id}").raise_for_status()
        good = end_of(user, user.post("/jobs", json=submission()).raise_for_status().json()["id"])
    assert good["status"] == "Completed", good
    assert set(ends) <= {"Completed", "Failed"}, ends
    said = " and ".join(f"{number} {status}" for status, number in sorted(ends.items()))
    return scene.size.damaged, f"{said}, none twice; another's job Completed after them"


def circuit_in(body: dict[str, Any]) -> dict[str, Any]:
    """Return the circuit of a submission as the client has encoded it."""
    circuit: dict[str, Any] = body["params"]["pubs"][0][0]
    return circuit


def own_history(data: Path, size: Size) -> None:
    """Have the attacker run very many jobs, long ago."""

    async def fill() -> None:
        async with sqlite_store(data) as store:
            await fill_with_ended(store, AccountId("attacker"), size=size.own_jobs)

    asyncio.run(fill())


def long_listings(scene: Scene) -> tuple[int, str]:
    """List and count very many jobs of one's own, in every way, on eight connections."""
    jobs = scene.size.own_jobs
    sums = ("usage?", "usage_grouped?group_by=backend", "usage_grouped_by_date?group_by=instance")
    paths = [
        "/jobs?limit=1",
        f"/jobs?offset={jobs - 10}",
        "/jobs?sort=ASC&limit=200",
        "/jobs?tags=batch-1&pending=false",
        "/jobs?created_after=2020-01-01T00:00:00Z&program=sampler&state=Completed",
        "/jobs?exclude_params=false",
        "/workloads?sort=-createdAt",
        "/workloads?search=nothing",
        "/tags?type=job&search=batch",
        "/instances/usage",
        "/analytics/filters",
        *(f"/analytics/{what}&interval_start=2026-01-01&interval_end=2026-12-31" for what in sums),
    ]
    found = scene.ask_at_once(scene.size.listings, lambda client, number: client.get(paths[number % len(paths)]))
    assert set(found) <= {HTTPStatus.OK, HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE}, found
    with scene.client(scene.attacker) as attacker:
        assert attacker.get("/jobs?limit=1").raise_for_status().json()["count"] == jobs
    return found.total(), f"{found[200]} answered, {found.total() - found[200]} refused; all {jobs:,} are still counted"


def full_disk(scene: Scene) -> tuple[int, str]:
    """Submit until the disk is nearly full; then make room, as users do."""
    accepted: list[str] = []
    with scene.client(scene.user) as user, httpx.Client(base_url=scene.server.url) as anybody:
        waiting = user.post("/jobs", json=body_of(MIB)).raise_for_status().json()["id"]
        for _ in range(200):
            answer = user.post("/jobs", json=body_of(MIB))
            if answer.status_code != HTTPStatus.OK:
                break
            accepted.append(answer.json()["id"])
        assert answer.status_code == HTTPStatus.SERVICE_UNAVAILABLE, answer.text
        assert "QRS_KEEP_FREE" in answer.text
        ready = anybody.get("/health/ready")
        assert (ready.status_code, ready.json()["takes_jobs"]) == (200, False), ready.text
        assert user.post(f"/jobs/{accepted[-1]}/cancel").status_code in {204, 409}
        assert end_of(user, waiting)["status"] in {"Completed", "Failed"}
        for job_id in accepted:
            user.delete(f"/jobs/{job_id}").raise_for_status()
        assert anybody.get("/health/ready").json()["takes_jobs"]
        assert user.post("/jobs", json=body_of(MIB)).status_code == HTTPStatus.OK
    return len(
        accepted
    ) + 2, f"refused after {len(accepted) + 1}; reading, cancelling and deleting went on, then it accepted again"


ATTEMPTS = {
    "uploads": Attempt(what="Uploads of 100 MiB that stop after 1 kB", run=stopped_uploads),
    "headers": Attempt(
        what="Requests that are half sent", run=half_sent_requests, settings={"QRS_MAX_CONNECTIONS": "64"}
    ),
    "bodies": Attempt(
        what="Bodies of 1 kB of which one byte is sent", run=half_sent_bodies, settings={"QRS_MAX_CONNECTIONS": "64"}
    ),
    "readers": Attempt(what="Answers of 6 MiB that nobody reads", run=unread_answers),
    "guesses": Attempt(what="Sign-ins with guessed tokens", run=guessed_tokens),
    "requests": Attempt(
        what="Requests over the rate of an account",
        run=floods_of_requests,
        settings={"QRS_REQUESTS_PER_MINUTE": "600"},
    ),
    "jobs": Attempt(
        what="Jobs over what an account may have in the queue",
        run=floods_of_jobs,
        settings={"QRS_SUBMISSIONS_PER_MINUTE": "50"},
    ),
    "sessions": Attempt(what="Sessions that are never used", run=endless_sessions),
    "bytes": Attempt(what="Jobs of 1 MiB over what an account may keep", run=hoarded_bytes),
    "queries": Attempt(what="Queries with thousands of parameters, or without bounds", run=wide_queries),
    "listings": Attempt(what="Listings and counts of a long history of jobs", run=long_listings, prepare=own_history),
    "circuits": Attempt(what="Circuits with wrong bytes inside", run=damaged_circuits),
    "disk": Attempt(
        what="Jobs of 1 MiB on a disk of 64 MiB, of which 16 are to be kept free",
        run=full_disk,
        settings={"QRS_KEEP_FREE": "16Mi"},
        disk_bytes=64 * MIB,
    ),
}
"""By a short name."""
