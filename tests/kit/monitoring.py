"""What the reference pages say of metrics, and what alerts and dashboards of the chart ask for in PromQL."""

import json
import re
from typing import Any, Final

from kit import ROOT
from kit.kubernetes.charts import CHART

_PAGES: Final = ("metrics", "operator-metrics")
_ROW: Final = re.compile(r"^\| `(\w+)` \| (\w+) \| ([^|]*) \|", re.MULTILINE)
# What a client of Prometheus makes of a histogram.
_HISTOGRAM: Final = {"_bucket": {"le"}, "_count": set[str](), "_sum": set[str]()}

# What Prometheus, or its operator, gives to all that it scrapes.
SCRAPED: Final = frozenset({"instance", "job", "namespace", "runtimeserver"})


def _labels() -> dict[str, set[str]]:
    """Return the labels of each series, by its name as Prometheus has it."""
    found: dict[str, set[str]] = {}
    for page in _PAGES:
        for name, kind, cell in _ROW.findall((ROOT / "docs" / "reference" / f"{page}.md").read_text()):
            labels = set(re.findall(r"`(\w+)`", cell))
            suffixes = _HISTOGRAM if kind == "histogram" else {"": set[str]()}
            found |= {name + suffix: labels | more for suffix, more in suffixes.items()}
    return found


LABELS: Final = _labels()


def metric_selectors(expression: str) -> list[tuple[str, set[str]]]:
    """Return each metric of ours that an expression asks for, with the labels that it selects by."""
    found = re.findall(r"\b(qr[so]_\w+)(?:\{([^}]*)\})?", expression)
    return [(metric, set(re.findall(r"(\w+)\s*[=!]", matchers))) for metric, matchers in found]


def grouping_labels(expression: str) -> set[str]:
    """Return the labels by which an expression aggregates or matches series."""
    groups = re.findall(r"\b(?:by|on) \(([^)]*)\)", expression)
    return {name.strip() for group in groups for name in group.split(",")}


def dashboards() -> dict[str, dict[str, Any]]:
    """Return the Grafana dashboards of the chart, by the names of their files without a suffix."""
    return {path.stem: json.loads(path.read_text()) for path in sorted((CHART / "dashboards").glob("*.json"))}


def queries(dashboard: dict[str, Any]) -> dict[str, str]:
    """Return the expressions of a dashboard by panel and reference, with Grafana's variables in them."""
    return {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in dashboard["panels"]
        for target in panel["targets"]
    }
