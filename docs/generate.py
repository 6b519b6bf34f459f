"""Writes the reference pages that are made from the code: the server's and the operator's, and the chart's README.

A test compares them with what is here.
"""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

from operator_pages import chart_page, permissions_page, resource_page
from option_pages import options_page
from prometheus_client import CollectorRegistry
from pydantic_core import PydanticUndefined
from pydantic_settings import BaseSettings
from rest_pages import rest_page
from support_pages import support_page

from qiskit_runtime_operator.metrics import LeaderMetrics, ScalingMetrics, WatchMetrics, WorkMetrics, WriteMetrics
from qiskit_runtime_operator.settings import Settings as OperatorSettings
from qiskit_runtime_server import Settings
from qiskit_runtime_server.api.metrics import HttpMetrics, QueueGauges
from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.quantities import spelled
from qiskit_runtime_server.worker.metrics import ExecutorMetrics

REFERENCE = Path(__file__).parent / "reference"


def settings_page() -> str:
    """Return the page on the server's settings."""
    lines = [
        "# Settings",
        "",
        "Made from the code by `make docs`. A variable that begins with `QRS_` and is not in this table keeps the",
        "server from starting. An option of the command line has the name of its variable, as `--data-dir` is",
        "`QRS_DATA_DIR`, and wins over it.",
        "",
        "- Sizes: `512Mi` or `50Gi` in powers of 1024, `500M` or `20G` in powers of 1000; a plain number is bytes.",
        "- Durations: `90s`, `2h`, `1h30m`, `30d`, or ISO 8601 as in `PT1M30S`; a plain number is seconds.",
        "",
        *_settings_table(Settings),
    ]
    return "\n".join(lines) + "\n"


def operator_settings_page() -> str:
    """Return the page on the operator's settings."""
    lines = [
        "# Settings of the operator",
        "",
        "Made from the code by `make docs`. The chart sets those that its values speak of. A variable that begins with",
        "`QRO_` and is not in this table keeps the operator from starting. Durations are written as `90s`, `2h` or",
        "`1h30m`; a plain number is seconds.",
        "",
        *_settings_table(OperatorSettings),
    ]
    return "\n".join(lines) + "\n"


def _settings_table(settings: type[BaseSettings]) -> Iterator[str]:
    yield "| variable | default | meaning |"
    yield "|---|---|---|"
    prefix = settings.model_config["env_prefix"]
    # Fields of the class that others are made from come first there, and last here.
    own = settings.__annotations__
    for name, field in sorted(settings.model_fields.items(), key=lambda item: item[0] not in own):
        default = "required" if field.is_required() else _default(name, field.default)
        meaning = " ".join((field.description or "").split())
        yield f"| `{prefix}{name.upper()}` | {default} | {meaning} |"


def _default(name: str, value: object) -> str:
    if value in (None, (), PydanticUndefined):
        return ""
    if isinstance(value, timedelta):
        return f"`{spelled(value)}`"
    if name == "max_seconds" and isinstance(value, int):
        return f"`{spelled(timedelta(seconds=value))}`"
    if name.endswith("_bytes") and isinstance(value, int):
        return f"`{value >> 20}Mi`"
    if isinstance(value, tuple):
        return f"`{' '.join(value)}`"
    return f"`{str(value).replace(str(Path.home()), '~')}`"


def metrics_page() -> str:
    """Return the page on the metrics."""
    api, executor = CollectorRegistry(), CollectorRegistry()
    of_api = (JobMetrics(api), QueueGauges(api), HttpMetrics(api))
    of_executor = (ExecutorMetrics(executor),)
    lines = [
        "# Metrics",
        "",
        "Made from the code by `make docs`. What `GET /metrics` on the internal port (`QRS_INTERNAL_PORT`) tells",
        "Prometheus; [how to use it](../how-to/monitor.md). Every role also has `qrs_build_info`, `process_*` and",
        "`python_gc_*`.",
        "",
        *_metrics_table("`serve` and `api`", of_api),
        *_metrics_table("`executor`", of_executor),
    ]
    return "\n".join(lines).rstrip() + "\n"


def operator_metrics_page() -> str:
    """Return the page on the operator's metrics."""
    registry = CollectorRegistry()
    measures = (
        WriteMetrics(registry),
        WorkMetrics(registry),
        ScalingMetrics(registry),
        LeaderMetrics(registry, lambda: False),
        WatchMetrics(registry, tuple, dict),
    )
    lines = [
        "# Metrics of the operator",
        "",
        "Made from the code by `make docs`. What each operator says on port 9090.",
        "",
        "| metric | type | labels | meaning |",
        "|---|---|---|---|",
        *_metric_rows(measures),
    ]
    return "\n".join(lines) + "\n"


def _metrics_table(role: str, measures: Sequence[object]) -> Iterator[str]:
    yield f"## {role}"
    yield ""
    yield "| metric | type | labels | meaning |"
    yield "|---|---|---|---|"
    yield from _metric_rows(measures)
    yield ""


def _metric_rows(measures: Sequence[object]) -> Iterator[str]:
    parts = [part for of_one in measures for part in (of_one, *vars(of_one).values()) if hasattr(part, "describe")]
    described = [(part, family) for part in parts for family in part.describe()]
    for metric, family in described:
        name = family.name + "_total" * (family.type == "counter")
        # The library has no public way to ask for these.
        labels = ", ".join(f"`{label}`" for label in getattr(metric, "_labelnames", getattr(family, "_labelnames", ())))
        yield f"| `{name}` | {family.type} | {labels} | {family.documentation} |"


# By their paths in docs/reference.
PAGES = {
    "rest.md": rest_page,
    "settings.md": settings_page,
    "metrics.md": metrics_page,
    "options.md": options_page,
    "operator.md": resource_page,
    "operator-settings.md": operator_settings_page,
    "operator-metrics.md": operator_metrics_page,
    "permissions.md": permissions_page,
    "support.md": support_page,
    "../../charts/qiskit-runtime-operator/README.md": chart_page,
}


def main() -> None:
    """Write all pages."""
    for name, page in PAGES.items():
        (REFERENCE / name).write_text(page())


if __name__ == "__main__":
    main()
