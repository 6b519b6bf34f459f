"""The dashboards of the chart ask for metrics and labels that there are, and have the shape that Grafana documents.

https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/ has the shape.
"""

import re
from itertools import combinations
from typing import Any

import pytest

from kit.monitoring import LABELS, SCRAPED, dashboards, grouping_labels, metric_selectors, queries

DASHBOARDS = dashboards()
QUERIES = [
    pytest.param(expression, id=f"{name}: {panel}")
    for name, dashboard in DASHBOARDS.items()
    for panel, expression in queries(dashboard).items()
]
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}
# Variables that Grafana itself sets.
GLOBAL = {"__rate_interval", "__range"}
# What every role has beside the metrics of the reference pages, as these say.
OF_EVERY_ROLE = {"qrs_build_info": {"version"}}
COLUMNS = 24


def variables_of(dashboard: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {variable["name"]: variable for variable in dashboard["templating"]["list"]}


def test_there_are_three() -> None:
    assert list(DASHBOARDS) == ["executors", "operator", "service"]
    assert len({dashboard["uid"] for dashboard in DASHBOARDS.values()}) == 3


@pytest.mark.parametrize("expression", QUERIES)
def test_a_query_names_metrics_and_labels_that_there_are(expression: str) -> None:
    labels = {**LABELS, **OF_EVERY_ROLE}
    found = metric_selectors(expression)
    assert found
    for metric, selected in found:
        assert selected <= labels[metric] | SCRAPED, metric
    assert grouping_labels(expression) <= set[str]().union(*(labels[metric] for metric, _ in found)) | SCRAPED


@pytest.mark.parametrize("name", DASHBOARDS)
def test_legends_and_variables_name_what_there_is(name: str) -> None:
    dashboard = DASHBOARDS[name]
    variables = variables_of(dashboard)
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            used = set(re.findall(r"\$(\w+)", target["expr"]))
            assert used <= variables.keys() | GLOBAL
            # Whatever is not aggregated keeps the labels of its series.
            kept = grouping_labels(target["expr"]) if " by (" in target["expr"] else SCRAPED
            assert set(re.findall(r"{{(\w+)}}", target["legendFormat"])) <= kept
    for variable in variables.values():
        if variable["type"] == "query":
            ((asked, label),) = re.findall(r"^label_values\((.*), (\w+)\)$", variable["definition"])
            ((metric, selected),) = metric_selectors(asked)
            assert {label, *selected} <= LABELS[metric] | SCRAPED
            assert set(re.findall(r"\$(\w+)", asked)) < variables.keys()


@pytest.mark.parametrize("name", DASHBOARDS)
def test_a_dashboard_has_the_shape_that_grafana_documents(name: str) -> None:
    dashboard = DASHBOARDS[name]
    # Grafana gives the id; a uid of at most 40 characters keeps links to it.
    assert "id" not in dashboard
    assert re.fullmatch(r"[a-z-]{1,40}", dashboard["uid"])
    assert dashboard["title"].startswith("Qiskit Runtime Server: ")
    assert dashboard["schemaVersion"] >= 36
    assert {"time", "timezone", "refresh", "tags", "templating", "annotations", "links"} <= dashboard.keys()
    first, *others = dashboard["templating"]["list"]
    assert (first["name"], first["type"], first["query"]) == ("datasource", "datasource", "prometheus")
    for variable in others:
        assert variable["datasource"] == DATASOURCE
        assert variable["query"]["query"] == variable["definition"]
        # A server that is not scraped through its operator has no such label, and is in "all".
        assert (variable["includeAll"], variable["allValue"]) == (True, ".*")
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(dashboard["panels"])
    for panel in dashboard["panels"]:
        assert panel["type"] in {"stat", "timeseries"}
        assert panel["title"]
        assert panel["description"].endswith(".")
        assert panel["datasource"] == DATASOURCE
        assert panel["fieldConfig"]["defaults"]["unit"]
        references = [target["refId"] for target in panel["targets"]]
        assert references
        assert references == sorted(set(references))
        assert all(target["datasource"] == DATASOURCE for target in panel["targets"])


@pytest.mark.parametrize("name", DASHBOARDS)
def test_panels_lie_beside_each_other(name: str) -> None:
    places = [panel["gridPos"] for panel in DASHBOARDS[name]["panels"]]
    assert all(place["x"] >= 0 and place["x"] + place["w"] <= COLUMNS for place in places)
    for one, other in combinations(places, 2):
        apart_across = one["x"] + one["w"] <= other["x"] or other["x"] + other["w"] <= one["x"]
        apart_down = one["y"] + one["h"] <= other["y"] or other["y"] + other["h"] <= one["y"]
        assert apart_across or apart_down, (one, other)
