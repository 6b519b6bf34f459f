"""Writes the span of a job's wait in the queue (`log.spans`), from its submission on, once it is over."""

import time

from qiskit_runtime_server.backends.names import AUTO
from qiskit_runtime_server.jobs import Job
from qiskit_runtime_server.log.spans import NO_SPANS, Attributes, Span, Spans


class QueueSpans:
    """Writes them for the jobs that this process starts, or ends.

    A job that comes back to the queue waits again: the span of that wait begins with its submission too, as nothing
    else is known of it.
    """

    def __init__(self, spans: Spans = NO_SPANS) -> None:
        self._spans = spans

    def started(self, job: Job) -> None:
        """Write that a job begins to run."""
        self._write(job, None)

    def ended(self, job: Job) -> None:
        """Write that a job has ended, if it did so in the queue, which it has not left while it is only looked at."""
        if job.started is None or job.executor == AUTO:
            self._write(job, job.reason or f"The job is {job.state}.")

    def _write(self, job: Job, problem: str | None) -> None:
        if job.traceparent is None:
            return
        attributes: Attributes = {
            "qrs.job.id": job.id,
            "qrs.job.fence": job.fence,
            "qrs.program": job.program_id,
            "qrs.backend": job.backend,
            "qrs.executor": job.executor,
        }
        waited = Span(
            name="queue", start=job.created.timestamp(), end=time.time(), attributes=attributes, problem=problem
        )
        self._spans.write(waited, job.traceparent)
