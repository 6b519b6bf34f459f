"""The alarms of the page about monitoring name metrics and labels that there are, and each of them can go off."""

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/how-to/monitor.md").read_text()
METRICS = (ROOT / "docs/reference/metrics.md").read_text()
RULES = next(block for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL) if block.startswith("groups:"))
ALERTS: list[dict[str, Any]] = yaml.safe_load(RULES)["groups"][0]["rules"]

# Labels that Prometheus itself gives to what it scrapes.
SCRAPED = {"instance", "job"}

# For each alarm, series that must set it off; values every minute.
SERIES = {
    "JobsWaitLong": {'qrs_job_oldest_waiting_seconds{executor="aer"}': "700+60x30"},
    "DatabaseAway": {'qrs_store_up{instance="a"}': "0x30"},
    "WorkersDie": {'qrs_executor_worker_deaths_total{instance="e"}': "0 0 0 1x27"},
    "ReplicasStall": {'qrs_takeovers_total{executor="aer", how="followed", instance="a"}': "0 0 0 2x27"},
    "LargeJobsRefused": {
        'qrs_http_requests_total{method="POST", route="/jobs", status="503", instance="a"}': "0+5x30",
        'qrs_held_bytes{instance="a"}': "500000000x30",
    },
    "RunsOrphaned": {'qrs_executor_runs{state="orphaned", instance="e"}': "1x30"},
}


def labels_of(metric: str) -> set[str]:
    row = re.search(rf"^\| `{metric}` \| \w+ \| ([^|]*) \|", METRICS, re.MULTILINE)
    assert row is not None, metric
    return set(re.findall(r"`(\w+)`", row[1]))


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert["alert"])
def test_an_alarm_names_metrics_and_labels_that_there_are(alert: dict[str, Any]) -> None:
    found = re.findall(r"(qrs_\w+)(?:\{([^}]*)\})?", alert["expr"])
    assert found
    known = set[str]().union(*(labels_of(metric) for metric, _ in found)) | SCRAPED
    for metric, matchers in found:
        assert set(re.findall(r"(\w+)=", matchers)) <= labels_of(metric)
    grouped = re.findall(r"(?:by|on) \(([^)]*)\)", alert["expr"])
    assert {name.strip() for group in grouped for name in group.split(",")} <= known


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_each_alarm_goes_off(tmp_path: Path) -> None:
    assert set(SERIES) == {alert["alert"] for alert in ALERTS}
    (tmp_path / "rules.yaml").write_text(RULES)
    cases = [
        {
            "interval": "1m",
            "input_series": [{"series": series, "values": values} for series, values in given.items()],
            # How many alerts of the name go off; their labels differ with the expression.
            "promql_expr_test": [
                {
                    "expr": f'count(ALERTS{{alertname="{name}", alertstate="firing"}})',
                    "eval_time": "12m",
                    "exp_samples": [{"labels": "{}", "value": 1}],
                }
            ],
        }
        for name, given in SERIES.items()
    ]
    (tmp_path / "tests.yaml").write_text(
        yaml.safe_dump({"rule_files": ["rules.yaml"], "evaluation_interval": "1m", "tests": cases})
    )
    done = subprocess.run(
        ["promtool", "test", "rules", "tests.yaml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
