"""Keys are changed while jobs run: every process accepts two of them, and no order of restarts refuses anybody."""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from itertools import count, takewhile
from pathlib import Path

import httpx
import pytest

from kit.faults.customers import Customer, Errand
from kit.faults.storm import EXECUTOR, Fleet
from kit.server.cluster_processes import KEY, SIGNING_KEY, Cluster, Plugins, wait_until
from kit.server.http_jobs import end_of, signed_in, submit_named
from kit.server.ingress import Ingress
from kit.server.postgresql_server import PostgresqlServer

CUSTOMERS = 2
BEFORE = {"QRS_SIGNING_KEY": SIGNING_KEY, "QRS_EXECUTOR_KEY": KEY}
AFTER = {"QRS_SIGNING_KEY": f"the next one: {SIGNING_KEY}", "QRS_EXECUTOR_KEY": f"the next one: {KEY}"}


def also(keys: dict[str, str]) -> dict[str, str]:
    return {f"{name}_ALSO": key for name, key in keys.items()}


def errands(share: int, over: threading.Event) -> Iterator[Errand]:
    """Yield one customer's errands until it is over; every fifth of all takes 3 s."""
    numbers = takewhile(lambda _: not over.is_set(), count(share, CUSTOMERS))
    return (Errand(number=number, seconds=3 * (number % 5 == 0)) for number in numbers)


class Caller(threading.Thread):
    """Somebody who calls again and again with the one access token that the first api gave out before the change.

    Attributes:
        answers: How often it got which status.
    """

    def __init__(self, client: httpx.Client, over: threading.Event) -> None:
        super().__init__(daemon=True)
        self.answers: Counter[int] = Counter()
        self._client = client
        self._over = over

    def run(self) -> None:
        while not self._over.wait(0.05):
            with suppress(httpx.HTTPError):
                self.answers[self._client.get("/jobs", params={"limit": "1"}).status_code] += 1


@pytest.mark.thorough
@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:The SamplerV2 class:DeprecationWarning")
def test_two_roll_outs_change_all_keys_under_load_and_nobody_is_refused(tmp_path: Path) -> None:
    with ExitStack() as stack:
        database = stack.enter_context(PostgresqlServer())
        cluster = Cluster(tmp_path, Plugins(tmp_path), stack)
        fleet = Fleet(cluster, database, stack, BEFORE)
        ingress = stack.enter_context(Ingress([api.url for api in fleet.apis]))
        over = threading.Event()
        caller = Caller(stack.enter_context(signed_in(ingress.url)), over)
        backend = f"fake_quantum_sim@{EXECUTOR}"
        customers = [
            Customer(ingress.url, f"customer-{share}", backend, errands(share, over), patience=400)
            for share in range(CUSTOMERS)
        ]
        for thread in (caller, *customers):
            thread.start()
        wait_until(lambda: bool(cluster.starts(Errand(number=1).name)), seconds=60)
        for keys in (BEFORE | also(AFTER), AFTER | also(BEFORE)):
            fleet.variables.update(keys)
            # One after the other, as two Deployments are rolled at the same time: an api, an executor, and so on.
            for members in zip(fleet.apis, fleet.executors, strict=True):
                for member in members:
                    assert member.server.stop() == 0
                    member.restart()
                    member.server.wait_until_ready()
        over.set()
        for thread in (caller, *customers):
            thread.join(200)
            assert not thread.is_alive()
        assert [problem for customer in customers for problem in customer.problems] == []
        # While an api is away, the ingress says 502 or 503, and clients ask again.
        assert caller.answers[200] > 0
        assert caller.answers.keys() <= {200, 502, 503}
        lines = [line for member in fleet.members for life in member.lives for line in life.output]
        assert [line for line in lines if re.search(r"answered 401|'401 ", line)] == []
        starts = Counter(name for _, name in cluster.all_starts())
        del starts["selftest"]
        assert starts == {errand.name: 1 for customer in customers for errand in customer.acknowledged.values()}


def test_an_executor_accepts_two_keys_and_no_third_one(cluster: Cluster) -> None:
    executor = cluster.executor(QRS_EXECUTOR_KEY="one", QRS_EXECUTOR_KEY_ALSO="two")
    answers = [
        httpx.get(f"{executor.url}/v1/load", headers={"Authorization": f"Bearer {key}"}).status_code
        for key in ("one", "two", "three", "one two")
    ]
    assert answers == [200, 200, 401, 401]
    # An api shows the first of its own.
    api = cluster.api(executor.url, QRS_EXECUTOR_KEY="two", QRS_EXECUTOR_KEY_ALSO="three")
    with signed_in(api.url) as client:
        assert end_of(client, submit_named(client, "zeros"))["status"] == "Completed"


def test_the_load_is_told_to_who_has_either_of_two_keys(cluster: Cluster) -> None:
    keys = {"QRS_LOAD_KEY": "one", "QRS_LOAD_KEY_ALSO": "two"}
    api = cluster.api("http://127.0.0.1:9", QRS_INTERNAL_PORT="0", **keys)
    answers = [
        httpx.get(f"{api.internal_url}/internal/load", headers={"Authorization": f"Bearer {key}"}).status_code
        for key in ("one", "two", "three")
    ]
    assert answers == [200, 200, 401]
