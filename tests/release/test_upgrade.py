"""From the release before this one, built from git, to this one: in a cluster, and while clients send jobs."""

import os
import subprocess
import sys
from collections import Counter
from contextlib import ExitStack
from functools import partial
from itertools import count, takewhile
from pathlib import Path
from threading import Event

import pytest
import yaml

from kit.faults.customers import Customer, Errand
from kit.faults.storm import EXECUTOR, Fleet
from kit.kubernetes.charts import CHART, KUBE_VERSION, run_helm
from kit.kubernetes.client import KubernetesClient, eventually
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
    made: Path, older: Path, helm: Path, kubernetes: KubernetesClient
) -> None:
    # Nothing newer was here before it.
    definition = yaml.safe_load((made / "crds.yaml").read_text())
    if kubernetes.find(definition["kind"], name := definition["metadata"]["name"]):
        kubernetes.delete(definition["kind"], name)
        eventually(lambda: not kubernetes.find(definition["kind"], name))
    cluster = {"kubeconfig": kubernetes.kubeconfig}
    where = f"--namespace={kubernetes.namespace}"
    installed = run_helm(helm, "install", "upgraded", older / "charts" / CHART.name, where, **cluster)
    assert installed.returncode == 0, installed.stderr
    try:
        kubernetes.apply(definition, force=True)
        # Hooks are pods, which nobody runs here; tests/chart has those of an upgrade.
        how = ("upgrade", "upgraded", made / f"{CHART.name}-{VERSION}.tgz", "--no-hooks", where)
        upgraded = run_helm(helm, *how, **cluster)
        assert upgraded.returncode == 0, upgraded.stderr
        (deployment,) = kubernetes.list("Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        assert container["image"] == f"{REGISTRY}/{CHART.name}:{VERSION}"
    finally:
        run_helm(helm, "uninstall", "upgraded", "--no-hooks", where, **cluster)


@pytest.mark.slow
def test_the_packaged_chart_installs(made: Path, helm: Path, kubernetes: KubernetesClient) -> None:
    chart = made / f"{CHART.name}-{VERSION}.tgz"
    rendered = run_helm(helm, "template", "rel", chart, KUBE_VERSION)
    assert rendered.returncode == 0, rendered.stderr
    assert f"image: {REGISTRY}/{CHART.name}:{VERSION}" in rendered.stdout
    cluster = {"kubeconfig": kubernetes.kubeconfig}
    where = f"--namespace={kubernetes.namespace}"
    tried = run_helm(helm, "install", "rel", chart, "--dry-run=server", where, **cluster)
    assert tried.returncode == 0, tried.stderr
    assert kubernetes.list("Deployment") == []
    installed = run_helm(helm, "install", "rel", chart, where, **cluster)
    assert installed.returncode == 0, installed.stderr
    try:
        (deployment,) = kubernetes.list("Deployment")
        variables = deployment["spec"]["template"]["spec"]["containers"][0]["env"]
        images = {item["value"] for item in variables if item["name"].endswith("_IMAGE")}
        names = ("api", "executor", "executor-gpu")
        assert images == {f"{REGISTRY}/qiskit-runtime-server-{name}:{VERSION}" for name in names}
    finally:
        run_helm(helm, "uninstall", "rel", where, **cluster)
