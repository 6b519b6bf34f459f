"""A roll-out of every process under load, as a cluster does it: one after the other, each asked to stop."""

from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import count, takewhile
from pathlib import Path
from threading import Event

import pytest

from kit.faults.customers import Customer, Errand
from kit.faults.storm import EXECUTOR, Fleet
from kit.server.cluster_processes import Cluster, Plugins, wait_until
from kit.server.ingress import Ingress
from kit.server.postgresql_server import PostgresqlServer

CUSTOMERS = 4


def errands(share: int, over: Event) -> Iterator[Errand]:
    """Yield one customer's errands until it is over; every tenth of all takes 3 s."""
    numbers = takewhile(lambda _: not over.is_set(), count(share, CUSTOMERS))
    return (Errand(number=number, seconds=3 * (number % 10 == 0)) for number in numbers)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:The SamplerV2 class:DeprecationWarning")
def test_a_roll_out_under_load_fails_no_job_and_starts_none_twice(tmp_path: Path) -> None:
    with ExitStack() as stack:
        database = stack.enter_context(PostgresqlServer())
        cluster = Cluster(tmp_path, Plugins(tmp_path), stack)
        fleet = Fleet(cluster, database, stack)
        ingress = stack.enter_context(Ingress([api.url for api in fleet.apis]))
        over = Event()
        backend = f"fake_quantum_sim@{EXECUTOR}"
        customers = [
            Customer(ingress.url, f"customer-{share}", backend, errands(share, over), patience=400)
            for share in range(CUSTOMERS)
        ]
        for customer in customers:
            customer.start()
        wait_until(lambda: bool(cluster.starts(Errand(number=1).name)), seconds=60)
        for member in (*fleet.apis, *fleet.executors):
            assert member.server.stop() == 0
            member.restart()
            member.server.wait_until_ready()
        over.set()
        for customer in customers:
            customer.join(200)
            assert not customer.is_alive()
            assert customer.problems == []
        starts = Counter(name for _, name in cluster.all_starts())
        del starts["selftest"]
        assert starts == {errand.name: 1 for customer in customers for errand in customer.acknowledged.values()}
