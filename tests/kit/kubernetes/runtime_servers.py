"""RuntimeServers for tests: the smallest one, and any that the schema allows."""

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st

from qiskit_runtime_operator.render import DefaultImages, RenderContext
from qiskit_runtime_operator.resource.kinds import OptionalApi
from qiskit_runtime_operator.resource.model import RuntimeServer

UID = "0b3c1c6e-6d1e-4d3e-9f55-0d8f2d6f7a10"
IMAGES = DefaultImages(
    api="registry.test/api:1", executor="registry.test/executor:1", executor_gpu="registry.test/gpu:1"
)
AER: Mapping[str, Any] = {"name": "aer", "type": "aer"}
GPU: Mapping[str, Any] = {"name": "custatevec", "type": "custatevec", "gpu": {}}


def body(spec: Mapping[str, Any] | None = None, *, name: str = "lab", uid: str = UID) -> dict[str, Any]:
    """Return a RuntimeServer as the API server gives it out."""
    return {
        "apiVersion": "runtimeserver.dev/v1alpha1",
        "kind": "RuntimeServer",
        "metadata": {"name": name, "namespace": "research", "uid": uid, "generation": 1},
        "spec": {"executors": [dict(AER)], **(spec or {})},
    }


def runtime_server(spec: Mapping[str, Any] | None = None, *, name: str = "lab", uid: str = UID) -> RuntimeServer:
    """Return a RuntimeServer with one executor, unless `spec` says otherwise."""
    return RuntimeServer.from_object(body(spec, name=name, uid=uid))


def server_container(pod: Mapping[str, Any]) -> dict[str, Any]:
    """Return the container of the pod's specification that the operator makes."""
    (container,) = [container for container in pod["containers"] if container["name"] == "server"]
    return dict(container)


def render_context(**changes: Any) -> RenderContext:
    """Return what rendering depends on, in a cluster that has every optional API."""
    known: dict[str, Any] = {
        "images": IMAGES,
        "operator_namespace": "qiskit-system",
        "monitoring_namespaces": ("monitoring",),
        "apis": frozenset(OptionalApi),
    }
    return RenderContext(**known | changes)


_names = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
_labels = st.dictionaries(_names, _names, max_size=2)
# What is asked for may not exceed what it is limited to.
_resources = st.fixed_dictionaries(
    {},
    optional={
        "requests": st.fixed_dictionaries(
            {}, optional={"cpu": st.sampled_from([1, "0.5", "500m"]), "memory": st.sampled_from(["1024Mi", "0.5Gi"])}
        ),
        "limits": st.fixed_dictionaries(
            {}, optional={"cpu": st.sampled_from([2, "1.5", "4000m"]), "memory": st.sampled_from(["1.5Gi", "2G"])}
        ),
    },
)
_tolerations = st.lists(
    st.fixed_dictionaries(
        {"operator": st.just("Exists")},
        optional={"key": _names, "effect": st.sampled_from(["NoSchedule", "NoExecute"])},
    ),
    max_size=2,
)
_pod_template = st.fixed_dictionaries(
    {},
    optional={
        "labels": st.just({"example.org/cost-centre": "physics"}),
        "annotations": _labels,
        "affinity": st.just(
            {
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 1,
                            "podAffinityTerm": {"topologyKey": "zone", "labelSelector": {"matchLabels": {"a": "b"}}},
                        }
                    ]
                }
            }
        ),
        "schedulerName": _names,
        "hostUsers": st.booleans(),
        "userAssignment": st.sampled_from(["Fixed", "Platform"]),
        "securityContext": st.just({"supplementalGroups": [2000]}),
        "env": st.lists(
            st.fixed_dictionaries({"name": _names, "valueFrom": st.just({"secretKeyRef": {"name": "a", "key": "b"}})}),
            max_size=2,
            unique_by=lambda variable: str(variable["name"]),
        ),
        "envFrom": st.lists(st.just({"configMapRef": {"name": "more"}}), max_size=1),
        "volumes": st.just([{"name": "cache", "emptyDir": {}}]),
        "initContainers": st.just([{"name": "prepare", "image": "registry.test/prepare:1", "command": ["true"]}]),
        "containers": st.just([{"name": "proxy", "image": "registry.test/proxy:1"}]),
    },
)
_workload = {
    "podTemplate": _pod_template,
    "replicas": st.integers(0, 20),
    "resources": _resources,
    "settings": st.dictionaries(st.sampled_from(["QRS_LOG_LEVEL", "QRS_LEASE"]), st.just("30"), max_size=2),
    "nodeSelector": _labels,
    "tolerations": _tolerations,
    "priorityClassName": _names,
    "topologySpreadConstraints": st.lists(
        st.fixed_dictionaries(
            {"maxSkew": st.integers(1, 3), "topologyKey": _names, "whenUnsatisfiable": st.just("DoNotSchedule")}
        ),
        max_size=1,
    ),
}
_claims = st.fixed_dictionaries({"templateName": _names}) | st.fixed_dictionaries(
    {"deviceClassName": st.sampled_from(["gpu.nvidia.com", "mig.nvidia.com"])},
    optional={"selectors": st.lists(st.just("device.attributes['gpu.nvidia.com'].type == 'gpu'"), max_size=2)},
)
_executor = st.fixed_dictionaries(
    {"name": _names},
    optional={
        **_workload,
        "type": st.sampled_from(["aer", "qsim", "custatevec", "own"]),
        "image": st.just("registry.test/own:3"),
        "options": st.dictionaries(_names, st.booleans() | st.integers(0, 9) | _names, max_size=2),
        "slots": st.integers(1, 8),
        "drainSeconds": st.integers(0, 86400),
        "gpu": st.fixed_dictionaries(
            {},
            optional={
                "count": st.integers(1, 8),
                "resource": st.sampled_from(["nvidia.com/gpu", "nvidia.com/mig-1g.10gb"]),
            },
        )
        | st.fixed_dictionaries({"claims": _claims}, optional={"count": st.integers(1, 8)}),
        "runtimeClassName": st.just("nvidia"),
        "queueName": _names,
    },
)
_autoscale = st.fixed_dictionaries(
    {"maxReplicas": st.integers(3, 9)},
    optional={
        "minReplicas": st.integers(0, 3),
        "jobsPerReplica": st.integers(1, 4),
        "idleSeconds": st.integers(0, 600),
        "scaleUpDelaySeconds": st.integers(0, 60),
        "scaleDownPercent": st.integers(1, 100),
    },
)


def _autoscaled(executor: dict[str, Any], autoscale: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in executor.items() if name != "replicas"} | {"autoscale": autoscale}


_executors = st.lists(
    _executor | st.builds(_autoscaled, _executor, _autoscale),
    min_size=1,
    max_size=3,
    unique_by=lambda executor: executor["name"],
)
_secret_key = st.fixed_dictionaries({"name": _names}, optional={"key": _names})
_issuers: dict[str, st.SearchStrategy[Any]] = {
    "tokensSecretRef": st.fixed_dictionaries({"name": _names}),
    "kubernetes": st.sampled_from(
        [{"audience": "https://lab"}, {"audience": "lab", "namespaces": ["lab-*", "shared"]}]
    ),
    "oidc": st.fixed_dictionaries(
        {"issuer": st.just("https://id.example.org"), "audience": st.just("lab"), "clientId": _names},
        optional={"groupsClaim": st.just("roles"), "clientSecretRef": _secret_key, "scopes": st.just(["groups"])},
    ),
    "jupyterHub": st.just({"url": "http://hub:8081/hub/api"}),
}
_databases = st.one_of(
    st.fixed_dictionaries(
        {
            "sqlite": st.fixed_dictionaries(
                {},
                optional={
                    "storage": st.sampled_from(["5Gi", "1024Mi", "1T"]),
                    "storageClassName": _names,
                    "retention": st.sampled_from(["Retain", "Delete"]),
                },
            )
        }
    ),
    st.fixed_dictionaries(
        {
            "postgresql": st.fixed_dictionaries(
                {"urlSecretRef": _secret_key},
                optional={"directUrlSecretRef": _secret_key, "preparedStatements": st.booleans()},
            )
        }
    ),
)
_exposures: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.fixed_dictionaries(
        {
            "ingress": st.fixed_dictionaries(
                {"host": st.just("lab.example.org")},
                optional={
                    "className": st.sampled_from(["nginx", "haproxy", "traefik"]),
                    "tlsSecretName": _names,
                    "annotations": _labels,
                },
            )
        }
    ),
    st.fixed_dictionaries(
        {
            "gateway": st.fixed_dictionaries(
                {"parentRefs": st.lists(st.fixed_dictionaries({"name": _names}), min_size=1, max_size=2)},
                optional={"hostnames": st.just(["lab.example.org"]), "scheme": st.sampled_from(["http", "https"])},
            )
        }
    ),
)
_rest = st.fixed_dictionaries(
    {"executors": _executors},
    optional={
        "image": st.fixed_dictionaries(
            {},
            optional={
                "api": st.just("registry.test/pinned:2"),
                "executorGpu": st.just("registry.test/pinned-gpu:2"),
                "pullPolicy": st.sampled_from(["Always", "IfNotPresent", "Never"]),
                "pullSecrets": st.lists(_names, max_size=2, unique=True),
            },
        ),
        "api": st.fixed_dictionaries({}, optional=_workload),
        "backends": st.fixed_dictionaries(
            {},
            optional={
                "autoExecutors": st.just([]),
                "include": st.lists(st.sampled_from(["fake_*", "*", "lab"]), min_size=1, max_size=2, unique=True),
                "snapshots": st.lists(
                    st.fixed_dictionaries({"configMap": _names}), max_size=2, unique_by=lambda item: item["configMap"]
                ),
            },
        ),
        "database": _databases,
        "auth": st.one_of(
            st.just({"anonymous": True}),
            st.fixed_dictionaries({"tokensSecretRef": st.fixed_dictionaries({"name": _names})}),
            st.fixed_dictionaries({}, optional=_issuers).filter(bool),
        ),
        "tls": st.fixed_dictionaries(
            {},
            optional={
                "secretName": _names,
                "executors": st.fixed_dictionaries(
                    {}, optional={"issuerRef": st.fixed_dictionaries({"name": _names}, optional={"kind": _names})}
                ),
            },
        ),
        "podTemplate": _pod_template,
        "suspend": st.booleans(),
    },
)


def _allowed(rest: dict[str, Any], exposure: dict[str, Any]) -> dict[str, Any]:
    """Return the spec that they make, with what the schema's rules ask for."""
    spec = {**rest, **exposure}
    for executor in spec["executors"]:
        kind = executor.setdefault("type", "own")
        if kind in {"aer", "qsim"}:
            executor.pop("gpu", None)
        if kind == "custatevec":
            executor.setdefault("gpu", {})
    if "postgresql" not in spec.get("database", {}) and "api" in spec:
        spec["api"]["replicas"] = min(spec["api"].get("replicas", 1), 1)
    if exposure:
        spec.setdefault("auth", {"anonymous": True})
    return spec


specs = st.builds(_allowed, _rest, _exposures)
"""Any spec that the schema allows."""

runtime_servers = st.builds(lambda name, spec: runtime_server(spec, name=name), _names, specs)
"""Any RuntimeServer that the schema allows."""

contexts = st.builds(
    render_context,
    monitoring_namespaces=st.sampled_from([(), ("monitoring",), ("monitoring", "keda")]),
    apis=st.frozensets(st.sampled_from(OptionalApi)),
    json_logs=st.booleans(),
)
"""Any context with images and an operator's namespace."""
