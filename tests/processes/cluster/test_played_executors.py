"""An api before many small executor endpoints: all of their slots are used, and each job ends once."""

from kit.server.cluster_processes import Cluster, wait_until
from kit.server.http_jobs import end_of, signed_in, submit
from kit.server.played_executors import played_executors


def test_two_apis_use_every_slot_of_many_endpoints(cluster: Cluster, shared_store: dict[str, str]) -> None:
    with played_executors(12, slots=2, seconds=120) as endpoints:
        apis = [cluster.api(*endpoints.urls, name="played", **shared_store) for _ in range(2)]
        with signed_in(apis[0].url) as first, signed_in(apis[1].url) as second:
            jobs = [submit(client, backend="fake_manila@played") for client in (first, second) for _ in range(18)]
            wait_until(lambda: endpoints.tally()["running"] == 24)
            endpoints.let_go()
            assert {end_of(first, job)["status"] for job in jobs} == {"Completed"}
        tally = endpoints.tally()
        assert tally["most"] == 24
        assert tally["completed"] == len(jobs)
