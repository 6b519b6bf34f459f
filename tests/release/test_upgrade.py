"""From the release before this one, built from git, to this one, while clients send jobs."""

import os
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack, closing
from functools import partial
from itertools import count, takewhile
from pathlib import Path
from threading import Event

import pytest
import yaml

from kit.faults.customers import Customer, Errand
from kit.faults.storm import EXECUTOR, Fleet
from kit.kubernetes.binaries import KubernetesBinaries
from kit.kubernetes.charts import CHART, run_helm
from kit.kubernetes.client import KubernetesClient
from kit.kubernetes.control_plane import running_control_plane
from kit.released import REGISTRY, VERSION
from kit.server.cluster_processes import Cluster, Plugins, wait_until
from kit.server.ingress import Ingress
from kit.server.postgresql_server import PostgresqlServer

CUSTOMERS = 4


def path_of(older: Path, plugins: Plugins) -> str:
    """Return the PYTHONPATH with which a process runs the older server, and the older executors of the tests."""
    distribution = plugins.environment["PYTHONPATH"].split(os.pathsep)[0]
    return os.pathsep.join([distribution, str(older / "tests"), str(older / "server")])


def more_starts(cluster: Cluster, number: int) -> bool:
    return len(cluster.all_starts()) > number


@pytest.mark.thorough
@pytest.mark.timeout(600)
@pytest.mark.filterwarnings("ignore:The SamplerV2 class:DeprecationWarning")
@pytest.mark.parametrize("first", ["apis", "executors"])
def test_an_upgrade_under_load_loses_no_job_and_starts_none_twice(tmp_path: Path, older: Path, first: str) -> None:
    plugins = Plugins(tmp_path)
    variables = {"PYTHONPATH": path_of(older, plugins)}
    which = [sys.executable, "-c", "import qiskit_runtime_server; print(qiskit_runtime_server.__file__)"]
    found = subprocess.run(which, env=os.environ | variables, capture_output=True, text=True, check=True)
    assert Path(found.stdout.strip()).is_relative_to(older)
    with ExitStack() as stack:
        database = stack.enter_context(PostgresqlServer())
        cluster = Cluster(tmp_path, plugins, stack)
        fleet = Fleet(cluster, database, stack, variables)
        ingress = stack.enter_context(Ingress([api.url for api in fleet.apis]))
        over = Event()
        customers = [
            Customer(
                ingress.url,
                f"customer-{share}",
                f"fake_quantum_sim@{EXECUTOR}",
                (
                    Errand(number=number, seconds=3 * (number % 10 == 0))
                    for number in takewhile(lambda _: not over.is_set(), count(share, CUSTOMERS))
                ),
                patience=400,
            )
            for share in range(CUSTOMERS)
        ]
        for customer in customers:
            customer.start()
        wait_until(lambda: bool(cluster.starts(Errand(number=1).name)), seconds=60)
        old = {executor.server.process.pid for executor in fleet.executors}
        fleet.variables.clear()
        halves = [fleet.apis, fleet.executors]
        for members in halves if first == "apis" else reversed(halves):
            for member in members:
                assert member.server.stop() == 0
                member.restart()
                member.server.wait_until_ready()
            # Both releases at once, with jobs that neither has seen before.
            before = len(cluster.all_starts())
            wait_until(partial(more_starts, cluster, before + CUSTOMERS), seconds=60)
        over.set()
        for customer in customers:
            customer.join(200)
            assert not customer.is_alive()
            assert customer.problems == []
        starts = cluster.all_starts()
        ran = {executor in old for executor, name in starts if name != "selftest"}
        assert ran == {True, False}, "jobs ran on both releases"
        counted = Counter(name for _, name in starts)
        del counted["selftest"]
        assert counted == {errand.name: 1 for customer in customers for errand in customer.acknowledged.values()}


@pytest.mark.slow
def test_the_chart_of_the_release_before_is_upgraded(
    made: Path, older: Path, helm: Path, kubernetes_binaries: KubernetesBinaries
) -> None:
    where = ("--namespace=releases", "--create-namespace")
    # A cluster of its own, which has had no newer CRD.
    with (
        running_control_plane(kubernetes_binaries.release) as kubeconfig,
        closing(KubernetesClient(kubeconfig, namespace="releases")) as kubernetes,
    ):
        installed = run_helm(helm, "install", "upgraded", older / "charts" / CHART.name, *where, kubeconfig=kubeconfig)
        assert installed.returncode == 0, installed.stderr
        kubernetes.apply(yaml.safe_load((made / "crds.yaml").read_text()), force=True)
        # Hooks are pods, which nobody runs here; tests/chart has those of an upgrade.
        how = ("upgrade", "upgraded", made / f"{CHART.name}-{VERSION}.tgz", "--no-hooks", where[0])
        upgraded = run_helm(helm, *how, kubeconfig=kubeconfig)
        assert upgraded.returncode == 0, upgraded.stderr
        (deployment,) = kubernetes.list("Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"{REGISTRY}/{CHART.name}:{VERSION}"
