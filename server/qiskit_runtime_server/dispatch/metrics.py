"""What a dispatcher counts for Prometheus; each replica counts its own part."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Histogram

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.jobs import Job, JobState, RetryReason
from qiskit_runtime_server.metrics import SECONDS
from qiskit_runtime_server.store.port import Retention, Signals, Swept

_BY_EXECUTOR: Final = ("executor",)
# Those whose slot time is told apart.
_TIMED: Final = (JobState.COMPLETED, JobState.FAILED)


class JobMetrics:
    """Counters and histograms of the jobs that this process has followed."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._queue_seconds = Histogram(
            "qrs_job_queue_seconds",
            "Time from the submission of a job to its first start.",
            _BY_EXECUTOR,
            buckets=SECONDS,
            registry=registry,
        )
        self._run_seconds = Histogram(
            "qrs_job_run_seconds",
            "Slot time of a job that has completed or failed.",
            (*_BY_EXECUTOR, "state"),
            buckets=SECONDS,
            registry=registry,
        )
        self._ended = Counter(
            "qrs_jobs_ended", "Jobs that came to a terminal state.", (*_BY_EXECUTOR, "state"), registry=registry
        )
        self._retries = Counter(
            "qrs_job_retries",
            "Runs after which a job went back to the queue.",
            (*_BY_EXECUTOR, "why"),
            registry=registry,
        )
        self._takeovers = Counter(
            "qrs_takeovers",
            "Jobs taken over from a lost dispatcher: followed where they run, or requeued.",
            (*_BY_EXECUTOR, "how"),
            registry=registry,
        )
        self._lease_losses = Counter(
            "qrs_lease_losses",
            "Runs given up because another replica has taken the job over.",
            _BY_EXECUTOR,
            registry=registry,
        )
        self._refused_results = Counter(
            "qrs_results_refused",
            "Results that were refused, because another api had taken the job over meanwhile.",
            _BY_EXECUTOR,
            registry=registry,
        )

        self._swept_jobs = Counter(
            "qrs_swept_jobs", "Ended jobs removed because they were over a limit.", ("limit",), registry=registry
        )
        self._swept_bytes = Counter(
            "qrs_swept_bytes",
            "Bytes of ended jobs that were removed because they were over a limit, as compressed in the store.",
            ("limit",),
            registry=registry,
        )
        for limit in fields(Retention):
            self._swept_jobs.labels(limit.name)
            self._swept_bytes.labels(limit.name)

    def expect(self, executors: Iterable[ExecutorName]) -> None:
        """Let the counters of these begin at 0, so that their first job is seen as a change."""
        for executor in executors:
            self._begin_at_zero(executor)

    def started(self, job: Job) -> None:
        """Count a claim; `job` is as of that claim."""
        if job.runs == 1 and job.started is not None:
            # Two clocks, the api's and the store's.
            waited = max(0.0, (job.started - job.created).total_seconds())
            self._queue_seconds.labels(job.executor).observe(waited)

    def count_ends(self, signals: Signals) -> None:
        """Count every job that comes to a terminal state from now on."""
        signals.on_end(self._count_end)

    def _count_end(self, job: Job) -> None:
        state = job.state.lower()
        self._ended.labels(job.executor, state).inc()
        # Nobody knows how long the last run of a job took that failed because its runs were lost.
        if job.state in _TIMED and job.metrics.charged > 0:
            self._run_seconds.labels(job.executor, state).observe(job.metrics.charged)

    def retried(self, executor: ExecutorName, why: RetryReason) -> None:
        """Count a job that went back to the queue."""
        self._retries.labels(executor, why).inc()

    def taken_over(self, executor: ExecutorName, *, followed: bool) -> None:
        """Count a job whose dispatcher was lost."""
        self._takeovers.labels(executor, _how(followed=followed)).inc()

    def lease_lost(self, executor: ExecutorName) -> None:
        """Count a run whose claim does not hold any more."""
        self._lease_losses.labels(executor).inc()

    def result_refused(self, executor: ExecutorName) -> None:
        """Count an end that came too late."""
        self._refused_results.labels(executor).inc()

    def swept(self, swept: Swept) -> None:
        """Count ended jobs that were removed."""
        self._swept_jobs.labels(swept.limit).inc(swept.jobs)
        self._swept_bytes.labels(swept.limit).inc(swept.stored_bytes)

    def _begin_at_zero(self, executor: ExecutorName) -> None:
        self._queue_seconds.labels(executor)
        self._lease_losses.labels(executor)
        self._refused_results.labels(executor)
        for state in (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED):
            self._ended.labels(executor, state.lower())
        for state in _TIMED:
            self._run_seconds.labels(executor, state.lower())
        for why in RetryReason:
            self._retries.labels(executor, why)
        for followed in (True, False):
            self._takeovers.labels(executor, _how(followed=followed))


def _how(*, followed: bool) -> str:
    return "followed" if followed else "requeued"
