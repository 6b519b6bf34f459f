"""Jobs and sessions as rows, and back."""

from datetime import datetime, timedelta
from typing import Any, Final

import msgspec
from sqlalchemy import Connection, RowMapping, Select

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.jobs import AccountId, Job, JobId, JobState, Session, SessionId, SessionMode, SessionState
from qiskit_runtime_server.messages.messages import Holder, Metrics, Progress, Routing
from qiskit_runtime_server.store.sql.schema import jobs

JOB_COLUMNS: Final = tuple(
    column
    for column in jobs.c
    if column.name not in {"lease_until", "endpoint", "boot_id", "stored_bytes", "predicted_seconds"}
)

_CHANGES: Final = msgspec.json.Decoder(tuple[tuple[SessionState, datetime], ...])
_TAGS: Final = msgspec.json.Decoder(tuple[str, ...])
_METRICS: Final = msgspec.json.Decoder(Metrics)
_PROGRESS: Final = msgspec.json.Decoder(Progress)
_ROUTING: Final = msgspec.json.Decoder(Routing)


def first(connection: Connection, statement: Select[Any], **values: object) -> RowMapping | None:
    """Return the first row that a statement selects with these values; None if there is none."""
    return connection.execute(statement, values).mappings().first()


def json_text(value: object) -> str:
    """Return `value` as it is kept in columns that hold JSON."""
    return msgspec.json.encode(value).decode()


def job_row(job: Job) -> dict[str, Any]:
    """Return the columns of a job that nobody has claimed."""
    return {
        "id": job.id,
        "account": job.account,
        "instance": job.instance,
        "program_id": job.program_id,
        "backend": job.backend,
        "executor": job.executor,
        "created": job.created,
        "max_seconds": job.max_seconds,
        "seed": job.seed,
        "calibration_digest": job.calibration_digest,
        "state": job.state,
        "reason": job.reason,
        "reason_code": job.reason_code,
        "started": job.started,
        "finished": job.finished,
        "session_id": job.session_id,
        "tags": json_text(job.tags),
        "cost": job.cost,
        "private": job.private,
        "runtime": job.runtime,
        "log_level": job.log_level,
        "fence": job.fence,
        "worker_deaths": job.worker_deaths,
        "losses": job.losses,
        "metrics": json_text(job.metrics),
        "params_bytes": job.params_bytes,
        "max_qubits": job.max_qubits,
        "long_since": job.long_since,
        "held": job.held,
        "progress": None if job.progress is None else json_text(job.progress),
        "traceparent": job.traceparent,
        **routing_row(job),
    }


def routing_row(job: Job) -> dict[str, Any]:
    """Return the columns that say why a job is on its executor."""
    return {
        "routing": None if job.routing is None else json_text(job.routing),
        "predicted_seconds": job.predicted_seconds,
    }


def job_of(row: RowMapping) -> Job:
    """Return the job of a row that holds at least `JOB_COLUMNS`."""
    return Job(
        id=JobId(row["id"]),
        account=AccountId(row["account"]),
        instance=row["instance"],
        program_id=row["program_id"],
        backend=row["backend"],
        executor=ExecutorName(row["executor"]),
        created=row["created"],
        max_seconds=row["max_seconds"],
        seed=row["seed"],
        calibration_digest=row["calibration_digest"],
        state=JobState(row["state"]),
        reason=row["reason"],
        reason_code=row["reason_code"],
        started=row["started"],
        finished=row["finished"],
        session_id=row["session_id"],
        tags=_TAGS.decode(row["tags"]),
        cost=row["cost"],
        private=row["private"],
        runtime=row["runtime"],
        log_level=row["log_level"],
        fence=row["fence"],
        worker_deaths=row["worker_deaths"],
        losses=row["losses"],
        metrics=_METRICS.decode(row["metrics"]),
        params_bytes=row["params_bytes"],
        max_qubits=row["max_qubits"],
        long_since=row["long_since"],
        held=row["held"],
        progress=None if row["progress"] is None else _PROGRESS.decode(row["progress"]),
        routing=None if row["routing"] is None else _ROUTING.decode(row["routing"]),
        traceparent=row["traceparent"],
    )


def holder_of(row: RowMapping) -> Holder:
    """Return who claimed the job of a row last."""
    return Holder(endpoint=row["endpoint"], boot_id=row["boot_id"])


def session_row(session: Session) -> dict[str, Any]:
    """Return the columns of a session."""
    return {
        "id": session.id,
        "account": session.account,
        "instance": session.instance,
        "backend": session.backend,
        "mode": session.mode,
        "created": session.created,
        "max_ttl_seconds": session.max_ttl.total_seconds(),
        "interactive_ttl_seconds": session.interactive_ttl.total_seconds(),
        "closed": session.closed,
        "active_jobs": session.active_jobs,
        "first_job_started": session.first_job_started,
        "last_job_started": session.last_job_started,
        "last_job_completed": session.last_job_completed,
        "expires": session.expires(),
        "changes": json_text(session.changes),
        "seconds": session.seconds,
    }


def session_of(row: RowMapping) -> Session:
    """Return the session of a row."""
    return Session(
        id=SessionId(row["id"]),
        account=AccountId(row["account"]),
        instance=row["instance"],
        backend=row["backend"],
        mode=SessionMode(row["mode"]),
        created=row["created"],
        max_ttl=timedelta(seconds=row["max_ttl_seconds"]),
        interactive_ttl=timedelta(seconds=row["interactive_ttl_seconds"]),
        closed=row["closed"],
        active_jobs=row["active_jobs"],
        first_job_started=row["first_job_started"],
        last_job_started=row["last_job_started"],
        last_job_completed=row["last_job_completed"],
        changes=_changes(row),
        seconds=row["seconds"],
    )


def _changes(row: RowMapping) -> tuple[tuple[SessionState, datetime], ...]:
    """Return what a session went through; of one that began before that was kept, its start."""
    started = row["first_job_started"]
    return _CHANGES.decode(row["changes"]) or (() if started is None else ((SessionState.ACTIVE, started),))
