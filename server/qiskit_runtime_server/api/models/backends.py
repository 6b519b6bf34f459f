"""What is answered about virtual backends."""

from typing import Any, Literal

from pydantic import ConfigDict, Field

from qiskit_runtime_server.api.models.base import Answer, Time


class BackendState(Answer):
    """Whether a backend takes jobs."""

    name: Literal["online", "paused"]
    reason: str


class Clops(Answer):
    """How fast the hardware is that a device describes."""

    type: Literal["hardware"]
    value: int
    """Layers of circuits a second."""


class BackendSummary(Answer):
    """What the list says of a virtual backend."""

    name: str
    is_simulator: bool
    """Always false: a device stands for hardware, as clients give simulators neither sessions nor calibration."""
    device_class: Literal["mock"] | None = Field(default=None, serialization_alias="class")
    """Only of backends for dry runs."""
    processor_type: dict[str, str] | None = None
    """Family, revision and segment, as far as they are known."""
    clops: Clops | None = None
    """Only where it is known."""
    status: BackendState
    queue_length: int
    """Jobs that wait for the executor, of all its devices."""
    qubits: int
    physical_qubits: int


class Backends(Answer):
    """The virtual backends."""

    devices: list[BackendSummary] | list[str]
    """Their names only, for clients before 2025-01-01."""


class BackendStatus(Answer):
    """What clients ask for before every job."""

    backend_name: str
    backend_version: str
    state: bool
    status: Literal["active", "paused"]
    message: str
    length_queue: int
    """Jobs that wait for the executor, of all its devices."""


class ExecutorLoad(Answer):
    """How busy an executor is, as the caller may know it."""

    name: str
    status: Literal["online", "paused"]
    """As its backends have it."""
    ready: bool
    """Whether a job of the caller starts as soon as a slot is free."""
    reason: str
    """Why not; empty if it is ready."""
    queued: int
    """Jobs that wait for it, of everybody: `queue_length` of its backends."""
    slots: int
    """How many jobs it can run at a time, as far as this api knows."""
    own_running: int
    """Jobs of the caller that run."""
    running: int | None
    """Jobs of everybody that run; null unless the caller is an admin, as are the next two."""
    idle: int | None
    """Slots that are believed to be free."""
    oldest_waiting_seconds: float | None
    """For how long the oldest queued job has been waiting; 0 if none is queued."""


class ExecutorLoads(Answer):
    """How busy the executors are."""

    executors: list[ExecutorLoad]


class BackendConfiguration(Answer):
    """The configuration document of a device; of its many fields, those that every device has."""

    model_config = ConfigDict(extra="allow")

    backend_name: str
    backend_version: str
    n_qubits: int
    basis_gates: list[str]
    gates: list[dict[str, Any]]
    coupling_map: list[list[int]] | None
    supported_features: list[str]
    max_shots: int
    max_experiments: int
    simulator: bool


class BackendProperties(Answer):
    """The calibration document of a device; of its many fields, those that every device has."""

    model_config = ConfigDict(extra="allow")

    backend_name: str
    backend_version: str
    last_update_date: Time
    qubits: list[list[dict[str, Any]]]
    """For each qubit a list of `{"name", "value", "unit", "date"}`."""
    gates: list[dict[str, Any]]
    general: list[dict[str, Any]]
