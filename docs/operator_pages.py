"""The pages on the operator: its resource, its settings, its metrics, its rights, and the values of its chart."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from qiskit_runtime_operator.scaling import decision
from qiskit_runtime_operator.status.conditions import MEANINGS, Reason

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from kit.kubernetes.played_messages import messages  # noqa: E402 - it lies where the line above says

CHART = ROOT / "charts" / "qiskit-runtime-operator"

Schema = Mapping[str, Any]


def resource_page() -> str:
    """Return the page on RuntimeServers, made from their definition."""
    definition = yaml.safe_load((ROOT / "crds" / "runtimeservers.yaml").read_text())["spec"]
    version, *_ = versions = definition["versions"]
    served = " and ".join(f"`{definition['group']}/{each['name']}`" for each in versions if each["served"])
    schema = version["schema"]["openAPIV3Schema"]
    names, said = definition["names"], messages()
    lines = [
        "# RuntimeServer",
        "",
        f"Made from `crds/runtimeservers.yaml` by `make docs`. {served}, which mean the same; short name",
        f"`{names['shortNames'][0]}`, category `{names['categories'][0]}`. {schema['description']}",
        "",
        "`kubectl explain rts.spec` tells the same about the version that a cluster has.",
        "[Examples](../../examples/kubernetes).",
        "",
        "## What a name can be",
        "",
        *_rules(schema),
        "",
        *_part("spec", schema["properties"]["spec"]),
        *_part("status", schema["properties"]["status"]),
        "## Reasons of conditions and Events",
        "",
        "The messages are examples, which the operator's own code has made.",
        "",
        "| reason | what it means, and what to do | message |",
        "|---|---|---|",
        *(f"| `{reason}` | {_escaped(MEANINGS[reason])} | {_escaped(said[reason])} |" for reason in Reason),
        "",
        "## Reasons of an executor's number of pods",
        "",
        "| reason | what it means, and what to do |",
        "|---|---|",
        *(f"| `{reason}` | {_escaped(decision.MEANINGS[reason])} |" for reason in decision.ScaleReason),
    ]
    return "\n".join(lines).rstrip() + "\n"


def _part(name: str, schema: Schema) -> Iterator[str]:
    yield f"## `{name}`"
    yield ""
    yield "| field | type | default | meaning |"
    yield "|---|---|---|---|"
    yield from _rows("", schema)
    yield ""
    rules = dict.fromkeys(rule for field in _walk(schema) for rule in _rules(field))
    if rules:
        yield "What does not go together is refused:"
        yield ""
        yield from rules
        yield ""


def _rules(schema: Schema) -> list[str]:
    return [f"- {_escaped(rule['message'])}" for rule in schema.get("x-kubernetes-validations", [])]


def _walk(schema: Schema) -> Iterator[Schema]:
    yield schema
    for field in [*schema.get("properties", {}).values(), *([schema["items"]] if "items" in schema else [])]:
        yield from _walk(field)


def _rows(prefix: str, schema: Schema) -> Iterator[str]:
    required = schema.get("required", [])
    for name, field in schema.get("properties", {}).items():
        path = f"{prefix}{name}"
        default = "required" if name in required else _default(field)
        yield f"| `{path}` | {_type(field)} | {default} | {_escaped(field['description'])} |"
        yield from _rows(f"{path}[].", field["items"]) if "items" in field else _rows(f"{path}.", field)


def _type(field: Schema) -> str:
    if "enum" in field:
        return ", ".join(f"`{value}`" for value in field["enum"])
    if field["type"] == "array":
        items = field["items"]["type"]
        return "list" if items == "object" else f"list of {items}s"
    if "additionalProperties" in field:
        quantities = "x-kubernetes-int-or-string" in field["additionalProperties"]
        return "map of quantities" if quantities else "map of strings"
    return f"{field['type']}{_bounds(field)}"


def _bounds(field: Schema) -> str:
    if field["type"] != "integer" or "minimum" not in field:
        return ""
    return f", {field['minimum']} to {field['maximum']}" if "maximum" in field else f", at least {field['minimum']}"


def _default(field: Schema) -> str:
    value = field.get("default", {})
    if value == {}:
        return ""
    text = str(value).lower() if isinstance(value, bool) else yaml.safe_dump(value, default_flow_style=True)
    return f"`{_escaped(text.removesuffix('...' + chr(10)).strip())}`"


def permissions_page() -> str:
    """Return the page on the operator's rights, made from the chart."""
    text = (CHART / "templates" / "_helpers.tpl").read_text()
    parts = {
        "rules": "## Where RuntimeServers are: all namespaces, or those that the value `namespaces` lists",
        "clusterRules": "## In the cluster, unless the value `namespaces` lists any",
        "leaseRules": "## In the operator's own namespace",
        "crdsRules": "## For the Job that runs before an upgrade, and goes with it",
    }
    lines = [
        "# Permissions of the operator",
        "",
        "Made from the chart by `make docs`. A test has an operator with these rights do all that it does and compares",
        "them with the audit log of the API server: each is used, and no other is asked for. Discovery, which is",
        "everybody's right, is not listed. The pods of RuntimeServers have no rights and no tokens.",
        "",
    ]
    for name, title in parts.items():
        (block,) = re.findall(rf'define "operator.{name}" -}}}}\n(.*?)\n{{{{- end', text, re.DOTALL)
        lines += [title, "", *_permissions(re.sub(r"{{.*?}}", "RELEASE-qiskit-runtime-operator", block)), ""]
    return "\n".join(lines).rstrip() + "\n"


def _permissions(block: str) -> Iterator[str]:
    reasons = [line.removeprefix("# ") for line in block.splitlines() if line.startswith("# ")]
    yield "| API group | resources | verbs | why |"
    yield "|---|---|---|---|"
    for rule, reason in zip(yaml.safe_load(block), reasons, strict=True):
        group = rule["apiGroups"][0] or "core"
        names = f" called `{rule['resourceNames'][0]}`" if "resourceNames" in rule else ""
        yield f"| {group} | {', '.join(rule['resources'])}{names} | {', '.join(rule['verbs'])} | {reason} |"


def chart_page() -> str:
    """Return the chart's README, made from the comments in its values."""
    about = yaml.safe_load((CHART / "Chart.yaml").read_text())
    text = (CHART / "values.yaml").read_text()
    lines = [
        f"# {about['name']}",
        "",
        f"{about['description']} For Kubernetes {about['kubeVersion'].removesuffix('-0').removeprefix('>=')} or later.",
        "",
        "    helm install qiskit-runtime-operator charts/qiskit-runtime-operator \\",
        "      --namespace qiskit-system --create-namespace",
        "",
        "Made from `values.yaml` by `make docs`.",
        "",
        "| value | default | meaning |",
        "|---|---|---|",
        *(f"| `{path}` | {default} | {meaning} |" for path, default, meaning in _values(text)),
        "",
        "Upgrading the release rolls the pods of every RuntimeServer that does not pin `spec.image`, as these run the",
        "images of the operator's own version. A Job brings the CRD up to date before that.",
        "",
        "Uninstalling it leaves the CRD, the RuntimeServers and all that belongs to them; nobody looks after",
        "them then. `kubectl delete crd runtimeservers.runtimeserver.dev` deletes them all, but for the volumes that",
        "are to be retained.",
    ]
    return "\n".join(lines) + "\n"


def _values(text: str) -> Iterator[tuple[str, str, str]]:
    """Yield path, default and meaning of each value that has a comment."""
    values, parents, lines = yaml.safe_load(text), [""], text.splitlines()
    for line, after in zip(lines, [*lines[1:], ""], strict=True):
        comment = re.fullmatch(r"( *)# -- (.*)", line)
        if comment is None:
            if opened := re.fullmatch(r"(\w+):", line):
                parents = [opened[1]]
            continue
        key = after.strip().partition(":")[0]
        path = [*parents, key] if comment[1] else [key]
        yield ".".join(path), f"`{_flow(_at(values, path))}`", comment[2]


def _at(values: Any, path: Sequence[str]) -> Any:  # noqa: ANN401 - any YAML
    return _at(values[path[0]], path[1:]) if path else values


def _flow(value: object) -> str:
    text = yaml.safe_dump(value, default_flow_style=True, width=1000)
    return text.removesuffix("\n...\n").strip()


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "\\<")
