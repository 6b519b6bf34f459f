"""The messages between an api and an executor: one task there, a stream of events back.

They are spoken over pipes and over HTTP alike, and between releases one minor version apart, so fields are only ever
added, with defaults.
"""

import msgspec


class Capabilities(msgspec.Struct, frozen=True, kw_only=True):
    """What an executor can do.

    Attributes:
        num_qubits: The largest ideal circuit that fits into the memory of one slot.
        methods: The simulation methods it chooses from.
        precision: `double` or `single`.
        device: The hardware, as a user would name it.
    """

    num_qubits: int
    methods: tuple[str, ...] = ()
    precision: str = "double"
    device: str = "CPU"


class Holder(msgspec.Struct, frozen=True, kw_only=True):
    """Who runs a claimed job.

    Attributes:
        endpoint: Address of the executor.
        boot_id: Which start of that executor; addresses get reused.
    """

    endpoint: str
    boot_id: str


class Task(msgspec.Struct, frozen=True, kw_only=True, tag="task"):
    """One claim of a job.

    Attributes:
        fence: Rises with every claim of the job.
        calibration_digest: Names the documents of the device that the job was accepted with.
        seed: Used where the job itself sets none.
        seconds: How long the job may run.
        params: The JSON document that the client sent, as it came.
    """

    job_id: str
    fence: int
    program_id: str
    backend_name: str
    calibration_digest: str
    seed: int
    seconds: float
    params: bytes


class Metrics(msgspec.Struct, frozen=True, kw_only=True):
    """What a job took.

    Attributes:
        seconds: Time in the slot.
        executions: Shots over all circuits and parameter sets.
    """

    seconds: float = 0.0
    num_circuits: int = 0
    executions: int = 0
    num_qubits: tuple[int, ...] = ()
    qiskit_version: str = ""


class Ready(msgspec.Struct, frozen=True, kw_only=True, tag="ready"):
    """A worker has imported what it needs and waits for its first task."""

    capabilities: Capabilities


class Started(msgspec.Struct, frozen=True, kw_only=True, tag="started"):
    """A slot has taken the task."""


class Heartbeat(msgspec.Struct, frozen=True, kw_only=True, tag="heartbeat"):
    """The slot's supervisor is alive and its worker process exists."""


class Log(msgspec.Struct, frozen=True, kw_only=True, tag="log"):
    """Lines for the job's log."""

    text: str


class Completed(msgspec.Struct, frozen=True, kw_only=True, tag="completed"):
    """The job has succeeded; `result` is the JSON document for the client."""

    metrics: Metrics
    result: bytes


class Failed(msgspec.Struct, frozen=True, kw_only=True, tag="failed"):
    """This run of the job has failed.

    Attributes:
        reason: What went wrong, for the user.
        code: For the client's message.
        worker_died: The process died under it: the job has more attempts.
    """

    reason: str
    code: int
    worker_died: bool = False
    metrics: Metrics = Metrics()


Event = Ready | Started | Heartbeat | Log | Completed | Failed
