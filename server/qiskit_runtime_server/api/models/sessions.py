"""What is answered about sessions and batches."""

from qiskit_runtime_server.api.models.base import Answer, Time
from qiskit_runtime_server.jobs import SessionMode, SessionState


class Transition(Answer):
    """When a session came into a state."""

    status: SessionState
    timestamp: Time


class Session(Answer):
    """A session or a batch."""

    id: str
    backend_name: str
    mode: SessionMode
    state: SessionState
    state_reason: None = None
    accepting_jobs: bool
    user_id: str
    """The account."""
    max_ttl: int
    """Seconds after the start of its first job for which it accepts jobs."""
    active_ttl: int
    """Seconds of `max_ttl` that are left."""
    interactive_ttl: int
    """Seconds without a job after which it is inactive."""
    created_at: Time
    started_at: Time | None
    """When its first job started."""
    activated_at: Time | None
    """When it became active, the last time."""
    closed_at: Time | None
    last_job_started: Time | None
    last_job_completed: Time | None
    elapsed_time: float
    """Slot time in seconds of its jobs that have ended; idle time is none."""
    timestamps: list[Transition]
    """Its states in their order."""
