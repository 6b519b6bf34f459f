"""How pods claim their GPUs by Dynamic Resource Allocation."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest

from kit.kubernetes.runtime_servers import AER, GPU, render_context, runtime_server, server_container
from qiskit_runtime_operator.errors import InvalidSpecError
from qiskit_runtime_operator.render import render
from qiskit_runtime_operator.resource.kinds import OptionalApi
from qiskit_runtime_operator.resource.model import Manifest

CONTEXT = render_context()
LIMITED = {"limits": {"memory": "8Gi"}}
CLASS = {"deviceClassName": "gpu.nvidia.com", "selectors": ["device.attributes['gpu.nvidia.com'].type == 'gpu'"]}


def of_kind(kind: str, manifests: tuple[Manifest, ...]) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def deployment(manifests: tuple[Manifest, ...], executor: str = "custatevec") -> Manifest:
    (found,) = [
        one for one in of_kind("Deployment", manifests) if one["metadata"]["name"] == f"lab-executor-{executor}"
    ]
    return found


def claiming(claims: dict[str, Any], apis: Iterable[OptionalApi] = OptionalApi) -> tuple[dict[str, Any], ...]:
    """Return the manifests for an executor whose pods claim two GPUs."""
    spec = {"executors": [dict(AER), {**GPU, "gpu": {"count": 2, "claims": claims}, "resources": LIMITED}]}
    return render(runtime_server(spec), replace(CONTEXT, apis=frozenset(apis)))


@pytest.mark.parametrize(
    ("claims", "template"), [(CLASS, "lab-executor-custatevec"), ({"templateName": "gpus"}, "gpus")]
)
def test_a_pod_claims_its_gpus_in_place_of_an_extended_resource(claims: dict[str, Any], template: str) -> None:
    spec = deployment(claiming(claims))["spec"]
    pod = spec["template"]["spec"]
    (claim,) = pod["resourceClaims"]
    assert claim["resourceClaimTemplateName"] == template
    assert server_container(pod)["resources"] == {**LIMITED, "claims": [{"name": claim["name"]}]}
    assert server_container(pod)["image"] == CONTEXT.images.executor_gpu
    assert spec["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    other = deployment(claiming(claims), "aer")["spec"]["template"]["spec"]
    assert "resourceClaims" not in other
    assert "claims" not in server_container(other).get("resources", {})


def test_for_a_device_class_there_is_a_template_before_the_pods_that_need_it() -> None:
    manifests = claiming(CLASS)
    (template,) = of_kind("ResourceClaimTemplate", manifests)
    (request,) = template["spec"]["spec"]["devices"]["requests"]
    selectors = [{"cel": {"expression": selector}} for selector in CLASS["selectors"]]
    exactly = {"deviceClassName": "gpu.nvidia.com", "allocationMode": "ExactCount", "count": 2, "selectors": selectors}
    assert request["exactly"] == exactly
    assert template["metadata"]["ownerReferences"][0]["controller"]
    assert manifests.index(template) < manifests.index(deployment(manifests))
    assert not of_kind("ResourceClaimTemplate", claiming({"templateName": "gpus"}))


def test_pods_roll_when_they_claim_something_else() -> None:
    def pods(claims: dict[str, Any]) -> dict[str, Any]:
        return dict(deployment(claiming(claims))["spec"]["template"])

    assert pods(CLASS) == pods(dict(CLASS))
    assert pods(CLASS) != pods({"deviceClassName": "gpu.nvidia.com"})


def test_a_cluster_without_claims_gets_no_pods_that_would_run_without_their_gpu() -> None:
    manifests = claiming(CLASS, apis=())
    names = {one["metadata"]["name"] for one in of_kind("Deployment", manifests)}
    assert names == {"lab-api", "lab-executor-aer"}
    assert not of_kind("ResourceClaimTemplate", manifests)


@pytest.mark.parametrize("claims", [{}, {"templateName": "gpus", **CLASS}])
def test_claims_that_got_past_an_older_schema_name_one_of_the_two(claims: dict[str, Any]) -> None:
    with pytest.raises(
        InvalidSpecError, match=r"executors\[1\].gpu.claims: give either templateName or deviceClassName"
    ):
        claiming(claims)
