"""Who waits for whom: over HTTP, against a real server process."""

import pytest

from kit.server.http_jobs import end_of, long_circuit, signed_in, submission, submit, when
from kit.server.server_process import StartServer

MANY = 500


@pytest.mark.slow
@pytest.mark.parametrize(
    "in_batch", [pytest.param(False, id="one by one", marks=pytest.mark.thorough), pytest.param(True, id="in a batch")]
)
def test_one_job_waits_for_what_runs_and_not_for_the_500_of_another_account(
    start_server: StartServer,
    in_batch: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    url = start_server("--executors=aer=1").url
    with signed_in(url, "alice") as alice, signed_in(url, "bob") as bob:
        running = submit(alice, long_circuit(), backend="fake_quantum_sim@aer")
        when(alice, running, {"Running"})
        batch = alice.post("/sessions", json={"mode": "batch", "backend": "fake_manila@aer"}).json()["id"]
        body = submission(session_id=batch) if in_batch else submission()
        hers = [alice.post("/jobs", json=body).raise_for_status().json()["id"] for _ in range(MANY)]
        his = submit(bob)
        alice.post(f"/jobs/{running}/cancel").raise_for_status()
        assert end_of(bob, his)["status"] == "Completed"
        assert end_of(alice, hers[0])["status"] == "Completed"
        starts = [client.get(f"/jobs/{job}/metrics").json()["timestamps"]["running"] for client, job in
                  ((bob, his), *((alice, job) for job in hers[:5]))]  # fmt: skip
    assert starts[0] == min(filter(None, starts))
