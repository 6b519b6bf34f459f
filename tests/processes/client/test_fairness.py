"""Who waits for whom: over HTTP, against a real server process."""

import pytest

from kit.server.cluster_processes import Plugins
from kit.server.http_jobs import end_of, signed_in, submission, submit, submit_named, when
from kit.server.server_process import StartServer

BACKEND = "fake_manila@counted"
MANY = 500


@pytest.mark.slow
@pytest.mark.parametrize(
    "in_batch", [pytest.param(False, id="one by one", marks=pytest.mark.thorough), pytest.param(True, id="in a batch")]
)
def test_one_job_waits_for_what_runs_and_not_for_the_500_of_another_account(
    start_server: StartServer,
    plugins: Plugins,
    in_batch: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    url = start_server("--executors=counted=1", **plugins.environment).url
    with signed_in(url, "alice") as alice, signed_in(url, "bob") as bob:
        running = submit_named(alice, "held fairness")
        when(alice, running, {"Running"})
        batch = alice.post("/sessions", json={"mode": "batch", "backend": BACKEND}).json()["id"]
        body = submission(backend=BACKEND, **({"session_id": batch} if in_batch else {}))
        hers = [alice.post("/jobs", json=body).raise_for_status().json()["id"] for _ in range(MANY)]
        his = submit(bob, backend=BACKEND)
        alice.post(f"/jobs/{running}/cancel").raise_for_status()
        assert end_of(bob, his)["status"] == "Completed"
        assert end_of(alice, hers[0])["status"] == "Completed"
        starts = [client.get(f"/jobs/{job}/metrics").json()["timestamps"]["running"] for client, job in
                  ((bob, his), *((alice, job) for job in hers[:5]))]  # fmt: skip
    assert starts[0] == min(filter(None, starts))
