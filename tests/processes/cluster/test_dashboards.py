"""Every query of the dashboards has data, once a real Prometheus has scraped an api, an executor and an operator."""

import math
import re
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from prometheus_client import CollectorRegistry, start_http_server

from kit.monitoring import dashboards, queries
from kit.server.cluster_processes import Cluster, wait_until
from kit.server.http_jobs import end_of, signed_in, submit_named, when
from qiskit_runtime_operator.metrics import LeaderMetrics, ScalingMetrics, WatchMetrics, WorkMetrics, WriteMetrics
from qiskit_runtime_operator.resource.kinds import SERVERS

DASHBOARDS = dashboards()
CHOSEN = {
    "namespace": "lab",
    "runtimeserver": "bell",
    "executor": "counted",
    "job": "operator",
    "__rate_interval": "1m",
    "__range": "1h",
}
SERVER = {"namespace": "lab", "runtimeserver": "bell"}


class Prometheus:
    """A running Prometheus that scrapes each second."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=f"{url}/api/v1", timeout=60)

    def close(self) -> None:
        self._client.close()

    def ready(self) -> bool:
        """Tell whether it has scraped all its targets."""
        try:
            answer = self._client.get("/targets")
        except httpx.TransportError:
            return False
        if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
            return False  # it is starting
        targets = answer.raise_for_status().json()["data"]["activeTargets"]
        return bool(targets) and all(target["health"] == "up" for target in targets)

    def values(self, query: str) -> list[float]:
        """Return the present value of each series that is a number; fail if the query is not valid."""
        answer = self._client.get("/query", params={"query": query}).json()
        assert answer["status"] == "success", answer
        numbers = [float(each["value"][1]) for each in answer["data"]["result"]]
        return [number for number in numbers if math.isfinite(number)]

    def label_values(self, label: str, selector: str) -> list[str]:
        answer = self._client.get(f"/label/{label}/values", params={"match[]": selector}).json()
        assert answer["status"] == "success", answer
        return list(answer["data"])


def chosen(text: str) -> str:
    return re.sub(r"\$(\w+)", lambda found: CHOSEN[found[1]], text)


@contextmanager
def running_prometheus(program: str, port: int, folder: Path, jobs: list[dict[str, Any]]) -> Iterator[Prometheus]:
    """Run a Prometheus at a port with these `scrape_configs`, until it is not needed any more."""
    scraping = {"global": {"scrape_interval": "1s", "scrape_timeout": "1s"}, "scrape_configs": jobs}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(scraping))
    command = [
        program,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'series'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with (folder / "prometheus.log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        with closing(Prometheus(f"http://127.0.0.1:{port}")) as prometheus:
            wait_until(prometheus.ready)
            yield prometheus
    finally:
        process.kill()
        process.wait()


@contextmanager
def operator_metrics() -> Iterator[tuple[int, Callable[[], None]]]:
    """Serve the metrics of an operator that leads and has done a little; yields the port, and what does more."""
    registry = CollectorRegistry()
    writes, work, scaling = WriteMetrics(registry), WorkMetrics(registry), ScalingMetrics(registry)
    LeaderMetrics(registry, lambda: True)
    WatchMetrics(registry, lambda: [("/api/v1/pods", 3.0), ("/api/v1/services", 4.0)], lambda: {"/api/v1/pods": "no"})
    writes.written(SERVERS, "status")
    work.errors.labels("StaleError")
    scaling.decided("lab", "bell", "counted", 2, "Queue")
    phases = {phase: timedelta(seconds=1) for phase in ("decide", "schedule", "pull", "start")}

    def go_on() -> None:
        work.reconciles.observe(0.02)
        scaling.started(timedelta(seconds=5), phases)

    go_on()
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        yield server.server_port, go_on
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def static(name: str, port: int, labels: dict[str, str], *, honor_labels: bool = False) -> dict[str, Any]:
    return {
        "job_name": name,
        "honor_labels": honor_labels,
        "static_configs": [{"targets": [f"127.0.0.1:{port}"], "labels": labels}],
    }


@pytest.fixture
def prometheus_program() -> str:
    program = shutil.which("prometheus")
    if program is None:
        pytest.skip("prometheus is not installed (Debian: prometheus)")
    return program


def test_each_query_and_each_variable_has_data(
    cluster: Cluster, prometheus_program: str, reserved_port: int, tmp_path: Path
) -> None:
    executor = cluster.executor(QRS_INTERNAL_PORT="0")
    api = cluster.api(executor.url, QRS_INTERNAL_PORT="0")
    ports = [int(server.internal_url.rpartition(":")[2]) for server in (api, executor)]
    with operator_metrics() as (port, go_on):
        jobs = [static(name, port, SERVER) for name, port in zip(("api", "executor"), ports, strict=True)]
        jobs.append(static("operator", port, {"namespace": "qiskit-system"}, honor_labels=True))
        with (
            running_prometheus(prometheus_program, reserved_port, tmp_path, jobs) as prometheus,
            signed_in(api.url) as client,
        ):
            for name in ("flip", "stumble", "die"):
                end_of(client, submit_named(client, name))
            assert client.get("/jobs/there-is-none").status_code == 404
            go_on()
            running = submit_named(client, "nap 60")
            when(client, running, {"Running"})
            # Rates need two values that are a scrape apart.
            time.sleep(1.5)
            client.get("/jobs/there-is-none")
            go_on()
            asked = {
                f"{name}: {panel}": chosen(expression)
                for name, dashboard in DASHBOARDS.items()
                for panel, expression in queries(dashboard).items()
            }
            deadline = time.monotonic() + 30
            while empty := {panel: query for panel, query in asked.items() if not prometheus.values(query)}:
                assert time.monotonic() < deadline, empty
                time.sleep(0.5)
            for dashboard in DASHBOARDS.values():
                for variable in dashboard["templating"]["list"][1:]:
                    ((selector, label),) = re.findall(r"^label_values\((.*), (\w+)\)$", variable["definition"])
                    assert CHOSEN[variable["name"]] in prometheus.label_values(label, chosen(selector))
            client.post(f"/jobs/{running}/cancel").raise_for_status()
