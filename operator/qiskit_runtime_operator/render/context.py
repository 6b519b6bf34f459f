"""What rendering depends on beside the RuntimeServer: the operator's own settings, and the cluster."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from qiskit_runtime_operator.resource.kinds import OptionalApi


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultImages:
    """The images of the operator's own version."""

    api: str
    executor: str
    executor_gpu: str


@dataclass(frozen=True, slots=True, kw_only=True)
class RenderContext:
    """The operator and the cluster around it.

    Attributes:
        operator_namespace: Where the operator runs, which asks the api how busy it is.
        monitoring_namespaces: From where metrics and load are read, as by Prometheus and KEDA.
        apis: The optional APIs that there are.
        scaled_elsewhere: See `replicas.scaled_elsewhere`.
        decided: How many replicas the Deployments of executors with `autoscale` get, by name.
        json_logs: Whether the pods write JSON logs, unless their settings say otherwise.
        keys_checksum: Of the keys that api and executors share; all pods are to have the same ones.
    """

    images: DefaultImages
    operator_namespace: str
    monitoring_namespaces: tuple[str, ...] = ()
    apis: frozenset[OptionalApi] = frozenset()
    scaled_elsewhere: Mapping[str, str] = field(default_factory=dict)
    decided: Mapping[str, int] = field(default_factory=dict)
    json_logs: bool = False
    keys_checksum: str = ""

    @property
    def server_settings(self) -> dict[str, str]:
        """Settings of all pods; those of a RuntimeServer win over them."""
        # Not where it is the default: an image that a RuntimeServer pins may be too old to know it.
        return {"QRS_LOG_FORMAT": "json"} if self.json_logs else {}
