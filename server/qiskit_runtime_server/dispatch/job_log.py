"""One line in the server's log, at info, when a job is accepted, started, held, requeued and ended."""

import logging

from qiskit_runtime_server.jobs import Job
from qiskit_runtime_server.log.trace import of_job

logger = logging.getLogger(__name__)


def accepted(job: Job) -> None:
    """Say whose job it is, and what it asks for."""
    logger.info(
        "Job %s accepted: account %s, %s, %d bytes.",
        job.id,
        job.account,
        _what(job),
        job.params_bytes,
        extra=_fields(job) | {"bytes": job.params_bytes},
    )


def started(job: Job) -> None:
    """Say which run of the job begins, as of its claim, and how long after its submission."""
    # Two clocks, the api's and the store's.
    waited = 0.0 if job.started is None else max(0.0, (job.started - job.created).total_seconds())
    logger.info(
        "Job %s started: account %s, %s, run %d, waited %.1f s.",
        job.id,
        job.account,
        _what(job),
        job.runs,
        waited,
        extra=_fields(job) | {"run": job.runs, "waited": round(waited, 3)},
    )


def held(job: Job) -> None:
    """Say why the job is not started, though it was its turn."""
    logger.info("Job %s held: account %s, %s. %s", job.id, job.account, _what(job), job.held, extra=_fields(job))


def routed(job: Job) -> None:
    """Say which executor was chosen for the job, and about how long it takes on each."""
    known = {} if job.routing is None else job.routing.predictions
    seconds = {name: None if each.refusal else each.seconds for name, each in known.items()}
    said = ", ".join(f"{name} {'cannot' if known[name].refusal else _about(each)}" for name, each in seconds.items())
    logger.info(
        "Job %s goes to %s: account %s, %s; %s.",
        job.id,
        job.executor,
        job.account,
        _what(job),
        said or "nothing is known of how long it takes",
        extra=_fields(job) | {"executor": job.executor, "predicted_seconds": seconds},
    )


def _about(seconds: float | None) -> str:
    return "takes a time that is not known" if seconds is None else f"takes about {seconds:.2g} s"


def requeued(job: Job, seconds: float) -> None:
    """Say that the job goes on later, as it is no short one and as many others as may are running."""
    logger.info(
        "Job %s requeued: account %s, %s, it takes longer than %g s, and as many long jobs as may are running already.",
        job.id,
        job.account,
        _what(job),
        seconds,
        extra=_fields(job),
    )


def ended(job: Job) -> None:
    """Say how the job ended, after how many seconds in its slot, and why if it did not complete."""
    reason = f" {job.reason}" if job.reason else ""
    seconds = job.metrics.charged
    logger.info(
        "Job %s ended %s: account %s, %s, %.1f s.%s",
        job.id,
        job.state,
        job.account,
        _what(job),
        seconds,
        reason,
        extra=_fields(job) | {"state": job.state, "seconds": seconds, "reason": job.reason},
    )


def _what(job: Job) -> str:
    return f"{job.program_id} on {job.backend}"


def _fields(job: Job) -> dict[str, object]:
    """Return what a JSON line has beside its message."""
    return {
        **of_job(job.id, job.traceparent),
        "fence": job.fence,
        "account": job.account,
        "program": job.program_id,
        "backend": job.backend,
    }
