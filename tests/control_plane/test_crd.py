"""What the API server makes of RuntimeServers: defaults, and a refusal that says what to do for each rule."""

import secrets
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import yaml

from kit.kubernetes.client import KubernetesClient, RefusedError
from kit.kubernetes.runtime_servers import AER, body
from qiskit_runtime_operator.resource.model import RuntimeServer

DEFINITION = Path(__file__).parents[2] / "crds" / "runtimeservers.yaml"

pytestmark = pytest.mark.usefixtures("definition")

INGRESS = {"host": "lab.example.org"}
GATEWAY = {"parentRefs": [{"name": "public"}]}
POSTGRESQL = {"postgresql": {"urlSecretRef": {"name": "database"}}}
# The specs that a rule refuses, by the beginning of its message.
REFUSED: Mapping[str, dict[str, Any]] = {
    "an embedded database serves one api": {"api": {"replicas": 2}},
    "give either ingress or gateway": {"ingress": INGRESS, "gateway": GATEWAY, "auth": {"anonymous": True}},
    "anybody who reaches the ingress or gateway": {"ingress": INGRESS},
    "aer simulates on processors": {"executors": [{**AER, "gpu": {}}]},
    "qsim simulates on processors": {"executors": [{"name": "qsim", "gpu": {}}]},
    "qsim runs on amd64 only": {
        "executors": [{"name": "fast", "type": "qsim", "nodeSelector": {"kubernetes.io/arch": "arm64"}}]
    },
    "custatevec simulates on a GPU": {"executors": [{"name": "custatevec"}]},
    "autoscale decides how many pods": {"executors": [{**AER, "replicas": 2, "autoscale": {"maxReplicas": 3}}]},
    "minReplicas is greater than maxReplicas": {
        "executors": [{**AER, "autoscale": {"minReplicas": 4, "maxReplicas": 3}}]
    },
    "give either sqlite or postgresql": {"database": {"sqlite": {}, **POSTGRESQL}},
    "with tokensSecretRef nobody is anonymous": {"auth": {"anonymous": True, "tokensSecretRef": {"name": "tokens"}}},
    "with kubernetes, oidc or jupyterHub nobody is anonymous": {
        "auth": {"anonymous": True, "kubernetes": {"audience": "https://lab.example.org"}}
    },
    "clientSecretRef and scopes belong to a client": {
        "auth": {
            "oidc": {"issuer": "https://id.example.org", "audience": "lab", "clientSecretRef": {"name": "console"}}
        }
    },
    "names of settings begin with QRS_": {"api": {"settings": {"LANG": "C"}}},
    "backends.defaultExecutor is the name of none": {"executors": [AER], "backends": {"defaultExecutor": "gpu"}},
    "backends.autoExecutors names what is none": {"backends": {"autoExecutors": ["aer", "gpu"]}},
    "auto stands for the choice": {"executors": [{"name": "auto", "type": "aer"}]},
    "an alias in backends.aliases stands for a backend": {"backends": {"aliases": {"exam": "fake_lima@gpu"}}},
    "aliases are made of letters": {"backends": {"aliases": {"exam@aer": "fake_lima@aer"}}},
    "some settings are the operator's": {"executors": [{**AER, "settings": {"QRS_EXECUTOR_KEY": "mine"}}]},
    "some labels are the operator's": {"podTemplate": {"labels": {"app.kubernetes.io/name": "mine"}}},
    "variables of the server's own have a place": {"podTemplate": {"env": [{"name": "QRS_LEASE", "value": "9"}]}},
    "some volumes are the operator's": {"api": {"podTemplate": {"volumes": [{"name": "data", "emptyDir": {}}]}}},
    "the container server is the operator's": {
        "executors": [{**AER, "podTemplate": {"containers": [{"name": "server", "image": "x"}]}}]
    },
    "options.devices names a GPU that the pod does not have": {
        "executors": [{"name": "custatevec", "gpu": {"count": 2}, "options": {"devices": [0, 2]}}]
    },
    "claims take the place of resource": {
        "executors": [
            {"name": "gpu", "gpu": {"resource": "nvidia.com/mig-1g.10gb", "claims": {"templateName": "gpus"}}}
        ]
    },
    "give either templateName or deviceClassName": {"executors": [{"name": "gpu", "gpu": {"claims": {}}}]},
    "selectors choose among the devices of a class": {
        "executors": [{"name": "gpu", "gpu": {"claims": {"templateName": "gpus", "selectors": ["true"]}}}]
    },
    "a pod cannot ask for more than its limit": {
        "executors": [{**AER, "resources": {"requests": {"memory": "3Gi"}, "limits": {"memory": "2Gi"}}}]
    },
    "a volume of size 0 holds no data": {"database": {"sqlite": {"storage": "0Gi"}}},
    "Services are called": {"executors": [{"name": "a" * 40, "type": "aer"}]},
}
REFUSED_NAMES = {"metadata.name becomes the name of Services": "lab.one"}
# What cannot be changed: from, to.
REFUSED_CHANGES: Mapping[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "jobs do not move": ({"database": {"sqlite": {}}}, {"database": POSTGRESQL}),
    "a volume keeps its class": (
        {"database": {"sqlite": {"storageClassName": "fast"}}},
        {"database": {"sqlite": {"storageClassName": "slow"}}},
    ),
    "a volume can grow, not shrink": (
        {"database": {"sqlite": {"storage": "1Gi"}}},
        {"database": {"sqlite": {"storage": "1023Mi"}}},
    ),
}
# Fields that the schema bounds: no rule of ours, but a refusal that names the field.
OUT_OF_BOUNDS: Mapping[str, dict[str, Any]] = {
    "spec.executors[1]: Duplicate value": {"executors": [AER, AER]},
    "spec.executors in body should have at least 1 items": {"executors": []},
    "spec.executors[0].name": {"executors": [{"name": "Aer"}]},
    "spec.executors[0].autoscale.maxReplicas": {"executors": [{**AER, "autoscale": {}}]},
    "spec.auth.kubernetes.audience: Required": {"auth": {"kubernetes": {}}},
    "spec.auth.oidc.audience: Required": {"auth": {"oidc": {"issuer": "https://id.example.org"}}},
    "spec.auth.oidc.issuer": {"auth": {"oidc": {"issuer": "http://id.example.org", "audience": "lab"}}},
    "spec.auth.oidc.algorithms[0]": {
        "auth": {"oidc": {"issuer": "https://id.example.org", "audience": "lab", "algorithms": ["HS256"]}}
    },
    "spec.auth.oidc.scopes[0]": {
        "auth": {
            "oidc": {
                "issuer": "https://id.example.org",
                "audience": "lab",
                "clientId": "console",
                "scopes": ["two words"],
            }
        }
    },
    "spec.auth.jupyterHub.url": {"auth": {"jupyterHub": {"url": "hub:8081"}}},
    "spec.executors[0].slots": {"executors": [{**AER, "slots": 0}]},
    "spec.executors[0].resources.limits.cpu": {"executors": [{**AER, "resources": {"limits": {"cpu": "two"}}}]},
    "spec.database.sqlite.storage": {"database": {"sqlite": {"storage": "large"}}},
    "spec.image.api": {"image": {"api": "Registry/Upper Case:1"}},
    "spec.executors[0].image": {"executors": [{**AER, "image": "https://registry.test/executor:1"}]},
    "spec.executors[0].queueName": {"executors": [{**AER, "queueName": "Research"}]},
    "spec.executors[0].options.devices": {
        "executors": [{"name": "custatevec", "gpu": {}, "options": {"devices": ["first"]}}]
    },
    "spec.gateway.hostnames[0]": {"gateway": {**GATEWAY, "hostnames": ["https://lab"]}, "auth": {"anonymous": True}},
    "spec.backends.aliases.exam": {"backends": {"aliases": {"exam": "fake_lima"}}},
    "spec.ingress.host": {"ingress": {"host": "*.example.org"}, "auth": {"anonymous": True}},
}
IMAGES = (
    "executor",
    "localhost/qiskit-runtime-server-api:0.1.0",
    "Registry.example.org:5000/a/b_c/d__e-f:Tag_1",
    "docker.io/library/postgres:17@sha256:" + 64 * "a",
    "[::1]:5000/api@sha256:" + 64 * "0",
)


@pytest.fixture(scope="module")
def refusing(control_plane: Path) -> Iterator[KubernetesClient]:
    """A namespace in which nothing is created: what is not refused shows in the next test, too."""
    with closing(KubernetesClient(control_plane, namespace=f"refusing-{secrets.token_hex(4)}")) as client:
        client.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": client.namespace}})
        yield client


def server(spec: Mapping[str, Any] | None = None, name: str = "lab") -> dict[str, Any]:
    manifest = body(spec, name=name)
    return {**manifest, "metadata": {"name": name}}


def rules(schema: Mapping[str, Any]) -> Iterator[str]:
    for key, value in schema.items():
        if key == "x-kubernetes-validations":
            yield from (rule["message"] for rule in value)
        elif isinstance(value, dict):
            yield from rules(value)


def test_every_rule_is_tried() -> None:
    version, *_ = yaml.safe_load(DEFINITION.read_text())["spec"]["versions"]
    tried = (*REFUSED, *REFUSED_NAMES, *REFUSED_CHANGES)
    for message in rules(version["schema"]):
        assert [beginning for beginning in tried if message.startswith(beginning)], message


def test_what_is_left_out_has_the_defaults_that_the_operator_assumes(kubernetes: KubernetesClient) -> None:
    least = server({"executors": [{"name": "aer"}]})
    stored = kubernetes.create(least)
    assert stored["spec"] != least["spec"]
    assert RuntimeServer.from_object(stored).spec == RuntimeServer.from_object(body(least["spec"])).spec


@pytest.mark.parametrize("message", REFUSED)
def test_a_spec_that_makes_no_sense_is_refused(refusing: KubernetesClient, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        refusing.create(server(REFUSED[message], name="laboratory-one" if message.startswith("Services") else "lab"))


def test_backends_can_be_of_the_choice_among_executors_where_it_is_offered(kubernetes: KubernetesClient) -> None:
    backends: dict[str, Any] = {"defaultExecutor": "auto", "aliases": {"exam": "fake_lima@auto"}}
    two: dict[str, Any] = {"executors": [AER, {"name": "qsim"}], "backends": backends}
    kubernetes.create(server(two))
    kubernetes.apply(server({"executors": [AER], "backends": {**backends, "autoExecutors": ["aer"]}}))
    for refused in ({"executors": [AER], "backends": backends}, {**two, "backends": {**backends, "autoExecutors": []}}):
        with pytest.raises(RefusedError) as found:
            kubernetes.create(server(refused, name="other"))
        assert "backends.defaultExecutor is the name of none" in found.value.message
        assert "an alias in backends.aliases" in found.value.message


@pytest.mark.parametrize("message", REFUSED_NAMES)
def test_a_name_that_services_cannot_have_is_refused(refusing: KubernetesClient, message: str) -> None:
    with pytest.raises(RefusedError, match=message):
        refusing.create(server(name=REFUSED_NAMES[message]))


@pytest.mark.parametrize("message", REFUSED_CHANGES)
def test_a_change_that_cannot_be_made_is_refused(kubernetes: KubernetesClient, message: str) -> None:
    before, after = REFUSED_CHANGES[message]
    kubernetes.apply(server(before))
    with pytest.raises(RefusedError, match=message):
        kubernetes.apply(server(after))


@pytest.mark.parametrize("problem", OUT_OF_BOUNDS)
def test_a_value_out_of_bounds_is_refused_by_its_field(refusing: KubernetesClient, problem: str) -> None:
    with pytest.raises(RefusedError) as refused:
        refusing.create(server(OUT_OF_BOUNDS[problem]))
    assert problem in refused.value.message


@pytest.mark.parametrize("image", IMAGES)
def test_images_are_called_as_registries_call_them(kubernetes: KubernetesClient, image: str) -> None:
    kubernetes.create(server({"image": {"api": image}}))


def test_requests_within_limits_are_taken_in_whatever_unit(kubernetes: KubernetesClient) -> None:
    resources = {"requests": {"cpu": 2, "memory": "2048Mi"}, "limits": {"cpu": "2000m", "memory": "2Gi"}}
    kubernetes.create(server({"executors": [{**AER, "resources": resources}], "api": {"resources": resources}}))


def test_an_unknown_field_is_refused_by_strict_validation(refusing: KubernetesClient) -> None:
    path = f"/apis/runtimeserver.dev/v1alpha1/namespaces/{refusing.namespace}/runtimeservers?fieldValidation=Strict"
    with pytest.raises(RefusedError, match="unknown field"):
        refusing.call("POST", path, server({"replicas": 2}))


def test_the_api_is_scaled_by_the_resource(kubernetes: KubernetesClient) -> None:
    kubernetes.create(server({"database": POSTGRESQL}))
    kubernetes.merge("RuntimeServer", "lab", {"status": {"api": {"desired": 1, "selector": "a=b"}}}, "status")
    scale = kubernetes.merge("RuntimeServer", "lab", {"spec": {"replicas": 3}}, "scale")
    assert kubernetes.get("RuntimeServer", "lab")["spec"]["api"]["replicas"] == 3
    assert scale["status"] == {"replicas": 1, "selector": "a=b"}


def test_kubectl_shows_what_matters_under_the_short_name_and_the_category(
    kubernetes: KubernetesClient, kubectl: Path
) -> None:
    kubernetes.create(server())
    conditions = [
        {
            "type": kind,
            "status": "True",
            "reason": "Ready",
            "message": kind,
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }
        for kind in ("Degraded", "Available")
    ]
    status = {"conditions": conditions, "executorsReady": "1/2", "backends": 70, "url": "http://lab"}
    kubernetes.merge("RuntimeServer", "lab", {"status": status}, "status")
    for name in ("rts", "qiskit"):
        command: list[str | Path] = [
            kubectl,
            f"--kubeconfig={kubernetes.kubeconfig}",
            f"--namespace={kubernetes.namespace}",
            "get",
            name,
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        header, row = (line.split() for line in done.stdout.splitlines())
        assert header == ["NAME", "AVAILABLE", "EXECUTORS", "BACKENDS", "URL", "AGE"]
        assert row[1:5] == ["True", "1/2", "70", "http://lab"]
