"""What the operator puts into pods is what the server understands: commands, variables, probes, ports and files."""

import json
import re
import secrets
from base64 import b64decode
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer.main
import yaml
from hypothesis import given
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import RuntimeDecoder

from kit.kubernetes.runtime_servers import (
    AER,
    contexts,
    render_context,
    runtime_server,
    runtime_servers,
    server_container,
)
from kit.server.cluster_processes import Cluster, Plugins
from kit.server.http_jobs import end_of, params_of, signed_in, submit
from kit.server.server_process import ServerProcess
from qiskit_runtime_operator.render import RenderContext, render
from qiskit_runtime_operator.render.credentials.keys_secret import keys_secret
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import LOAD_KEY
from qiskit_runtime_operator.scaling.load import Load
from qiskit_runtime_operator.settings import Settings as OperatorSettings
from qiskit_runtime_server import Settings
from qiskit_runtime_server.__main__ import cli
from qiskit_runtime_server.accounts.identity import fingerprint
from qiskit_runtime_server.accounts.token_folder import TokenFolder
from qiskit_runtime_server.backends.names import VirtualBackend
from qiskit_runtime_server.roles.process import is_loopback

ROOT = Path(__file__).parents[2]
CONTEXT = render_context()
URL = "postgresql://somebody:secret@database/jobs"


def deployments(server: RuntimeServer, context: RenderContext = CONTEXT) -> dict[str, Manifest]:
    return {
        manifest["metadata"]["name"]: manifest["spec"]["template"]["spec"]
        for manifest in render(server, context)
        if manifest["kind"] == "Deployment"
    }


def environment(server: RuntimeServer, pod: Manifest) -> dict[str, str]:
    """Return the variables of a pod; those from Secrets have a value of the right form."""
    container = server_container(pod)
    configs = {
        item["metadata"]["name"]: item["data"] for item in render(server, CONTEXT) if item["kind"] == "ConfigMap"
    }
    sources = [source["configMapRef"]["name"] for source in container.get("envFrom", [])]
    shared = [configs[name] for name in sources if name in configs]
    own = {variable["name"]: variable.get("value", URL) for variable in container["env"]}
    return {name: value for variables in (*shared, own) for name, value in variables.items()}


def command(pod: Manifest) -> dict[str, Any]:
    """Return the parameters of the command line as the server's own parser reads them."""
    container = server_container(pod)
    assert container["command"] == ["qiskit-runtime-server"]
    name, *arguments = container["args"]
    parser = typer.main.get_group(cli).commands[name]
    return parser.make_context(name, arguments).params


@pytest.mark.slow
@given(runtime_servers, contexts)
def test_every_variable_is_a_setting_and_every_flag_an_option(server: RuntimeServer, context: RenderContext) -> None:
    known = {f"QRS_{name.upper()}" for name in Settings.model_fields}
    for pod in deployments(server, context).values():
        assert {name for name in environment(server, pod) if name.startswith("QRS_")} <= known
        assert command(pod)


def test_a_setting_is_either_the_operators_or_the_users() -> None:
    tokens = {
        "executors": [{**AER, "options": {"precision": "double"}}],
        "auth": {"tokensSecretRef": {"name": "tokens"}},
    }
    secret = {"name": "database"}
    postgresql = {"postgresql": {"urlSecretRef": secret, "directUrlSecretRef": secret}}
    aliases = {"class_device": "fake_lima@aer"}
    backends = {
        "defaultExecutor": "aer",
        "autoExecutors": ["aer"],
        "aliases": aliases,
        "snapshots": [{"configMap": "may"}],
    }
    tls = {"secretName": "own", "executors": {}}
    snapshots = {"database": postgresql, "backends": backends, "tls": tls}
    rendered = {
        name
        for server in (runtime_server(tokens), runtime_server(snapshots))
        for pod in deployments(server).values()
        for name in environment(server, pod)
    }
    # Given as files, or as arguments of the command.
    flags = {"QRS_DATABASE_URL", "QRS_DATABASE_DIRECT_URL", "QRS_EXECUTORS", "QRS_SLOTS"}
    rule = next(line for line in rules() if line.startswith("!self.exists"))
    assert set(re.findall(r"'(QRS_\w+)'", rule)) == (rendered | flags) - {"HOME"}


def rules() -> list[str]:
    """Return the rules for settings in the schema of RuntimeServers."""
    version, *_ = yaml.safe_load((ROOT / "crds" / "runtimeservers.yaml").read_text())["spec"]["versions"]
    settings = version["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]["api"]["properties"]["settings"]
    return [rule["rule"] for rule in settings["x-kubernetes-validations"]]


@cache
def rule_for_volumes() -> Mapping[str, str]:
    """Return the rule of the CRD that says what the volumes of users may not be called."""
    definition = yaml.safe_load((ROOT / "crds" / "runtimeservers.yaml").read_text())
    spec = definition["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]["properties"]
    rule: Mapping[str, str] = spec["podTemplate"]["properties"]["volumes"]["x-kubernetes-validations"][0]
    return rule


@given(runtime_servers, contexts)
def test_volumes_of_ours_have_names_that_users_cannot_give_to_theirs(
    server: RuntimeServer, context: RenderContext
) -> None:
    rule = rule_for_volumes()
    ours = set(re.findall("'([a-z-]+)'", rule["rule"]))
    assert all(name in rule["message"] for name in ours)
    workloads = (server.spec.api, *server.spec.executors)
    templates = (server.spec.pod_template, *(workload.pod_template for workload in workloads))
    theirs = {volume["name"] for template in templates for volume in template.volumes}
    for pod in deployments(server, context).values():
        names = {re.sub(r"^(snapshots-)\d+$", r"\1", volume["name"]) for volume in pod["volumes"]}
        assert names - theirs <= ours


def test_settings_of_the_users_reach_the_pods_that_they_are_for() -> None:
    executors = [{**AER, "settings": {"QRS_ORPHAN_KEPT": "300"}}]
    server = runtime_server({"executors": executors, "api": {"settings": {"QRS_MAX_SECONDS": "60"}}})
    pods = deployments(server)
    assert environment(server, pods["lab-api"])["QRS_MAX_SECONDS"] == "60"
    assert environment(server, pods["lab-executor-aer"])["QRS_ORPHAN_KEPT"] == "300"
    assert "QRS_MAX_SECONDS" not in environment(server, pods["lab-executor-aer"])


@pytest.mark.slow
@given(runtime_servers)
def test_executors_are_called_what_the_api_calls_them_and_their_names_make_backends(server: RuntimeServer) -> None:
    pods = deployments(server)
    services = {item["metadata"]["name"]: item["spec"] for item in render(server, CONTEXT) if item["kind"] == "Service"}
    for word, executor in zip(command(pods[f"{server.name}-api"])["executors"], server.spec.executors, strict=True):
        name, url = word.split("=", 1)
        scheme, _, address = url.partition("://")
        assert (scheme == "https") == (server.spec.tls.executors is not None)
        host, port = address.split(":")
        assert host in pods
        assert int(port) in [item["port"] for item in services[host]["ports"]]
        assert VirtualBackend.parse(f"fake_manila@{name}").executor == executor.name


def test_the_values_are_what_the_settings_mean(monkeypatch: pytest.MonkeyPatch) -> None:
    server = runtime_server(
        {
            "executors": [
                {**AER, "drainSeconds": 900, "slots": 3, "options": {"precision": "double", "devices": [0, 1]}},
                {"name": "woken", "autoscale": {"maxReplicas": 2}},
                {"name": "warm", "autoscale": {"minReplicas": 1, "maxReplicas": 2}},
                {"name": "keda"},
            ],
            "api": {"settings": {"QRS_ON_DEMAND": "keda"}},
            "backends": {
                "include": ["fake_*", "lab"],
                "defaultExecutor": "aer",
                "autoExecutors": ["warm", "aer"],
                "aliases": {"class_device": "fake_lima@aer", "exam": "lab@aer"},
                "snapshots": [{"configMap": "may"}],
            },
            "database": {"postgresql": {"urlSecretRef": {"name": "database"}, "preparedStatements": False}},
        }
    )
    pods = deployments(server)
    for name, value in environment(server, pods["lab-api"]).items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert (settings.port, settings.internal_port) == (8000, 9090)
    assert not is_loopback(settings.host)
    assert settings.anonymous is True
    assert settings.backends == ("fake_*", "lab")
    assert settings.default_executor == "aer"
    assert settings.auto == ("warm", "aer")
    assert settings.aliases == {"class_device": "fake_lima@aer", "exam": "lab@aer"}
    assert settings.on_demand == ("keda", "woken")
    assert settings.database_url_file == Path("/etc/qiskit-runtime-server/database/url")
    assert settings.database_prepared_statements is False
    options = environment(server, pods["lab-executor-aer"])["QRS_EXECUTOR_OPTIONS"]
    monkeypatch.setenv("QRS_EXECUTOR_OPTIONS", options)
    assert Settings().executor_options == {"aer": {"devices": [0, 1], "precision": "double"}}
    parameters = command(pods["lab-executor-aer"])
    assert (parameters["name"], parameters["slots"], parameters["drain"]) == ("aer", 3, "900s")
    grace = timedelta(seconds=pods["lab-api"]["terminationGracePeriodSeconds"])
    assert grace > settings.drain + timedelta(seconds=5)


class Pods:
    """The pods of a RuntimeServer as processes of this machine."""

    def __init__(self, server: RuntimeServer, cluster: Cluster) -> None:
        self._pods = deployments(server)
        self._keys = keys_of(server)
        self._server = server
        self._cluster = cluster
        self.processes: dict[str, ServerProcess] = {}
        executors = [name for name in self._pods if "-executor-" in name]
        self.processes |= {name: self._start(name) for name in executors}
        for process in self.processes.values():
            process.wait_until_ready()
        self.api = self._start(f"{server.name}-api")
        self.api.wait_until_ready()
        self.processes[f"{server.name}-api"] = self.api

    def _start(self, name: str) -> ServerProcess:
        container = server_container(self._pods[name])
        return self._cluster.begin(*map(self._here, container["args"]), **self._variables(name))

    def _here(self, argument: str) -> str:
        for name, process in self.processes.items() if "://" in argument else ():
            argument = argument.replace(f"http://{name}:8080", process.url)
        return argument

    def _variables(self, name: str) -> dict[str, str | None]:
        container = server_container(self._pods[name])
        keys = {
            item["name"]: item["valueFrom"]["secretKeyRef"]["key"] for item in container["env"] if "valueFrom" in item
        }
        return {
            **environment(self._server, self._pods[name]),
            **{variable: self._keys.get(key) for variable, key in keys.items()},
            "QRS_HOST": "127.0.0.1",
            "QRS_PORT": "0",
            "QRS_INTERNAL_PORT": "0",
            "QRS_DATA_DIR": str(self._cluster.data_dir),
            "QRS_MEMORY": "512Mi",
            "HOME": str(self._cluster.data_dir),
        }

    def probe(self, name: str) -> list[int]:
        """Return what the process answers to the probes of its pod."""
        container = server_container(self._pods[name])
        paths = [container[f"{probe}Probe"]["httpGet"]["path"] for probe in ("startup", "liveness", "readiness")]
        return [httpx.get(f"{self.processes[name].url}{path}").status_code for path in paths]

    def load(self) -> Load:
        """Return what the operator reads."""
        path = OperatorSettings.model_fields["load_url"].default.partition(":9090")[2]
        headers = {"Authorization": f"Bearer {self._keys[LOAD_KEY]}"}
        return Load.from_json(httpx.get(f"{self.api.internal_url}{path}", headers=headers).raise_for_status().content)


def keys_of(server: RuntimeServer) -> dict[str, str]:
    data = keys_secret(server, secrets.token_urlsafe)["data"]
    return {name: b64decode(value).decode() for name, value in data.items()}


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with ExitStack() as stack:
        yield Cluster(tmp_path, Plugins(tmp_path), stack)


@pytest.mark.slow
def test_pods_run_jobs_on_a_pool_whatever_it_is_called_with_the_same_bits(cluster: Cluster) -> None:
    pods = Pods(runtime_server({"executors": [dict(AER), {"name": "night-shift", "type": "aer"}]}), cluster)
    assert {name: pods.probe(name) for name in pods.processes} == dict.fromkeys(pods.processes, [200] * 3)
    circuit = QuantumCircuit(1, 1)
    circuit.sx(0)
    circuit.measure(0, 0)
    results = []
    with signed_in(pods.api.url) as client:
        for pool in ("aer", "night-shift"):
            params = {**params_of(circuit, 256), "options": {"simulator": {"seed_simulator": 7}}}
            job = submit(client, backend=f"fake_manila@{pool}", params=params)
            assert end_of(client, job)["status"] == "Completed"
            (result,) = json.loads(client.get(f"/jobs/{job}/results").content, cls=RuntimeDecoder)
            results.append(result.data.c.get_bitstrings())
    assert set(results[0]) == {"0", "1"}
    assert results[0] == results[1]
    load = pods.load()
    assert load.executors.keys() == {"aer", "night-shift"}
    assert load.backends is not None
    assert load.backends % 2 == 0


def test_keys_are_what_the_server_takes_and_all_different() -> None:
    keys = keys_of(runtime_server())
    assert Settings.load(**{name.replace("-", "_"): key for name, key in keys.items()}).signing_key is not None
    assert len(set(keys.values())) == 3


def test_a_mounted_secret_is_a_folder_of_tokens(tmp_path: Path) -> None:
    # As the kubelet lays it out: what is there now is behind a link.
    (tmp_path / "..2026").mkdir()
    (tmp_path / "..data").symlink_to("..2026")
    (tmp_path / "..2026" / "alice").write_text("first token\nsecond token\n")
    (tmp_path / "alice").symlink_to("..data/alice")
    account = TokenFolder(tmp_path).find(fingerprint("second token"))
    assert account is not None
    assert account.id == "alice"


def test_the_policy_for_traces_is_for_every_pod_that_is_told_to_write_them() -> None:
    """The operator's own policies let executors reach nobody."""
    manifests = list(yaml.safe_load_all((ROOT / "examples/kubernetes/traces.yaml").read_text()))
    server, policy = manifests
    metadata = {"namespace": "labs", "uid": "u1", "generation": 1, **server["metadata"]}
    rendered = list(render(RuntimeServer.from_object({**server, "metadata": metadata}), CONTEXT))
    pods = [found["spec"]["template"] for found in rendered if found["kind"] == "Deployment"]
    assert len(pods) == 2
    for pod in pods:
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()
        variables = {each["name"]: each.get("value") for each in server_container(pod["spec"])["env"]}
        assert variables["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector.monitoring:4318"
