"""The alerts of the chart name metrics and labels that there are; each goes off when it should, and has a runbook."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry, generate_latest

from kit.monitoring import LABELS, SCRAPED, dashboards, grouping_labels, metric_selectors, queries
from qiskit_runtime_operator.metrics import ScalingMetrics, WorkMetrics, WriteMetrics
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.worker.metrics import ExecutorMetrics

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "charts/qiskit-runtime-operator/alerts"
RULES = {name: (FOLDER / f"{name}.yaml").read_text() for name in ("server", "operator")}
ALERTS: list[dict[str, Any]] = [
    rule for text in RULES.values() for group in yaml.safe_load(text)["groups"] for rule in group["rules"]
]
NAMES = [alert["alert"] for alert in ALERTS]
RUNBOOK = (ROOT / "docs/how-to/runbook.md").read_text()
MONITOR = (ROOT / "docs/how-to/monitor.md").read_text()

# For each alert, series that must set it off, and similar ones that must not; values every minute.
LOUD: dict[str, dict[str, str]] = {
    "JobsWaitLong": {'qrs_job_oldest_waiting_seconds{executor="aer"}': "700+60x30"},
    "DatabaseAway": {'qrs_store_up{instance="a"}': "0x30"},
    "WorkersDie": {'qrs_executor_worker_deaths_total{instance="e"}': "0 0 0 1x27"},
    "ReplicasStall": {'qrs_takeovers_total{executor="aer", how="followed", instance="a"}': "0 0 0 2x27"},
    "LargeJobsRefused": {
        'qrs_http_requests_total{method="POST", route="/jobs", status="503", instance="a"}': "0+5x30",
        'qrs_held_bytes{instance="a"}': "500000000x30",
    },
    "RunsOrphaned": {'qrs_executor_runs{state="orphaned", instance="e"}': "1x30"},
    "OperatorDoesNotLead": {'qro_leader{instance="a"}': "0x30", 'qro_leader{instance="b"}': "0x30"},
    "OperatorsContend": {'qro_leader{instance="a"}': "1x30", 'qro_leader{instance="b"}': "1x30"},
    "OperatorWatchRefused": {'qro_watch_refused{path="/api/v1/pods", instance="a"}': "1x30"},
    "OperatorWritesRefused": {'qro_reconcile_errors_total{error="RefusedError", instance="a"}': "0 0 0 1x27"},
    "ObjectsContested": {'qro_objects_written_total{kind="Service", how="apply", instance="a"}': "0+1x90"},
    "OperatorPassesFail": {'qro_reconcile_errors_total{error="ClusterError", instance="a"}': "0+1x30"},
    "OperatorBehind": {'qro_queue_depth{instance="a"}': "3x30"},
    "ColdStartsSlow": {
        'qro_cold_start_seconds_bucket{le="120", instance="a"}': "0x30",
        'qro_cold_start_seconds_bucket{le="300", instance="a"}': "0 0 0 1x27",
        'qro_cold_start_seconds_bucket{le="+Inf", instance="a"}': "0 0 0 1x27",
    },
}
QUIET: dict[str, dict[str, str]] = {
    # They wait long, but not for as long as the alert asks for.
    "JobsWaitLong": {'qrs_job_oldest_waiting_seconds{executor="aer"}': "0+60x9 700 700 700 0x30"},
    "DatabaseAway": {'qrs_store_up{instance="a"}': "1x11 0 1x20"},
    # Deaths of long ago, counted since the executor started.
    "WorkersDie": {'qrs_executor_worker_deaths_total{instance="e"}': "7x30"},
    "ReplicasStall": {'qrs_takeovers_total{executor="aer", how="followed", instance="a"}': "4x30"},
    # Refused for another reason, and memory full without anybody being refused.
    "LargeJobsRefused": {
        'qrs_http_requests_total{method="POST", route="/jobs", status="503", instance="a"}': "0+5x30",
        'qrs_held_bytes{instance="a"}': "1000x30",
        'qrs_held_bytes{instance="b"}': "500000000x30",
    },
    "RunsOrphaned": {
        'qrs_executor_runs{state="active", instance="e"}': "3x30",
        'qrs_executor_runs{state="orphaned", instance="e"}': "0x30",
    },
    # One leads, the other waits.
    "OperatorDoesNotLead": {'qro_leader{instance="a"}': "1x30", 'qro_leader{instance="b"}': "0x30"},
    # As one replaces the other.
    "OperatorsContend": {'qro_leader{instance="a"}': "1x12 0x20", 'qro_leader{instance="b"}': "0x11 1x20"},
    "OperatorWatchRefused": {'qro_watch_refused{path="/api/v1/pods", instance="a"}': "0x9 1 1 1 0x20"},
    "OperatorWritesRefused": {'qro_reconcile_errors_total{error="RefusedError", instance="a"}': "2x30"},
    # A roll-out of many objects, and states of jobs, which are written to pods all the time.
    "ObjectsContested": {
        'qro_objects_written_total{kind="Service", how="apply", instance="a"}': "0+50x12 650x80",
        'qro_objects_written_total{kind="Pod", how="apply", instance="a"}': "0+50x90",
    },
    "OperatorPassesFail": {'qro_reconcile_errors_total{error="StaleError", instance="a"}': "0+0.2x30"},
    "OperatorBehind": {'qro_queue_depth{instance="a"}': "3x8 0 9x20"},
    "ColdStartsSlow": {
        'qro_cold_start_seconds_bucket{le="60", instance="a"}': "0 0 0 9x27",
        'qro_cold_start_seconds_bucket{le="120", instance="a"}': "0 0 0 10x27",
        'qro_cold_start_seconds_bucket{le="300", instance="a"}': "0 0 0 10x27",
        'qro_cold_start_seconds_bucket{le="+Inf", instance="a"}': "0 0 0 10x27",
    },
}
# When it is looked at, where it is not after twelve minutes.
MINUTES = {"ObjectsContested": 60}


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_an_alert_names_metrics_and_labels_that_there_are(alert: dict[str, Any]) -> None:
    found = metric_selectors(alert["expr"])
    assert found
    known = set[str]().union(*(LABELS[metric] for metric, _ in found)) | SCRAPED
    for metric, labels in found:
        assert labels <= LABELS[metric]
    assert grouping_labels(alert["expr"]) <= known


@pytest.mark.parametrize("alert", ALERTS, ids=NAMES)
def test_an_alert_says_what_is_wrong_and_where_that_is_explained(alert: dict[str, Any]) -> None:
    name, annotations = alert["alert"], alert["annotations"]
    assert alert["labels"]["severity"] in {"critical", "warning"}
    assert annotations["summary"].endswith(".")
    assert annotations["runbook_url"] == f"runbook.md#{name.lower()}"
    section = RUNBOOK.partition(f"## {name}\n")[2].partition("\n## ")[0]
    assert re.findall(r"^\*\*(.*?)\.\*\*", section, re.MULTILINE) == ["Means", "Look at", "Do"]


def test_pages_tell_of_each_alert_and_of_no_other() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == RULES.keys()
    assert re.findall(r"^## (\w+)$", RUNBOOK, re.MULTILINE) == NAMES
    assert re.findall(r"^\| \[(\w+)\]", MONITOR, re.MULTILINE) == NAMES


def test_what_alerts_and_dashboards_want_to_see_increase_is_there_before_its_first_event() -> None:
    """Prometheus sees no increase from nothing to 1: a counter that appears with its first event hides that.

    Those of requests have a label for each route, method and status: they begin with the first request of each.
    """
    registry = CollectorRegistry()
    JobMetrics(registry).expect([ExecutorName("aer")])
    for kind in (ExecutorMetrics, WriteMetrics, WorkMetrics, ScalingMetrics):
        kind(registry)
    begun = generate_latest(registry).decode()
    asked = [alert["expr"] for alert in ALERTS]
    asked += [query for dashboard in dashboards().values() for query in queries(dashboard).values()]
    wanted = {name for query in asked for name in re.findall(r"(?:increase|rate)\((?!qrs_http_)(\w+)", query)}
    assert {"qrs_jobs_ended_total", "qrs_job_queue_seconds_bucket"} < wanted
    assert {name for name in wanted if not re.search(rf"^{name}(\{{.*\}})? 0\.0$", begun, re.MULTILINE)} == set()
    for error in ("RefusedError", "MissingError", "StaleError"):
        assert f'qro_reconcile_errors_total{{error="{error}"}} 0.0' in begun


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_each_alert_goes_off_when_it_should_and_then_only(tmp_path: Path) -> None:
    assert list(LOUD) == list(QUIET) == NAMES
    for name, text in RULES.items():
        (tmp_path / f"{name}.yaml").write_text(text)
    files = [f"{name}.yaml" for name in RULES]
    cases = [
        {
            "name": f"{name} {'goes off' if fires else 'is quiet'}",
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in given.items()],
            # How many alerts of the name go off; their labels differ with the expression.
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}})',
                    "eval_time": f"{MINUTES.get(name, 12)}m",
                    "exp_samples": [{"labels": "{}", "value": 1}] if fires else [],
                }
            ],
        }
        for series, fires in ((LOUD, True), (QUIET, False))
        for name, given in series.items()
    ]
    (tmp_path / "tests.yaml").write_text(
        yaml.safe_dump({"rule_files": files, "evaluation_interval": "1m", "tests": cases})
    )
    for command in (["check", "rules", *files], ["test", "rules", "tests.yaml"]):
        done = subprocess.run(["promtool", *command], cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
