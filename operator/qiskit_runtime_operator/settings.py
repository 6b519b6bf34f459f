"""Every setting of the operator; the only module that reads its environment.

Each field can be given as `QRO_<NAME>`. The reference page is made from the docstrings.
"""

import os
import platform
from datetime import timedelta
from difflib import get_close_matches
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from qiskit_runtime_operator.durations import Duration
from qiskit_runtime_operator.errors import StartupError
from qiskit_runtime_operator.log_lines import LogFormat
from qiskit_runtime_operator.resource.identity import OperatorIdentity


def _template(value: str) -> str:
    try:
        value.format(name="", namespace="")
    except (KeyError, IndexError, ValueError):
        raise ValueError("only {name} and {namespace} may stand in braces") from None
    return value


def _words(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


# Separated by blanks or commas.
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]
Port = Annotated[int, Field(ge=0, le=65535)]


_PREFIX: Final = "QRO_"


class Settings(BaseSettings):
    """What can be set."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="ignore", frozen=True, use_attribute_docstrings=True)

    namespaces: Words = ()
    """Namespaces whose RuntimeServers are reconciled; all namespaces, if this is empty."""

    namespace: str
    """The operator's own namespace, where its Lease is."""

    pod_name: str = Field(default_factory=lambda: f"{platform.node()}-{os.getpid()}")
    """The name of this replica, by which it holds the Lease."""

    api_image: str
    """Image of api pods, unless a RuntimeServer names another."""

    executor_image: str
    """Image of executor pods without a GPU, unless a RuntimeServer names another."""

    executor_gpu_image: str
    """Image of executor pods with a GPU, unless a RuntimeServer names another."""

    monitoring_namespaces: Words = ()
    """Namespaces that may read metrics and load, as Prometheus' and KEDA's; if empty, no ServiceMonitor is made."""

    lease_name: str = "qiskit-runtime-operator"
    """Name of the Lease that elects the leader."""

    lease_duration: Annotated[Duration, Field(ge=timedelta(seconds=3))] = timedelta(seconds=10)
    """How long the Lease lasts: a leader that has not renewed it for this long is replaced."""

    takeover: Duration = timedelta(minutes=10)
    """How long another operator must not have renewed its Lease before its RuntimeServers are taken over."""

    resync: Duration = timedelta(minutes=5)
    """Time between two resyncs, give or take a tenth: all is listed and reconciled, in case a watch lost an event."""

    load_url: Annotated[str, AfterValidator(_template)] = "http://{name}-api.{namespace}.svc:9090/internal/load"
    """Where the load of a RuntimeServer's api is read; `{name}` and `{namespace}` are the RuntimeServer's. An operator
    outside of the cluster needs a way of its own, such as a port-forward."""

    load_interval: Duration = timedelta(seconds=30)
    """Time between two reads of each api's load (queued and running jobs), which the status shows."""

    autoscale_interval: Annotated[Duration, Field(ge=timedelta(milliseconds=100))] = timedelta(milliseconds=500)
    """Time between two reads of the load of each RuntimeServer that has an executor with `autoscale`."""

    watch_renewal: Duration = timedelta(minutes=5)
    """How long a watch lasts before it is renewed; if one is not renewed for a third longer, `/healthz` fails."""

    watch_silence: Duration = timedelta(seconds=90)
    """A watch that has received nothing, not even a bookmark, for this long is renewed early."""

    workers: Annotated[int, Field(ge=1)] = 32
    """How many RuntimeServers are reconciled at the same time."""

    rollouts_at_once: Annotated[int, Field(ge=0)] = 0
    """How many RuntimeServers may be rolled out at once after an upgrade of the operator; any number, if this is 0."""

    rollout_interval: Duration | None = None
    """Least time between the starts of two such roll-outs; none by default."""

    health_port: Port = 8080
    """Port for `/healthz` and `/readyz`."""

    metrics_port: Port = 9090
    """Port for `/metrics`."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """How much to log."""

    log_format: LogFormat = "text"
    """How the log is written, also in the pods of RuntimeServers: `text`, or `json`, which is one object a line."""

    @property
    def identity(self) -> OperatorIdentity:
        """What this operator and all its replicas say of themselves to other operators."""
        return OperatorIdentity(namespace=self.namespace, lease=self.lease_name)

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Return the settings from `given` and, where it says nothing, from the environment.

        Raises:
            StartupError: If one is missing, unknown, or makes no sense; the message names it.
        """
        known = {f"{_PREFIX}{name.upper()}" for name in cls.model_fields}
        for name in sorted(os.environ):
            if name.upper().startswith(_PREFIX) and name.upper() not in known:
                nearest = get_close_matches(name.upper(), known, n=1)
                hint = f": do you mean {nearest[0]}?" if nearest else ""
                raise StartupError(f"{name} is not a setting of the operator{hint}")
        try:
            return cls(**given)
        except ValidationError as error:
            problems = [
                f"{_PREFIX}{str(problem['loc'][0]).upper()}: {problem['msg'].removeprefix('Value error, ')}"
                for problem in error.errors()
            ]
            raise StartupError("; ".join(problems)) from error
