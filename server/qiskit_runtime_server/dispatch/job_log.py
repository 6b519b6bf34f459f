"""One line in the server's log, at info, when a job is accepted, started and ended."""

import logging

from qiskit_runtime_server.jobs import Job

logger = logging.getLogger(__name__)


def accepted(job: Job) -> None:
    """Say whose job it is, and what it asks for."""
    logger.info("Job %s accepted: account %s, %s, %d bytes.", job.id, job.account, _what(job), job.params_bytes)


def started(job: Job) -> None:
    """Say which run of the job begins, as of its claim, and how long after its submission."""
    # Two clocks, the api's and the store's.
    waited = 0.0 if job.started is None else max(0.0, (job.started - job.created).total_seconds())
    logger.info(
        "Job %s started: account %s, %s, run %d, waited %.1f s.", job.id, job.account, _what(job), job.fence, waited
    )


def ended(job: Job) -> None:
    """Say how the job ended, after how many seconds in its slot, and why if it did not complete."""
    reason = f" {job.reason}" if job.reason else ""
    seconds = job.metrics.seconds
    logger.info(
        "Job %s ended %s: account %s, %s, %.1f s.%s", job.id, job.state, job.account, _what(job), seconds, reason
    )


def _what(job: Job) -> str:
    return f"{job.program_id} on {job.backend}"
