"""A RuntimeServer, parsed once: what the rest of the operator decides from.

The schema in crds/ has the same fields and defaults; a test compares them. It describes the fields, and its rules say
what does not go together; here are only what those who got past an older schema could get wrong.
"""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import BeforeValidator, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from qiskit_runtime_operator.errors import InvalidSpecError
from qiskit_runtime_operator.resource.auth import Auth
from qiskit_runtime_operator.resource.names import (
    API_VERSION,
    KIND,
    MAX_NAME,
    PAUSED,
    RECONCILE,
    ROTATE_KEYS,
    Key,
    executor_name,
)
from qiskit_runtime_operator.resource.pod_template import STRICT, PodPart, PodTemplate
from qiskit_runtime_operator.resource.quantities import canonical
from qiskit_runtime_operator.resource.tls import Tls

Manifest = dict[str, Any]

# What nodes, and NVIDIA's driver for Dynamic Resource Allocation, call GPUs that are not sliced.
WHOLE_GPUS: Final = "nvidia.com/gpu"
_WHOLE_GPU_CLASS: Final = "gpu.nvidia.com"
# What a CRD that is newer than this operator may bring along: a field, or a member of an enumeration.
_UNKNOWN: Final = ("unexpected_keyword_argument", "enum")


Seconds = Annotated[timedelta, Field(ge=timedelta())]
Quantity = Annotated[str, BeforeValidator(canonical)]


class PullPolicy(StrEnum):
    """When a node fetches an image."""

    ALWAYS = "Always"
    IF_NOT_PRESENT = "IfNotPresent"
    NEVER = "Never"


class Retention(StrEnum):
    """What becomes of the data when the RuntimeServer is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class Scheme(StrEnum):
    """How clients speak to the way in, which only the owner of a Gateway or of an ingress controller knows."""

    HTTP = "http"
    HTTPS = "https"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Images:
    """Images in place of the operator's own."""

    api: str | None = None
    executor: str | None = None
    executor_gpu: str | None = None
    pull_policy: PullPolicy = PullPolicy.IF_NOT_PRESENT
    pull_secrets: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Resources:
    """What a container asks for, by the resource's name."""

    requests: Mapping[str, Quantity] = Field(default_factory=dict)
    limits: Mapping[str, Quantity] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class GpuClaims:
    """How each pod claims its GPUs by Dynamic Resource Allocation: by the user's template, or by a device class."""

    template_name: str | None = None
    device_class_name: str | None = None
    selectors: tuple[str, ...] = ()

    def __str__(self) -> str:
        name = self.template_name
        return f"DeviceClass {self.device_class_name}" if name is None else f"ResourceClaimTemplate {name}"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Gpu:
    """The part of a GPU node that each pod gets: `claims`, where they are given, take the place of `resource`."""

    count: Annotated[int, Field(ge=1)] = 1
    resource: str = WHOLE_GPUS
    claims: GpuClaims | None = None

    @property
    def whole(self) -> bool:
        """Whether they are known to be GPUs that are not sliced."""
        claims = self.claims
        return self.resource == WHOLE_GPUS if claims is None else claims.device_class_name == _WHOLE_GPU_CLASS


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Workload:
    """What all pods have: how many there are, where, and how they are set."""

    replicas: Annotated[int, Field(ge=0)] = 1
    resources: Resources = Resources()
    settings: Mapping[str, str] = Field(default_factory=dict)
    node_selector: Mapping[str, str] = Field(default_factory=dict)
    tolerations: tuple[PodPart, ...] = ()
    topology_spread_constraints: tuple[PodPart, ...] = ()
    priority_class_name: str | None = None
    pod_template: PodTemplate = PodTemplate()

    @property
    def asked(self) -> str:
        """The number of pods that is asked for, or its bounds: another word, when something else is asked for."""
        return str(self.replicas)

    @property
    def first_replicas(self) -> int:
        """How many pods there are before anything is known of their work."""
        return self.replicas


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Api(Workload):
    """What clients talk to."""

    resources: Resources = Resources(requests={"cpu": "250m", "memory": "256Mi"})


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Autoscale:
    """Bounds and delays of an executor whose number of pods follows its jobs; `scaling.decision` says how."""

    max_replicas: Annotated[int, Field(ge=1)]
    min_replicas: Annotated[int, Field(ge=0)] = 0
    jobs_per_replica: Annotated[int, Field(ge=1)] | None = None
    idle_seconds: Annotated[int, Field(ge=0)] = 300
    scale_up_delay_seconds: Annotated[int, Field(ge=0)] = 0
    scale_down_percent: Annotated[int, Field(ge=1, le=100)] = 100


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Executor(Workload):
    """One pool of simulators."""

    name: str
    type: str = ""
    autoscale: Autoscale | None = None
    image: str | None = None
    options: Mapping[str, Any] = Field(default_factory=dict)
    slots: Annotated[int, Field(ge=1)] = 1
    drain_seconds: Seconds = timedelta(seconds=600)
    gpu: Gpu | None = None
    runtime_class_name: str | None = None
    queue_name: str | None = None

    @property
    def kind(self) -> str:
        """Which installed executor runs in it."""
        return self.type or self.name

    @property
    def asked(self) -> str:
        """See `Workload.asked`."""
        bounds = self.autoscale
        return str(self.replicas) if bounds is None else f"{bounds.min_replicas}-{bounds.max_replicas}"

    @property
    def first_replicas(self) -> int:
        """See `Workload.first_replicas`."""
        return self.replicas if self.autoscale is None else self.autoscale.min_replicas


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Snapshot:
    """Where further devices come from."""

    config_map: str


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Backends:
    """Which devices are offered."""

    include: tuple[str, ...] = ("*",)
    default_executor: str | None = None
    auto_executors: tuple[str, ...] | None = None
    aliases: Mapping[str, str] = Field(default_factory=dict)
    snapshots: tuple[Snapshot, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class SecretKey:
    """A value in a Secret."""

    name: str
    key: str = "url"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Sqlite:
    """A database in a volume of the RuntimeServer's own."""

    storage: Quantity = "5Gi"
    storage_class_name: str | None = None
    retention: Retention = Retention.RETAIN


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Postgresql:
    """A database elsewhere."""

    url_secret_ref: SecretKey
    direct_url_secret_ref: SecretKey | None = None
    prepared_statements: bool = True


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Database:
    """Where jobs are kept: one of the two."""

    sqlite: Sqlite | None = None
    postgresql: Postgresql | None = None


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Ingress:
    """How the server is reached from outside, by an ingress controller."""

    host: str
    scheme: Scheme | None = None
    class_name: str | None = None
    tls_secret_name: str | None = None
    annotations: Mapping[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Gateway:
    """How the server is reached from outside, by a Gateway."""

    parent_refs: tuple[PodPart, ...]
    hostnames: tuple[str, ...] = ()
    scheme: Scheme = Scheme.HTTPS


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class Spec:
    """What somebody asked for."""

    executors: tuple[Executor, ...]
    image: Images = Images()
    api: Api = Api()
    backends: Backends = Backends()
    database: Database = Database(sqlite=Sqlite())
    auth: Auth = Auth()
    ingress: Ingress | None = None
    gateway: Gateway | None = None
    tls: Tls = Tls()
    pod_template: PodTemplate = PodTemplate()
    suspend: bool = False


_SPEC: Final = TypeAdapter(Spec)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeServer:
    """One RuntimeServer.

    Attributes:
        paused: Whether an annotation asks the operator to write nothing for it but its status.
        rotate_keys: What the annotation says that asks for other keys whenever it says something else than before.
        ignored: The fields of the object's spec that this operator does not know, as in `spec.api.colour`, or whose
            value it does not know: those have their default in `spec`. The CRD is newer than the operator.
    """

    name: str
    namespace: str
    uid: str
    generation: int
    spec: Spec
    paused: bool = False
    rotate_keys: str | None = None
    ignored: tuple[str, ...] = ()

    @classmethod
    def from_object(cls, body: Mapping[str, Any]) -> Self:
        """Return the RuntimeServer that the API server describes in `body`.

        Raises:
            InvalidSpecError: If its spec makes no sense; the message names the fields.
        """
        metadata = body["metadata"]
        spec, ignored = _understood(body["spec"])
        reconcile = metadata.get("annotations", {}).get(RECONCILE)
        if reconcile not in (None, PAUSED):
            ignored = (*ignored, f"the annotation {RECONCILE}={reconcile} (only {PAUSED} pauses it)")
        server = cls(
            name=metadata["name"],
            namespace=metadata["namespace"],
            uid=metadata["uid"],
            generation=metadata["generation"],
            spec=spec,
            paused=is_paused(body),
            rotate_keys=metadata.get("annotations", {}).get(ROTATE_KEYS),
            ignored=ignored,
        )
        _check(server)
        return server

    @property
    def key(self) -> Key:
        """Which RuntimeServer it is."""
        return Key(self.namespace, self.name)

    @property
    def owner(self) -> Manifest:
        """The owner reference of what goes when the RuntimeServer goes."""
        # Without blockOwnerDeletion: the operator may not set finalizers, and needs none.
        return {"apiVersion": API_VERSION, "kind": KIND, "name": self.name, "uid": self.uid, "controller": True}


def is_paused(body: Mapping[str, Any]) -> bool:
    """Tell whether an annotation asks the operator to write nothing for a RuntimeServer but its status."""
    return bool(body["metadata"].get("annotations", {}).get(RECONCILE) == PAUSED)


def is_owned(manifest: Manifest, uid: str) -> bool:
    """Tell whether the object's controller is the RuntimeServer with this UID."""
    owners = manifest["metadata"].get("ownerReferences", [])
    return any(owner["uid"] == uid and owner.get("controller", False) for owner in owners)


def _understood(spec: Mapping[str, Any]) -> tuple[Spec, tuple[str, ...]]:
    """Return what is understood of `spec`, and the fields that are not."""
    ignored: list[str] = []
    while True:
        try:
            return _SPEC.validate_python(spec), tuple(sorted(ignored))
        except ValidationError as error:
            problems = error.errors()
            unknown = [problem["loc"] for problem in problems if problem["type"] in _UNKNOWN]
            if not unknown:
                raise InvalidSpecError("; ".join(map(_problem, problems))) from error
        ignored += map(_path, unknown)
        for location in unknown:
            spec = _without(spec, location)


def _without(part: Any, location: Sequence[int | str]) -> Any:  # noqa: ANN401 - any part of a spec
    """Return a copy of a part of a spec that lacks what is at `location`."""
    first, *rest = location
    if not rest:
        return {key: value for key, value in part.items() if key != first}
    if isinstance(part, Mapping):
        return {**part, first: _without(part[first], rest)}
    return [_without(item, rest) if index == first else item for index, item in enumerate(part)]


def _problem(error: Mapping[str, Any]) -> str:
    return f"{_path(error['loc'])}: {error['msg']}"


def _path(location: Sequence[int | str]) -> str:
    parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)
    return f"spec{''.join(parts)}"


def _check(server: RuntimeServer) -> None:
    names = [executor.name for executor in server.spec.executors]
    longest = max((executor_name(server.name, name) for name in names), key=len, default="")
    if len(longest) > MAX_NAME:
        raise InvalidSpecError(
            f"spec.executors: {longest} is longer than {MAX_NAME} characters: shorten one of its parts"
        )
    if len(names) != len(set(names)):
        raise InvalidSpecError("spec.executors: two have the same name")
    for index, gpu in enumerate(executor.gpu for executor in server.spec.executors):
        if gpu and gpu.claims and (gpu.claims.template_name is None) == (gpu.claims.device_class_name is None):
            raise InvalidSpecError(f"spec.executors[{index}].gpu.claims: give either templateName or deviceClassName")
    if (server.spec.database.sqlite is None) == (server.spec.database.postgresql is None):
        raise InvalidSpecError("spec.database: give either sqlite or postgresql")


def condition_of(manifest: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a condition of an object's status, which need not have conditions yet; empty if it is not there."""
    conditions = manifest.get("status", {}).get("conditions") or []
    return next((condition for condition in conditions if condition["type"] == name), {})
