"""A roll-out of every process under load, as a cluster does it: one after the other, each asked to stop."""

from collections import Counter
from contextlib import ExitStack
from pathlib import Path

import pytest
from cluster_processes import Cluster, Plugins, wait_until
from customers import Customer, Errand
from ingress import Ingress
from postgresql_server import PostgresqlServer
from storm import EXECUTOR, Fleet


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The SamplerV2 class:DeprecationWarning")
def test_a_roll_out_under_load_fails_no_job_and_starts_none_twice(tmp_path: Path) -> None:
    with ExitStack() as stack:
        database = stack.enter_context(PostgresqlServer())
        cluster = Cluster(tmp_path, Plugins(tmp_path), stack)
        fleet = Fleet(cluster, database, stack)
        ingress = stack.enter_context(Ingress([api.url for api in fleet.apis]))
        errands = [Errand(number=number, seconds=3 * (number % 10 == 0)) for number in range(120)]
        customers = [
            Customer(ingress.url, f"customer-{share}", f"fake_quantum_sim@{EXECUTOR}", errands[share::4], patience=200)
            for share in range(4)
        ]
        for customer in customers:
            customer.start()
        wait_until(lambda: bool(cluster.starts(errands[0].name)), seconds=60)
        for member in (*fleet.apis, *fleet.executors):
            assert member.server.stop() == 0
            member.restart()
            member.server.wait_until_ready()
        assert any(customer.is_alive() for customer in customers), "the roll-out was under load to its end"
        for customer in customers:
            customer.join(200)
            assert not customer.is_alive()
            assert customer.problems == []
            assert len(customer.acknowledged) == 30
        starts = Counter(name for _, name in cluster.all_starts())
        del starts["selftest"]
        assert starts == {errand.name: 1 for errand in errands}
