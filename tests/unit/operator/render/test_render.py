"""What is rendered for any RuntimeServer."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kit.kubernetes.runtime_servers import (
    AER,
    GPU,
    contexts,
    render_context,
    runtime_server,
    runtime_servers,
    server_container,
    specs,
)
from qiskit_runtime_operator.render import DefaultImages, RenderContext, render
from qiskit_runtime_operator.render.replicas import may_undo_scale, scaled_elsewhere, undoes_scale
from qiskit_runtime_operator.resource.kinds import RENDERED, OptionalApi
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer, is_owned
from qiskit_runtime_operator.resource.names import (
    API_VERSION,
    CONFIG_CHECKSUM,
    MANAGED_BY_LABEL,
    MANAGER,
    REPLICAS_ASKED,
)

CONTEXT = render_context()

Property = Callable[[RuntimeServer, RenderContext], None]
ALWAYS: list[Property] = []


def always(holds: Property) -> Property:
    """Have a property looked at for all RuntimeServers that are drawn: to draw one takes longer than to render it."""
    ALWAYS.append(holds)
    return holds


def of_kind(kind: str, manifests: tuple[Manifest, ...]) -> list[Manifest]:
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def pods(manifests: tuple[Manifest, ...]) -> list[Manifest]:
    return [manifest["spec"]["template"]["spec"] for manifest in of_kind("Deployment", manifests)]


def only(kind: str, manifests: tuple[Manifest, ...], name: str) -> Manifest:
    (found,) = [manifest for manifest in of_kind(kind, manifests) if manifest["metadata"]["name"] == name]
    return found


def values(document: object) -> Iterator[object]:
    children = document.values() if isinstance(document, dict) else document if isinstance(document, list) else ()
    yield document
    for child in children:
        yield from values(child)


@always
def equal_inputs_give_equal_outputs(server: RuntimeServer, context: RenderContext) -> None:
    assert render(server, context) == render(server, context)


@always
def every_deployment_selects_its_own_pods_and_those_of_no_other(server: RuntimeServer, context: RenderContext) -> None:
    deployments = of_kind("Deployment", render(server, context))
    for deployment in deployments:
        selector = deployment["spec"]["selector"]["matchLabels"].items()
        selected = [
            other for other in deployments if selector <= other["spec"]["template"]["metadata"]["labels"].items()
        ]
        assert selected == [deployment]


@always
def names_are_unique_within_their_kind_and_fit_into_labels(server: RuntimeServer, context: RenderContext) -> None:
    manifests = render(server, context)
    identities = [(manifest["kind"], manifest["metadata"]["name"]) for manifest in manifests]
    assert len(identities) == len(set(identities))
    assert all(len(name) <= 63 for _, name in identities)


@always
def everything_is_owned_by_the_runtime_server_and_blocks_no_deletion(
    server: RuntimeServer, context: RenderContext
) -> None:
    for manifest in render(server, context):
        assert is_owned(manifest, server.uid)
        assert manifest["metadata"]["ownerReferences"] == [
            {
                "apiVersion": API_VERSION,
                "kind": "RuntimeServer",
                "name": server.name,
                "uid": server.uid,
                "controller": True,
            }
        ]
        assert manifest["metadata"]["namespace"] == server.namespace
        assert manifest["metadata"]["labels"][MANAGED_BY_LABEL] == MANAGER


@always
def only_known_kinds_are_rendered_and_optional_ones_only_where_they_exist(
    server: RuntimeServer, context: RenderContext
) -> None:
    known = {
        (kind.api_version, kind.kind) for kind in RENDERED if kind.optional is None or kind.optional in context.apis
    }
    assert {(manifest["apiVersion"], manifest["kind"]) for manifest in render(server, context)} <= known


@always
def nothing_is_rendered_that_the_api_server_leaves_out(server: RuntimeServer, context: RenderContext) -> None:
    for manifest in render(server, context):
        for value in values(manifest):
            assert value not in ("", None, []), manifest
            if value == {}:
                assert manifest["kind"] == "Deployment"  # an emptyDir


@always
def pods_fulfil_the_restricted_standard(server: RuntimeServer, context: RenderContext) -> None:
    for pod in pods(render(server, context)):
        security = pod["securityContext"]
        assert security["runAsNonRoot"] is True
        assert security.get("runAsUser", 1) > 0
        assert security["seccompProfile"] == {"type": "RuntimeDefault"}
        assert pod["automountServiceAccountToken"] is False
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        allowed = {"emptyDir", "configMap", "secret", "persistentVolumeClaim", "projected"}
        assert all(volume.keys() & allowed for volume in pod["volumes"])
        own = server_container(pod)["securityContext"]
        assert own["allowPrivilegeEscalation"] is False
        assert own["capabilities"] == {"drop": ["ALL"]}
        assert own["readOnlyRootFilesystem"] is True


@always
def mounts_and_volumes_match(server: RuntimeServer, context: RenderContext) -> None:
    for pod in pods(render(server, context)):
        mounted = [mount["name"] for mount in server_container(pod)["volumeMounts"]]
        assert mounted == [volume["name"] for volume in pod["volumes"] if volume["name"] != "cache"]
        assert len(set(mounted)) == len(mounted)


@always
def secrets_are_named_and_never_written_out(server: RuntimeServer, context: RenderContext) -> None:
    manifests = render(server, context)
    plain = {name: value for config in of_kind("ConfigMap", manifests) for name, value in config["data"].items()}
    for pod in pods(manifests):
        plain |= {item["name"]: item["value"] for item in server_container(pod)["env"] if "value" in item}
    # The address of a hub holds no password: the schema refuses one.
    plain.pop("QRS_AUTH_JUPYTERHUB_URL", None)
    secret = [name for name in plain if name.endswith(("_KEY", "_URL", "_TOKEN", "_PASSWORD"))]
    # A path says nothing.
    assert not [name for name in secret if not plain[name].startswith("/etc/qiskit-runtime-server/")]
    assert not of_kind("Secret", manifests)


@given(runtime_servers, contexts)
def test_what_holds_always_holds_for_any_runtime_server(server: RuntimeServer, context: RenderContext) -> None:
    for holds in ALWAYS:
        holds(server, context)


@pytest.mark.slow
@given(runtime_servers, specs)
def test_the_checksum_changes_exactly_when_the_settings_do(server: RuntimeServer, spec: dict[str, Any]) -> None:
    other = replace(server, spec=runtime_server(spec).spec)
    data, checksums = [], []
    for version in (server, other):
        manifests = render(version, CONTEXT)
        data.append(of_kind("ConfigMap", manifests)[0]["data"])
        deployment = only("Deployment", manifests, f"{server.name}-api")
        checksums.append(deployment["spec"]["template"]["metadata"]["annotations"][CONFIG_CHECKSUM])
    assert (data[0] == data[1]) == (checksums[0] == checksums[1])


@given(server=runtime_servers, context=contexts, suspend=st.booleans(), replicas=st.integers(0, 9))
def test_pods_do_not_roll_for_what_they_do_not_read(
    server: RuntimeServer, context: RenderContext, *, suspend: bool, replicas: int
) -> None:
    spec = replace(
        server.spec,
        executors=tuple(replace(executor, replicas=replicas) for executor in server.spec.executors),
        ingress=None,
        gateway=None,
        suspend=suspend,
    )
    # Without claims there would be no pods.
    apis = context.apis & {OptionalApi.RESOURCE_CLAIM_TEMPLATE}
    elsewhere = replace(context, operator_namespace="other", monitoring_namespaces=("other",), apis=apis)
    before, after = render(server, context), render(replace(server, generation=9, spec=spec), elsewhere)
    templates = [[item["spec"]["template"] for item in of_kind("Deployment", each)] for each in (before, after)]
    assert templates[0] == templates[1]


@always
def suspended_means_no_pods_whoever_scales(server: RuntimeServer, context: RenderContext) -> None:
    suspended = replace(server, spec=replace(server.spec, suspend=True))
    names = {item["metadata"]["name"] for item in of_kind("Deployment", render(server, context))}
    scaled = replace(context, scaled_elsewhere=dict.fromkeys(names, "1"))
    for deployment in of_kind("Deployment", render(suspended, scaled)):
        assert deployment["spec"]["replicas"] == 0


@given(runtime_servers, contexts, st.sampled_from([None, "another"]))
def test_what_would_undo_a_scale_is_what_is_rendered_without_a_number_once_the_scale_is_known(
    server: RuntimeServer, context: RenderContext, asked: str | None
) -> None:
    fields: dict[str, Any] = {"f:spec": {"f:replicas": {}}}
    entry = {"manager": "keda", "operation": "Update", "subresource": "scale", "fieldsV1": fields}
    for deployment in of_kind("Deployment", render(server, context)):
        metadata = deployment["metadata"]
        annotations = {**metadata["annotations"], **({REPLICAS_ASKED: asked} if asked else {})}
        live = {"metadata": {**metadata, "annotations": annotations, "managedFields": [entry]}}
        undone = may_undo_scale(deployment, server) and undoes_scale(deployment, live)
        known = replace(context, scaled_elsewhere=scaled_elsewhere([live]))
        again = only("Deployment", render(server, known), metadata["name"])
        assert undone == ("replicas" in deployment["spec"] and "replicas" not in again["spec"])


@always
def two_processes_never_open_one_sqlite_file(server: RuntimeServer, context: RenderContext) -> None:
    scaled = replace(context, scaled_elsewhere={f"{server.name}-api": server.spec.api.asked})
    api = only("Deployment", render(server, scaled), f"{server.name}-api")
    if server.spec.database.sqlite is not None:
        assert api["spec"]["strategy"] == {"type": "Recreate"}
        assert api["spec"]["replicas"] <= 1
    else:
        assert api["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_another_version_of_the_operator_rolls_the_pods_whose_image_is_not_pinned() -> None:
    pinned = {"image": {"api": "registry.test/pinned:2"}, "executors": [dict(AER), dict(GPU)]}
    images = DefaultImages(api="api:2", executor="executor:2", executor_gpu="gpu:2")
    before, after = (
        {item["metadata"]["name"]: item["spec"]["template"] for item in of_kind("Deployment", manifests)}
        for manifests in (
            render(runtime_server(pinned), CONTEXT),
            render(runtime_server(pinned), replace(CONTEXT, images=images)),
        )
    )
    assert [name for name in before if before[name] != after[name]] == ["lab-executor-aer", "lab-executor-custatevec"]


@pytest.mark.parametrize(
    ("executor", "options"),
    [
        ({"gpu": {"count": 1}}, None),
        ({"gpu": {"count": 4}}, {"devices": [0, 1, 2, 3]}),
        ({"gpu": {"count": 3}}, {"devices": [0, 1]}),
        ({"gpu": {"count": 4}, "options": {"devices": [1]}}, {"devices": [1]}),
        ({"gpu": {"count": 2}, "options": {"host_qubits": 1}}, {"host_qubits": 1}),
        ({"gpu": {"count": 2, "resource": "nvidia.com/mig-1g.10gb"}}, None),
        ({"gpu": {"count": 2, "claims": {"deviceClassName": "gpu.nvidia.com"}}}, {"devices": [0, 1]}),
        ({"gpu": {"count": 2, "claims": {"deviceClassName": "mig.nvidia.com"}}}, None),
        ({"gpu": {"count": 2, "claims": {"templateName": "gpus"}}}, None),
        (
            {"gpu": {"count": 2, "claims": {"templateName": "gpus"}}, "options": {"devices": [0, 1]}},
            {"devices": [0, 1]},
        ),
        (
            {"gpu": {"count": 2}, "options": {"precision": "double"}},
            {"devices": [0, 1], "precision": "double"},
        ),
    ],
)
def test_large_states_are_spread_over_the_gpus_that_a_pod_has(
    executor: dict[str, Any], options: dict[str, Any] | None
) -> None:
    manifests = render(runtime_server({"executors": [{**GPU, **executor}]}), CONTEXT)
    container = server_container(only("Deployment", manifests, "lab-executor-custatevec")["spec"]["template"]["spec"])
    given = {variable["name"]: variable.get("value") for variable in container["env"]}.get("QRS_EXECUTOR_OPTIONS")
    assert (json.loads(given) if given else None) == (options and {"custatevec": options})


@pytest.mark.parametrize(
    ("executor", "nodes"),
    [
        ({"name": "qsim"}, {"kubernetes.io/arch": "amd64"}),
        ({"name": "fast", "type": "qsim", "nodeSelector": {"pool": "a"}}, {"kubernetes.io/arch": "amd64", "pool": "a"}),
        ({"name": "aer", "nodeSelector": {"pool": "a"}}, {"pool": "a"}),
        ({"name": "aer"}, None),
    ],
)
def test_pods_of_qsim_run_where_its_library_does(executor: dict[str, Any], nodes: dict[str, str] | None) -> None:
    manifests = render(runtime_server({"executors": [executor]}), CONTEXT)
    pods = only("Deployment", manifests, f"lab-executor-{executor['name']}")["spec"]["template"]["spec"]
    assert pods.get("nodeSelector") == nodes


def test_options_of_qsim_go_to_qsim() -> None:
    options = {"max_fused_gate_size": 3, "threads": 2}
    manifests = render(runtime_server({"executors": [{"name": "fast", "type": "qsim", "options": options}]}), CONTEXT)
    container = server_container(only("Deployment", manifests, "lab-executor-fast")["spec"]["template"]["spec"])
    given = {variable["name"]: variable.get("value") for variable in container["env"]}["QRS_EXECUTOR_OPTIONS"]
    assert json.loads(given) == {"qsim": options}
    assert container["args"][:2] == ["executor", "qsim"]


def test_a_gpu_pool_rolls_within_the_gpus_that_it_has() -> None:
    manifests = render(runtime_server({"executors": [dict(AER), {**GPU, "gpu": {"count": 2}}]}), CONTEXT)
    gpu = only("Deployment", manifests, "lab-executor-custatevec")["spec"]
    assert gpu["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    (container,) = gpu["template"]["spec"]["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "2"}
    assert container["image"] == CONTEXT.images.executor_gpu


def test_kueue_finds_the_pods_of_an_executor_with_a_queue_and_they_roll_within_its_quota() -> None:
    queued = {**AER, "queueName": "research", "podTemplate": {"labels": {"kueue.x-k8s.io/queue-name": "other"}}}
    manifests = render(runtime_server({"executors": [queued, {"name": "own", "type": "own"}]}), CONTEXT)
    found = {deployment["metadata"]["name"]: deployment for deployment in of_kind("Deployment", manifests)}
    queues = {
        name: [part["metadata"]["labels"].get("kueue.x-k8s.io/queue-name") for part in (one, one["spec"]["template"])]
        for name, one in found.items()
    }
    nothing = [None, None]
    assert queues == {"lab-api": nothing, "lab-executor-aer": ["research"] * 2, "lab-executor-own": nothing}
    assert found["lab-executor-aer"]["spec"]["strategy"]["rollingUpdate"] == {"maxSurge": 0, "maxUnavailable": 1}
    assert "kueue.x-k8s.io/queue-name" not in found["lab-executor-aer"]["spec"]["selector"]["matchLabels"]


def test_the_api_finds_an_executor_while_its_pod_comes_up() -> None:
    service = only("Service", render(runtime_server(), CONTEXT), "lab-executor-aer")["spec"]
    assert (service["clusterIP"], service["publishNotReadyAddresses"]) == ("None", True)


def test_executors_answer_the_api_and_the_monitoring_and_reach_nobody() -> None:
    policy = only("NetworkPolicy", render(runtime_server(), CONTEXT), "lab-executor")["spec"]
    assert policy["policyTypes"] == ["Ingress", "Egress"]
    assert "egress" not in policy
    (api, monitoring) = policy["ingress"]
    assert api["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "api"
    assert api["ports"] == [{"protocol": "TCP", "port": 8080}]
    assert monitoring["ports"] == [{"protocol": "TCP", "port": 9090}]


def test_a_pod_outlives_its_drain() -> None:
    manifests = render(runtime_server({"executors": [{**AER, "drainSeconds": 900}]}), CONTEXT)
    pod = only("Deployment", manifests, "lab-executor-aer")["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"][-2:] == ["--drain", "900s"]
    assert pod["terminationGracePeriodSeconds"] > 900


def test_a_count_that_somebody_else_scaled_is_left_to_them_until_another_is_asked_for() -> None:
    context = render_context(scaled_elsewhere={"lab-executor-aer": "2"})
    for replicas, rendered in ((2, None), (3, 3)):
        server = runtime_server({"executors": [{**AER, "replicas": replicas}]})
        deployment = only("Deployment", render(server, context), "lab-executor-aer")
        assert deployment["spec"].get("replicas") == rendered


def test_an_ingress_tells_a_known_controller_how_large_requests_are_and_users_have_the_last_word() -> None:
    limit = "nginx.ingress.kubernetes.io/proxy-body-size"
    spec: dict[str, Any] = {"auth": {"anonymous": True}, "ingress": {"host": "lab.example.org", "className": "nginx"}}
    ingress = only("Ingress", render(runtime_server(spec), CONTEXT), "lab-api")
    assert ingress["metadata"]["annotations"][limit] == "101m"
    spec["ingress"]["annotations"] = {limit: "1g"}
    assert only("Ingress", render(runtime_server(spec), CONTEXT), "lab-api")["metadata"]["annotations"][limit] == "1g"


@always
def a_roll_out_that_drains_as_asked_is_not_stalled(server: RuntimeServer, context: RenderContext) -> None:
    for manifest in render(server, context):
        if manifest["kind"] == "Deployment":
            pod = manifest["spec"]["template"]["spec"]
            probe = pod["containers"][0]["startupProbe"]
            start = probe["periodSeconds"] * probe["failureThreshold"]
            assert manifest["spec"]["progressDeadlineSeconds"] >= pod["terminationGracePeriodSeconds"] + start


def test_what_is_added_to_pods_is_there_and_ours_has_precedence() -> None:
    general: dict[str, Any] = {
        "labels": {"team": "physics", "tier": "lab"},
        "env": [{"name": "HTTPS_PROXY", "value": "http://proxy"}, {"name": "LANG", "value": "C"}],
        "volumes": [{"name": "certificates", "configMap": {"name": "ca"}}],
        "volumeMounts": [{"name": "certificates", "mountPath": "/etc/ssl/own"}],
        "securityContext": {"supplementalGroups": [2000], "runAsNonRoot": False, "runAsUser": 0},
        "containers": [{"name": "proxy", "image": "registry.test/proxy:1"}],
    }
    aer = {**AER, "podTemplate": {"labels": {"tier": "batch"}, "env": [{"name": "LANG", "value": "C.UTF-8"}]}}
    server = runtime_server({"executors": [aer], "podTemplate": general})
    template = only("Deployment", render(server, CONTEXT), "lab-executor-aer")["spec"]["template"]
    assert {"team": "physics", "tier": "batch"}.items() <= template["metadata"]["labels"].items()
    pod, container = template["spec"], server_container(template["spec"])
    variables = {variable["name"]: variable.get("value") for variable in container["env"]}
    assert {"HTTPS_PROXY": "http://proxy", "LANG": "C.UTF-8"}.items() <= variables.items()
    assert {"name": "certificates", "mountPath": "/etc/ssl/own"} in container["volumeMounts"]
    assert general["volumes"][0] in pod["volumes"]
    assert [item["name"] for item in pod["containers"]] == ["server", "proxy"]
    assert pod["securityContext"]["supplementalGroups"] == [2000]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["runAsUser"] == 10001


def test_the_user_can_be_left_to_the_platform() -> None:
    template = {"userAssignment": "Platform"}
    for pod in pods(render(runtime_server({"podTemplate": template}), CONTEXT)):
        assert not pod["securityContext"].keys() & {"runAsUser", "runAsGroup", "fsGroup"}
        assert pod["securityContext"]["runAsNonRoot"] is True
