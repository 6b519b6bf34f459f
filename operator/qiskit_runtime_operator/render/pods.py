"""What all pods have in common: restricted security, placement, probes, and where the server finds its files."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from qiskit_runtime_operator.render.metadata import labels
from qiskit_runtime_operator.resource.model import Gpu, Manifest, RuntimeServer, Workload
from qiskit_runtime_operator.resource.names import QUEUE_LABEL, SERVER, also, keys_name
from qiskit_runtime_operator.resource.pod_template import PodTemplate, UserAssignment, joined
from qiskit_runtime_operator.resource.ports import HTTP, container_ports

SNAPSHOTS: Final = "/etc/qiskit-runtime-server/snapshots"

# Nobody; its files in volumes belong to the group of the same number.
_USER: Final = 10001
_TMP: Final = "/tmp"  # noqa: S108 - a volume of the pod's own
_STARTUP: Final = timedelta(minutes=10)
# Of the GPUs, within a pod.
_CLAIM: Final = "gpu"
# What a server does after its last job before it is gone.
_FAREWELL: Final = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A volume and where it is mounted."""

    name: str
    path: str
    source: Manifest
    read_only: bool = True

    @property
    def origin(self) -> str:
        """The object that it comes from, as in `Secret lab-tokens`."""
        ((kind, source),) = self.source.items()
        if kind == "projected":
            return "ConfigMap kube-root-ca.crt"
        return (
            f"{kind[0].upper()}{kind[1:]} {source.get('name') or source.get('secretName') or source.get('claimName')}"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Where a pod says how it is.

    Attributes:
        port: The name of the port.
        tls: Whether it speaks TLS there; a kubelet believes any certificate, and shows none.
    """

    port: str = HTTP
    tls: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Pods:
    """The pods of one Deployment, where they differ from others; each has one container of ours.

    Attributes:
        name: The Deployment's.
        selector: Labels that no others have.
        workload: How many, and where.
        port: Where they serve HTTP.
        probe: Where they say how they are.
        env: Variables by name: a value, or where it comes from.
        env_from: A ConfigMap with further variables.
        gpu: What part of a GPU node each gets.
        claim_template: From which ResourceClaimTemplate the claim of each to its GPUs is made, if it has one.
        queue: The LocalQueue of Kueue whose quota each needs.
        stop_delay: How long they go on as if nothing had happened when they are to stop.
        drain: How long jobs may go on after that.
    """

    name: str
    selector: Mapping[str, str]
    workload: Workload
    image: str
    args: tuple[str, ...]
    port: int
    probe: Probe = Probe()
    env: Mapping[str, str | Manifest]
    env_from: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    volumes: tuple[Volume, ...] = ()
    service_account: str
    gpu: Gpu | None = None
    claim_template: str | None = None
    runtime_class_name: str | None = None
    queue: str | None = None
    stop_delay: timedelta = timedelta()
    drain: timedelta

    @property
    def queue_labels(self) -> Mapping[str, str]:
        """What Kueue finds them by.

        It asks for the label on the pods, which it then holds back one by one; and, where it manages Deployments
        (integration `deployment`), on these, which it then hands down to their pods.
        """
        return {} if self.queue is None else {QUEUE_LABEL: self.queue}

    @property
    def grace(self) -> timedelta:
        """How long Kubernetes lets a pod take to end."""
        return self.stop_delay + self.drain + _FAREWELL

    @property
    def patience(self) -> timedelta:
        """How long one step of a roll-out may take: an old pod ends as slowly as it may, and a new one starts."""
        return self.grace + _STARTUP


def pod_template(server: RuntimeServer, pods: Pods) -> Manifest:
    """Return the template of the pods: the user's with our own fields on top.

    What is ours fulfils the restricted Pod Security Standard.
    """
    added = pods.workload.pod_template.with_defaults(server.spec.pod_template)
    return {
        "metadata": _present(
            {
                "labels": {**added.labels, **pods.queue_labels, **labels(pods.selector)},
                "annotations": {**added.annotations, **pods.annotations},
            }
        ),
        "spec": _present(
            {
                "serviceAccountName": pods.service_account,
                "automountServiceAccountToken": False,
                # Variables that Kubernetes makes from the names of Services could be taken for settings.
                "enableServiceLinks": False,
                "securityContext": {**added.security_context, **_pod_security(added)},
                "hostUsers": added.host_users,
                "imagePullSecrets": [{"name": name} for name in server.spec.image.pull_secrets],
                "terminationGracePeriodSeconds": _seconds(pods.grace),
                **_placement(pods),
                "affinity": dict(added.affinity),
                "schedulerName": added.scheduler_name,
                "resourceClaims": _resource_claims(pods),
                "initContainers": list(added.init_containers),
                "containers": [_container(server, pods, added), *added.containers],
                "volumes": list(
                    joined(added.volumes, ({"name": volume.name, **volume.source} for volume in _volumes(pods)))
                ),
            }
        ),
    }


def snapshot_volumes(server: RuntimeServer) -> tuple[Volume, ...]:
    """Return one folder for each ConfigMap with devices."""
    return tuple(
        Volume(
            name=f"snapshots-{index}",
            path=f"{SNAPSHOTS}/{snapshot.config_map}",
            source={"configMap": {"name": snapshot.config_map}},
        )
        for index, snapshot in enumerate(server.spec.backends.snapshots)
    )


def snapshot_settings(server: RuntimeServer) -> dict[str, str]:
    """Return the variable that points at those folders."""
    return {"QRS_SNAPSHOTS": SNAPSHOTS} if server.spec.backends.snapshots else {}


def key_settings(server: RuntimeServer, *keys: str) -> dict[str, Manifest]:
    """Return the variables with keys of the RuntimeServer; of each kind there is a second one while it is changed."""
    name = keys_name(server.name)
    first = {_setting_of(key): {"secretKeyRef": {"name": name, "key": key}} for key in keys}
    second = {
        _setting_of(also(key)): {"secretKeyRef": {"name": name, "key": also(key), "optional": True}} for key in keys
    }
    return {**first, **second}


def _setting_of(key: str) -> str:
    return f"QRS_{key.upper().replace('-', '_')}"


def _placement(pods: Pods) -> Manifest:
    workload = pods.workload
    return {
        "nodeSelector": dict(workload.node_selector),
        "tolerations": list(workload.tolerations),
        "topologySpreadConstraints": _topology_spread(pods),
        "priorityClassName": workload.priority_class_name,
        "runtimeClassName": pods.runtime_class_name,
    }


def _topology_spread(pods: Pods) -> list[Manifest]:
    own = {"labelSelector": {"matchLabels": dict(pods.selector)}}
    by_node = {"maxSkew": 1, "topologyKey": "kubernetes.io/hostname", "whenUnsatisfiable": "ScheduleAnyway"}
    return [{**own, **constraint} for constraint in pods.workload.topology_spread_constraints or (by_node,)]


def _container(server: RuntimeServer, pods: Pods, added: PodTemplate) -> Manifest:
    own = [_variable(name, value) for name, value in {"HOME": _TMP, **pods.env}.items()]
    mounts = [_mount(volume) for volume in _volumes(pods)]
    return _present(
        {
            "name": SERVER,
            "image": pods.image,
            "imagePullPolicy": server.spec.image.pull_policy.value,
            "command": ["qiskit-runtime-server"],
            "args": list(pods.args),
            "ports": container_ports(pods.port),
            "env": list(joined(added.env, own)),
            # Of two that have the same variable, the last one counts.
            "envFrom": [*added.env_from, *([{"configMapRef": {"name": pods.env_from}}] if pods.env_from else [])],
            "resources": _resources(pods),
            "volumeMounts": list(joined(added.volume_mounts, mounts, key="mountPath")),
            "startupProbe": _probe(pods.probe, "live", period=1, failures=_seconds(_STARTUP)),
            "livenessProbe": _probe(pods.probe, "live", period=10, failures=6),
            "readinessProbe": _probe(pods.probe, "ready", period=5, failures=3),
            "lifecycle": _lifecycle(pods.stop_delay),
            # A server that cannot start says why in its last line; the status repeats it.
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
                "readOnlyRootFilesystem": True,
            },
        }
    )


def _resources(pods: Pods) -> Manifest:
    asked = pods.workload.resources
    if pods.claim_template:
        return _present({"requests": asked.requests, "limits": asked.limits, "claims": [{"name": _CLAIM}]})
    gpus = {pods.gpu.resource: str(pods.gpu.count)} if pods.gpu else {}
    # What cannot be shared must be asked for as much as it is limited.
    return _present({"requests": {**asked.requests, **gpus}, "limits": {**asked.limits, **gpus}})


def _resource_claims(pods: Pods) -> list[Manifest]:
    return [{"name": _CLAIM, "resourceClaimTemplateName": pods.claim_template}] if pods.claim_template else []


def _volumes(pods: Pods) -> tuple[Volume, ...]:
    return Volume(name="tmp", path=_TMP, source={"emptyDir": {}}, read_only=False), *pods.volumes


def _mount(volume: Volume) -> Manifest:
    mount: Manifest = {"name": volume.name, "mountPath": volume.path}
    return {**mount, "readOnly": True} if volume.read_only else mount


def _variable(name: str, value: str | Manifest) -> Manifest:
    return {"name": name, "value": value} if isinstance(value, str) else {"name": name, "valueFrom": value}


def _probe(probe: Probe, endpoint: str, *, period: int, failures: int) -> Manifest:
    scheme = {"scheme": "HTTPS"} if probe.tls else {}
    return {
        "httpGet": {"path": f"/health/{endpoint}", "port": probe.port, **scheme},
        "periodSeconds": period,
        "timeoutSeconds": 5,
        "failureThreshold": failures,
    }


def _lifecycle(stop_delay: timedelta) -> Manifest | None:
    return {"preStop": {"sleep": {"seconds": _seconds(stop_delay)}}} if stop_delay else None


def _pod_security(added: PodTemplate) -> Manifest:
    # OpenShift gives each namespace a range of users, and refuses pods that name one outside of it.
    fixed = added.user_assignment is not UserAssignment.PLATFORM
    user = {"runAsUser": _USER, "runAsGroup": _USER, "fsGroup": _USER} if fixed else {}
    return {
        "runAsNonRoot": True,
        **user,
        "fsGroupChangePolicy": "OnRootMismatch",
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _seconds(duration: timedelta) -> int:
    return int(duration.total_seconds())


def _present(parts: Mapping[str, Any]) -> Manifest:
    """Return the parts that there are: the API server leaves empty ones out."""
    return {key: value for key, value in parts.items() if value not in (None, [], {}, ())}
