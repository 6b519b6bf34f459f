"""What an executor service tells Prometheus."""

from collections.abc import Mapping
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from qiskit_runtime_server.messages.messages import Completed, Failed, HandedBack, Occupancy
from qiskit_runtime_server.metrics import SECONDS

# Of a run that was ended before it came to an end of its own: cancelled, taken over elsewhere, or given up.
_STOPPED: Final = "stopped"
_ENDS: Final = ("completed", "failed", "worker_died", "handed_back", _STOPPED)


class ExecutorMetrics:
    """Counts of one executor service since its start.

    Attributes:
        attached: Counts dispatchers that took up a run which was here already.
        expired: Counts orphaned runs that nobody took up.
        import_seconds: How long the slots were waited for, the imports of their libraries above all.
        refused: Counts jobs that found no free slot.
        self_test_seconds: How long the slowest slot took.
        started: Counts runs.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._slots = Gauge("qrs_executor_slots", "Slots of this executor.", registry=registry)
        self._busy = Gauge(
            "qrs_executor_slots_busy", "Slots of this executor that can take no job now.", registry=registry
        )
        self._draining = Gauge("qrs_executor_draining", "Whether the executor takes no more jobs.", registry=registry)
        self._runs = Gauge(
            "qrs_executor_runs",
            "Runs of this executor: active, ended (kept until an api has the result), or orphaned (no api asks).",
            ("state",),
            registry=registry,
        )
        self._ended = Counter(
            "qrs_executor_runs_ended", "Runs that have ended, by how they did.", ("how",), registry=registry
        )
        self._seconds = Histogram(
            "qrs_executor_run_seconds", "Slot time of a run that has completed or failed.", buckets=SECONDS,
            registry=registry,
        )  # fmt: skip
        self._worker_deaths = Counter(
            "qrs_executor_worker_deaths", "Worker processes that died under a run.", registry=registry
        )
        self.started = Counter("qrs_executor_runs_started", "Runs that this executor has started.", registry=registry)
        self.refused = Counter(
            "qrs_executor_runs_refused", "Jobs that found no free slot, or a draining executor.", registry=registry
        )
        self.attached = Counter(
            "qrs_executor_attachments",
            "Times that an api began to follow a run that was already here.",
            registry=registry,
        )
        self.expired = Counter(
            "qrs_executor_orphans_expired", "Orphaned runs that nobody took up in time.", registry=registry
        )
        self.import_seconds = Gauge(
            "qrs_executor_import_seconds",
            "How long the service waited at the start for its slots: the rest of the imports of their libraries, which"
            " begin before it, and a fork each.",
            registry=registry,
        )
        self.self_test_seconds = Gauge(
            "qrs_executor_self_test_seconds",
            "Duration of the self-test in the slowest slot; an executor is ready when all have passed.",
            registry=registry,
        )
        for how in _ENDS:
            self._ended.labels(how)

    def ended(self, end: Completed | Failed | HandedBack | None) -> None:
        """Count the end of a run; None if it was stopped."""
        match end:
            case Completed(metrics=metrics):
                how = "completed"
                self._seconds.observe(metrics.seconds)
            case Failed(worker_died=True):
                how = "worker_died"
                self._worker_deaths.inc()
            case Failed(metrics=metrics):
                how = "failed"
                self._seconds.observe(metrics.seconds)
            case HandedBack():
                how = "handed_back"
            case None:
                how = _STOPPED
        self._ended.labels(how).inc()

    def show(self, occupancy: Occupancy, runs: Mapping[str, int]) -> None:
        """Show how busy the executor is now, and how many runs are in each state."""
        self._slots.set(occupancy.slots)
        self._busy.set(occupancy.slots - occupancy.idle)
        self._draining.set(occupancy.draining)
        for state, count in runs.items():
            self._runs.labels(state).set(count)
