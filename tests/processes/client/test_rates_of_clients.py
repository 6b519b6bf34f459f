"""Rates over HTTP: the unmodified client waits where it reads, and where it submits it says what was not accepted."""

import json
from collections.abc import Iterator

import httpx
import pytest
from qiskit_ibm_runtime import RuntimeJobV2, SamplerV2
from qiskit_ibm_runtime.exceptions import IBMRuntimeError

from kit.server.http_jobs import circuit_of, signed_in
from kit.server.server_process import NO_EXECUTOR, StartServer, running_server
from qiskit_runtime_server.client import connect

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:The SamplerV2 class:DeprecationWarning")]


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that two tests share, each with an account of its own."""
    rates = {"QRS_REQUESTS_PER_MINUTE": "120", "QRS_SUBMISSIONS_PER_MINUTE": "3"}
    with running_server(
        tmp_path_factory.mktemp("data"), "--executors=aer=1", QRS_BACKENDS="fake_manila", **rates
    ) as server:
        yield server.url


def shots_of(job: RuntimeJobV2) -> int:
    """Return of how many shots there is a result, once there is one."""
    return sum(job.result()[0].data.c.get_counts().values())


def test_reading_waits_for_as_long_as_the_server_says_and_gets_its_answer(url: str) -> None:
    service = connect(url, "alice")
    job = SamplerV2(service.backend("fake_manila@aer")).run([circuit_of()], shots=10)
    assert shots_of(job) == 10
    with signed_in(url, "alice") as client:
        # The first one that is refused: half a second later there is room for one again.
        while (refused := client.get("/jobs")).status_code == 200:
            pass
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "1"
    again = service.job(job.job_id())
    assert [again.status() for _ in range(4)] == ["DONE"] * 4
    assert shots_of(again) == 10
    service.delete_job(job.job_id())


def test_a_submission_that_is_too_much_is_raised_and_those_before_it_are_kept(url: str) -> None:
    sampler = SamplerV2(connect(url, "bob").backend("fake_manila@aer"))
    jobs = [sampler.run([circuit_of()], shots=10) for _ in range(3)]
    with pytest.raises(IBMRuntimeError, match=r"Too many submissions of account .*this server takes 3 a minute"):
        sampler.run([circuit_of()], shots=10)
    assert [shots_of(job) for job in jobs] == [10] * 3
    with signed_in(url, "bob") as client:
        assert client.get("/jobs").json()["count"] == 3


@pytest.mark.parametrize(
    ("trusted", "address"), [("", "127.0.0.1"), ("10.0.0.0/8", "127.0.0.1"), ("127.0.0.1,10.0.0.0/8", "198.51.100.7")]
)
def test_only_trusted_proxies_say_where_a_request_comes_from(
    start_server: StartServer, trusted: str, address: str
) -> None:
    server = start_server(NO_EXECUTOR, QRS_TRUSTED_PROXIES=trusted, FORWARDED_ALLOW_IPS="*", QRS_LOG_FORMAT="json")
    forwarded = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7, 10.1.2.3"}
    httpx.post(f"{server.url}/identity/token", data={"apikey": "alice"}, headers=forwarded).raise_for_status()
    server.stop()
    lines = [json.loads(line) for line in server.output if '"action"' in line]
    assert [(line["action"], line["address"]) for line in lines] == [("sign-in", address)]
