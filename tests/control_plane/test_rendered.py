"""What is rendered, in the hands of a real API server."""

import secrets
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings

from kit.kubernetes.client import KubernetesClient, RefusedError, eventually
from kit.kubernetes.convergence import differences
from kit.kubernetes.runtime_servers import AER, GPU, body, render_context, runtime_server, specs
from qiskit_runtime_operator.render import render
from qiskit_runtime_operator.render.credentials.keys_secret import keys_secret
from qiskit_runtime_operator.render.replicas import scaled_elsewhere
from qiskit_runtime_operator.render.volume_claim import data_claim
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.resource.names import MANAGER
from qiskit_runtime_operator.status.status import Observed, observe

NUMBERS = count()
RESTRICTED = {"metadata": {"labels": {"pod-security.kubernetes.io/enforce": "restricted"}}}

pytestmark = pytest.mark.usefixtures("definition")


def created(kubernetes: KubernetesClient, spec: dict[str, Any], name: str = "lab") -> RuntimeServer:
    manifest = {**body(spec), "metadata": {"name": name}}
    return RuntimeServer.from_object(kubernetes.create(manifest))


def rendered(server: RuntimeServer, **context: Any) -> Iterator[Manifest]:
    """Yield what is applied in a cluster without optional APIs."""
    yield from render(server, render_context(apis=frozenset(), **context))
    claim = data_claim(server, None)
    if claim is not None:
        yield claim


def apply_all(kubernetes: KubernetesClient, server: RuntimeServer, **context: Any) -> list[Manifest]:
    return [kubernetes.apply(item, MANAGER, force=True) for item in rendered(server, **context)]


def scale_of_aer(kubernetes: KubernetesClient) -> int:
    """Apply as the operator would, knowing what is there, and return the number of replicas that there then are."""
    live = kubernetes.find("Deployment", "lab-executor-aer")
    server = RuntimeServer.from_object(kubernetes.get("RuntimeServer", "lab"))
    apply_all(kubernetes, server, scaled_elsewhere=scaled_elsewhere([live] if live else []))
    return int(kubernetes.get("Deployment", "lab-executor-aer")["spec"]["replicas"])


@settings(
    max_examples=30, deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(spec=specs)
def test_every_field_is_as_rendered_and_applying_again_changes_nothing(
    kubernetes: KubernetesClient, spec: dict[str, Any]
) -> None:
    server = created(kubernetes, spec, name=f"lab-{next(NUMBERS)}")
    first = apply_all(kubernetes, server)
    pairs = zip(rendered(server), first, strict=True)
    assert not [f"{live['kind']}: {field}" for wanted, live in pairs for field in differences(wanted, live)]
    for before, after in zip(first, apply_all(kubernetes, server), strict=True):
        # Controllers write status in between, which does not count.
        assert after["metadata"].get("generation") == before["metadata"].get("generation")
        assert after.get("spec") == before.get("spec")


def test_pods_are_admitted_where_only_restricted_ones_are(kubernetes: KubernetesClient) -> None:
    kubernetes.merge("Namespace", kubernetes.namespace, RESTRICTED)
    apply_all(kubernetes, created(kubernetes, {"executors": [dict(AER), dict(GPU)]}))
    pods = eventually(lambda: len(found := kubernetes.list("Pod")) == 3 and found)
    assert {pod["metadata"]["labels"]["app.kubernetes.io/component"] for pod in pods} == {"api", "executor"}


@pytest.fixture
def policy(kubernetes: KubernetesClient) -> Iterator[Callable[[str, str], None]]:
    """Return a function that has the API server refuse pods of the test's namespace unless an expression holds."""
    path = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic"
    name = f"tests-{secrets.token_hex(4)}"
    selector = {"matchLabels": {"kubernetes.io/metadata.name": kubernetes.namespace}}
    rule = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}

    def demand(expression: str, message: str) -> None:
        validation = {"expression": expression, "message": message}
        definition = {
            "metadata": {"name": name},
            "spec": {"matchConstraints": {"resourceRules": [rule]}, "validations": [validation]},
        }
        binding = {
            "metadata": {"name": name},
            "spec": {
                "policyName": name,
                "validationActions": ["Deny"],
                "matchResources": {"namespaceSelector": selector},
            },
        }
        kubernetes.call("POST", f"{path}ies", definition)
        kubernetes.call("POST", f"{path}ybindings", binding)
        container = {"name": "probe", "image": "registry.test/probe:1"}
        probe = {"containers": [container], "securityContext": {"runAsUser": 1}}
        eventually(lambda: message in refusal(kubernetes, probe))

    yield demand
    kubernetes.call("DELETE", f"{path}ybindings/{name}")
    kubernetes.call("DELETE", f"{path}ies/{name}")


def refusal(kubernetes: KubernetesClient, spec: Manifest) -> str:
    """Return why a pod of this specification is refused; nothing if it is not."""
    metadata = {"name": f"probe-{next(NUMBERS)}", "namespace": kubernetes.namespace}
    try:
        kubernetes.create({"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec})
    except RefusedError as error:
        return error.message
    return ""


@pytest.mark.parametrize(
    ("expression", "template"),
    [
        (
            "'example.org/cost-centre' in object.metadata.?labels.orValue({})",
            {"labels": {"example.org/cost-centre": "7"}},
        ),
        # As OpenShift's restricted-v2 does before it fills in what is missing.
        (
            " && ".join(
                f"object.spec.?securityContext.?{field}.orValue(1000650000) >= 1000650000"
                for field in ("runAsUser", "fsGroup")
            ),
            {"userAssignment": "Platform"},
        ),
    ],
    ids=["label", "range of users"],
)
def test_policies_of_the_cluster_can_be_met(
    kubernetes: KubernetesClient, policy: Callable[[str, str], None], expression: str, template: dict[str, Any]
) -> None:
    policy(expression, "not as this cluster wants it")
    apply_all(kubernetes, created(kubernetes, {}))
    failure = eventually(
        lambda: next(
            (
                condition["message"]
                for deployment in kubernetes.list("Deployment")
                for condition in deployment.get("status", {}).get("conditions", ())
                if condition["type"] == "ReplicaFailure"
            ),
            None,
        )
    )
    assert "not as this cluster wants it" in failure
    apply_all(kubernetes, created(kubernetes, {"podTemplate": template}, name="fitting"))
    eventually(lambda: len(kubernetes.list("Pod", selector="app.kubernetes.io/instance=fitting")) == 2)


def test_the_status_is_one_that_the_schema_knows_and_repeats_the_scheduler(kubernetes: KubernetesClient) -> None:
    server = created(kubernetes, {})
    apply_all(kubernetes, server)

    def status() -> Manifest:
        observed = Observed(deployments=kubernetes.list("Deployment"), pods=kubernetes.list("Pod"))
        return observe(server, render_context(), observed, previous={}, now=datetime.now(UTC))

    eventually(lambda: "no nodes available" in status()["executors"][0].get("message", ""))
    path = f"/apis/runtimeserver.dev/v1alpha1/namespaces/{kubernetes.namespace}/runtimeservers/lab/status"
    sent = status()
    written = kubernetes.call(
        "PATCH", f"{path}?fieldValidation=Strict", {"status": sent}, "application/merge-patch+json"
    )
    assert not list(differences(sent, written["status"]))


def test_who_scales_a_deployment_keeps_its_count_until_another_is_asked_for(kubernetes: KubernetesClient) -> None:
    created(kubernetes, {"executors": [{**AER, "replicas": 2}]})
    assert scale_of_aer(kubernetes) == 2
    kubernetes.merge("Deployment", "lab-executor-aer", {"spec": {"replicas": 5}}, "scale", "autoscaler")
    assert [scale_of_aer(kubernetes) for _ in range(2)] == [5, 5]
    ask(kubernetes, replicas=3)
    assert [scale_of_aer(kubernetes) for _ in range(2)] == [3, 3]


def test_an_edit_of_a_count_is_undone(kubernetes: KubernetesClient) -> None:
    created(kubernetes, {"executors": [{**AER, "replicas": 2}]})
    scale_of_aer(kubernetes)
    kubernetes.merge("Deployment", "lab-executor-aer", {"spec": {"replicas": 5}}, manager="kubectl-edit")
    assert scale_of_aer(kubernetes) == 2


def test_suspend_wins_over_who_scales(kubernetes: KubernetesClient) -> None:
    created(kubernetes, {"executors": [{**AER, "replicas": 2}]})
    scale_of_aer(kubernetes)
    kubernetes.merge("Deployment", "lab-executor-aer", {"spec": {"replicas": 5}}, "scale", "autoscaler")
    kubernetes.merge("RuntimeServer", "lab", {"spec": {"suspend": True}})
    assert scale_of_aer(kubernetes) == 0
    kubernetes.merge("RuntimeServer", "lab", {"spec": {"suspend": False}})
    assert scale_of_aer(kubernetes) == 2


def test_a_claim_is_taken_up_again_whatever_its_size_and_class_and_can_be_let_go(kubernetes: KubernetesClient) -> None:
    first = created(kubernetes, {"database": {"sqlite": {"storage": "8Gi", "storageClassName": "fast"}}})
    apply_claim(kubernetes, first)
    again = replace(first, uid="another", spec=runtime_server().spec)
    kept = apply_claim(kubernetes, again)
    assert kept["spec"]["resources"]["requests"]["storage"] == "8Gi"
    assert kept["spec"]["storageClassName"] == "fast"
    assert "ownerReferences" not in kept["metadata"]
    deleting = replace(first, spec=runtime_server({"database": {"sqlite": {"retention": "Delete"}}}).spec)
    assert apply_claim(kubernetes, deleting)["metadata"]["ownerReferences"][0]["uid"] == first.uid
    assert "ownerReferences" not in apply_claim(kubernetes, again)["metadata"]


def test_the_keys_are_a_secret_that_goes_with_its_owner(kubernetes: KubernetesClient) -> None:
    kubernetes.create(keys_secret(created(kubernetes, {}), secrets.token_urlsafe))
    kubernetes.delete("RuntimeServer", "lab")
    # It takes the collector half a minute to learn of a kind that is new.
    eventually(lambda: not kubernetes.find("Secret", "lab-keys"), 90)


def apply_claim(kubernetes: KubernetesClient, server: RuntimeServer) -> Manifest:
    claim = data_claim(server, kubernetes.find("PersistentVolumeClaim", "lab-data"))
    assert claim is not None
    return kubernetes.apply(claim, MANAGER, force=True)


def ask(kubernetes: KubernetesClient, *, replicas: int) -> None:
    kubernetes.merge("RuntimeServer", "lab", {"spec": {"executors": [{**AER, "replicas": replicas}]}})
