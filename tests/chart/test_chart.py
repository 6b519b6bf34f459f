"""The chart as files: what helm and its users read."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit import ROOT
from kit.kubernetes.charts import CHART, KUBE_VERSION, pod_of, rendered, run_helm, with_values
from kit.kubernetes.client import Manifest
from kit.kubernetes.runtime_servers import body
from qiskit_runtime_operator.resource.kinds import RENDERED
from qiskit_runtime_operator.resource.model import RuntimeServer
from qiskit_runtime_operator.settings import Settings

EVERYTHING = {
    "rbac": {"tokenReviewers": ["labs/lab", "class/one"]},
    "alerts": {"enabled": True},
    "dashboards": {"enabled": True},
    "monitoringNamespaces": ["monitoring", "keda"],
    "images": {"registry": "registry.test/qiskit", "pullSecrets": ["pull"]},
}
ALL_APIS = ("--api-versions=monitoring.coreos.com/v1", "--is-upgrade")


def rules(manifests: list[Manifest]) -> Iterator[Manifest]:
    for manifest in manifests:
        if manifest["kind"] in {"Role", "ClusterRole"}:
            yield from manifest["rules"]


def test_the_definition_in_the_chart_is_the_one_source() -> None:
    source = ROOT / "crds" / "runtimeservers.yaml"
    assert (CHART / "crds" / "runtimeservers.yaml").read_bytes() == source.read_bytes()


def test_helm_finds_nothing_to_complain_about(helm: Path) -> None:
    done = run_helm(helm, "lint", "--strict", CHART)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("values", "complaint"),
    [
        ({"replica": 2}, "additional properties 'replica' not allowed"),
        ({"replicas": 0}, "minimum: got 0, want 1"),
        ({"replicas": "two"}, "got string, want integer"),
        ({"namespaces": "lab"}, "got string, want array"),
        ({"namespaces": ["Lab"]}, "does not match pattern"),
        ({"monitoringNamespaces": ["Monitoring"]}, "does not match pattern"),
        ({"images": {"repository": "x"}}, "additional properties 'repository' not allowed"),
        ({"images": {"registry": "https://x/"}}, "does not match pattern"),
        ({"images": {"pullPolicy": "Sometimes"}}, "must be one of"),
        ({"logLevel": "loud"}, "must be one of"),
        ({"images": {"tag": 1.5}}, "got number, want"),
        ({"images": {"digests": {"api": "sha256:12"}}}, "does not match pattern"),
        ({"rbac": {"tokenReviewers": ["lab"]}}, "does not match pattern"),
        ({"rbac": {"tokenReviewers": ["labs/*"]}}, "does not match pattern"),
        ({"settings": {"RESYNC": "600"}}, "does not match pattern"),
        ({"settings": {"QRO_NAMESPACE": "lab"}}, "'not' failed"),
        ({"extraEnv": [{"name": "QRO_RESYNC", "value": "600"}]}, "'not' failed"),
        ({"rollouts": {"atOnce": -1}}, "minimum: got -1, want 0"),
        ({"rollouts": {"interval": "soon"}}, "does not match pattern"),
        ({"userAssignment": "Nobody"}, "must be one of"),
        ({"logFormat": "xml"}, "must be one of"),
        ({"crds": {"upgrade": "yes please"}}, "got string, want boolean"),
        ({"alerts": {"enabled": True, "labels": {"release": 1}}}, "got number, want string"),
        ({"alerts": {"runbook": "a page"}}, "does not match pattern"),
        ({"runtimeServers": [{"name": "lab"}]}, "additional properties 'runtimeServers' not allowed"),
    ],
)
def test_values_that_make_no_sense_are_refused(
    helm: Path, tmp_path: Path, values: dict[str, Any], complaint: str
) -> None:
    done = run_helm(helm, "template", CHART, KUBE_VERSION, with_values(values, tmp_path))
    assert done.returncode != 0
    assert complaint in done.stderr


def test_every_value_is_described_and_every_variable_is_a_setting(helm: Path, tmp_path: Path) -> None:
    manifests = rendered(helm, tmp_path, {**EVERYTHING, "namespaces": ["a", "b"]}, *ALL_APIS)
    (deployment,) = [manifest for manifest in manifests if manifest["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    variables = {item["name"]: item.get("value", "lab") for item in container["env"]}
    assert variables.keys() <= {f"QRO_{name.upper()}" for name in Settings.model_fields}
    settings = Settings.load(**{name.removeprefix("QRO_").lower(): value for name, value in variables.items()})
    assert settings.namespaces == ("a", "b")
    assert settings.monitoring_namespaces == ("monitoring", "keda")
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["appVersion"]
    assert settings.api_image == f"registry.test/qiskit/qiskit-runtime-server-api:{version}"
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"health": settings.health_port, "metrics": settings.metrics_port}


def test_pods_take_what_policies_of_the_cluster_demand(helm: Path, tmp_path: Path) -> None:
    digest = f"sha256:{'0' * 64}"
    values = {
        "podLabels": {"example.org/cost-centre": "physics"},
        "podAnnotations": {"example.org/contact": "lab"},
        "affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": []}}},
        "userAssignment": "Platform",
        "images": {"tag": 20261129, "digests": {"api": digest}},
        "settings": {"QRO_RESYNC": 2592000, "QRO_LOAD_INTERVAL": 0.5},
        "rollouts": {"atOnce": 2, "interval": "10m"},
        "logFormat": "json",
        "extraEnv": [{"name": "HTTPS_PROXY", "value": "http://proxy"}],
    }
    manifests = rendered(helm, tmp_path, values, *ALL_APIS)
    for manifest in manifests:
        if pod := pod_of(manifest):
            metadata = manifest["metadata"] if manifest["kind"] == "Pod" else manifest["spec"]["template"]["metadata"]
            assert metadata["labels"]["example.org/cost-centre"] == "physics"
            assert metadata["annotations"]["example.org/contact"] == "lab"
            assert pod["affinity"] == values["affinity"]
            assert not pod["securityContext"].keys() & {"runAsUser", "runAsGroup"}
            assert pod["containers"][0]["image"] == "qiskit-runtime-operator:20261129"
    (deployment,) = [manifest for manifest in manifests if manifest["kind"] == "Deployment"]
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    variables = {item["name"]: item.get("value") for item in container["env"]}
    assert variables["QRO_API_IMAGE"] == f"qiskit-runtime-server-api@{digest}"
    assert variables["QRO_EXECUTOR_IMAGE"] == "qiskit-runtime-server-executor:20261129"
    assert (variables["QRO_RESYNC"], variables["QRO_LOAD_INTERVAL"]) == ("2592000", "0.5")
    assert variables["QRO_LOG_FORMAT"] == "json"
    assert (variables["QRO_ROLLOUTS_AT_ONCE"], variables["QRO_ROLLOUT_INTERVAL"]) == ("2", "10m")
    assert variables["HTTPS_PROXY"] == "http://proxy"


def test_settings_of_the_chart_are_refused_among_the_others() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]["settings"]["propertyNames"]
    template = (CHART / "templates" / "deployment.yaml").read_text()
    fixed = set(re.findall(r"name: (QRO_[A-Z_]+)", template)) | {"QRO_HEALTH_PORT", "QRO_METRICS_PORT"}
    assert set(schema["not"]["enum"]) == fixed


@pytest.mark.parametrize("namespaces", [[], ["a", "b"]])
def test_no_right_is_given_by_a_wildcard_and_none_to_change_rights(
    helm: Path, tmp_path: Path, namespaces: list[str]
) -> None:
    manifests = rendered(helm, tmp_path, {"namespaces": namespaces}, *ALL_APIS)
    for rule in rules(manifests):
        words = [word for key in ("apiGroups", "resources", "verbs") for word in rule[key]]
        assert not [word for word in words if "*" in word]
        assert "rbac.authorization.k8s.io" not in rule["apiGroups"]
    cluster_wide = {manifest["metadata"]["name"] for manifest in manifests if manifest["kind"] == "ClusterRole"}
    assert ("rel-qiskit-runtime-operator" in cluster_wide) is not bool(namespaces)
    assert "rel-qiskit-runtime-operator-crds" in cluster_wide


def test_only_the_apis_that_are_named_may_review_tokens(helm: Path, tmp_path: Path) -> None:
    name = "-token-reviewer"
    assert not [item for item in rendered(helm, tmp_path) if item["metadata"]["name"].endswith(name)]
    made = [item for item in rendered(helm, tmp_path, EVERYTHING) if item["metadata"]["name"].endswith(name)]
    role, binding = made
    assert role["rules"] == [
        {"apiGroups": ["authentication.k8s.io"], "resources": ["tokenreviews"], "verbs": ["create"]}
    ]
    assert [(subject["namespace"], subject["name"]) for subject in binding["subjects"]] == [
        ("labs", "lab-api"),
        ("class", "one-api"),
    ]


def test_every_kind_that_is_rendered_can_be_written(helm: Path, tmp_path: Path) -> None:
    granted = {
        (group, resource)
        for rule in rules(rendered(helm, tmp_path))
        if {"create", "delete", "get", "list", "patch", "watch"} <= set(rule["verbs"])
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }
    assert granted == {(kind.api_version.rpartition("/")[0], kind.plural) for kind in RENDERED}


def test_all_pods_fulfil_the_restricted_standard(helm: Path, tmp_path: Path) -> None:
    pods = [pod for manifest in rendered(helm, tmp_path, EVERYTHING, *ALL_APIS) if (pod := pod_of(manifest))]
    assert len(pods) == 3
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        (container,) = pod["containers"]
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        }


def paths(values: dict[str, Any], *above: str) -> Iterator[tuple[str, ...]]:
    for key, value in values.items():
        yield *above, key
        if isinstance(value, dict):
            yield from paths(value, *above, key)


def test_a_value_that_the_last_release_did_not_have_has_a_fallback(helm: Path, tmp_path: Path) -> None:
    """As after `helm upgrade --reuse-values`, which takes the last release's values instead of this chart's."""
    required = {"images", *(f"images.{name}" for name in ("operator", "api", "executor", "executorGpu"))}
    for path in paths(yaml.safe_load((CHART / "values.yaml").read_text())):
        values: Any = None
        for key in reversed(path):
            values = {key: values}
        if ".".join(path) not in required:
            assert rendered(helm, tmp_path, values, *ALL_APIS), path


@pytest.mark.parametrize("release", ["a", "qiskit-runtime-operator", "r" * 53])
def test_names_fit_whatever_the_release_is_called(helm: Path, release: str) -> None:
    done = run_helm(helm, "template", release, CHART, KUBE_VERSION, *ALL_APIS)
    names = [manifest["metadata"]["name"] for manifest in yaml.safe_load_all(done.stdout) if manifest]
    assert max(map(len, names)) <= 63
    assert not [name for name in names if name.endswith("-")]


def test_the_notes_begin_with_a_runtime_server_that_the_operator_understands() -> None:
    text = (CHART / "templates" / "NOTES.txt").read_text()
    manifest = yaml.safe_load(text.partition("<<END\n")[2].partition("  END\n")[0])
    server = RuntimeServer.from_object(body(manifest["spec"], name=manifest["metadata"]["name"]))
    assert server.spec.executors[0].kind == "aer"


def test_alerts_and_dashboards_are_off_by_default(helm: Path, tmp_path: Path) -> None:
    made = rendered(helm, tmp_path, {}, *ALL_APIS)
    assert "Deployment" in {manifest["kind"] for manifest in made}
    assert "PrometheusRule" not in {manifest["kind"] for manifest in made}
    assert not [manifest for manifest in made if "grafana_dashboard" in manifest["metadata"].get("labels", {})]


@pytest.mark.parametrize("runbook", [None, "https://docs.test/how-to/runbook.html"])
def test_alerts_are_the_rules_of_the_files_with_links_to_the_runbook(
    helm: Path, tmp_path: Path, runbook: str | None
) -> None:
    values = {"enabled": True, "labels": {"release": "stack"}} | ({"runbook": runbook} if runbook else {})
    made = [each for each in rendered(helm, tmp_path, {"alerts": values}) if each["kind"] == "PrometheusRule"]
    assert {each["metadata"]["name"].removeprefix("rel-qiskit-runtime-operator-") for each in made} == {
        path.stem for path in (CHART / "alerts").iterdir()
    }
    for each in made:
        assert each["metadata"]["labels"]["release"] == "stack"
        path = CHART / "alerts" / f"{each['metadata']['name'].rpartition('-')[2]}.yaml"
        expected = yaml.safe_load(path.read_text())
        for rule in (rule for group in expected["groups"] for rule in group["rules"]):
            anchor = rule["annotations"]["runbook_url"].removeprefix("runbook.md")
            rule["annotations"]["runbook_url"] = (runbook or "docs/how-to/runbook.md") + anchor
        assert each["spec"] == expected


def test_dashboards_are_the_files_where_a_sidecar_of_grafana_finds_them(helm: Path, tmp_path: Path) -> None:
    made = rendered(helm, tmp_path, {"dashboards": {"enabled": True}})
    (dashboards,) = [
        manifest for manifest in made if manifest["metadata"].get("labels", {}).get("grafana_dashboard") == "1"
    ]
    assert dashboards["kind"] == "ConfigMap"
    assert dashboards["data"] == {path.name: path.read_text() for path in (CHART / "dashboards").glob("*.json")}
    assert len(dashboards["data"]) == 3
