"""What the operator tells Prometheus.

Counters begin at 0 for every label that is known: Prometheus sees no increase where one appears with its first event.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from qiskit_runtime_operator.errors import ClusterError, ConflictError, MissingError, RefusedError, StaleError
from qiskit_runtime_operator.resource.kinds import RENDERED, ResourceKind
from qiskit_runtime_operator.scaling.cold_start import PHASES
from qiskit_runtime_operator.scaling.decision import ScaleReason

_COLD_START: Final = (1, 2, 4, 8, 15, 30, 60, 120, 300, 900)


class WriteMetrics:
    """What was written to the API server, Leases and Events left out."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.writes = Counter(
            "qro_objects_written",
            "Objects applied, created or deleted, and statuses written.",
            ["kind", "how"],
            registry=registry,
        )
        for kind in RENDERED:
            self.writes.labels(kind.kind, "apply")

    def written(self, kind: ResourceKind, how: str) -> None:
        """Count a write."""
        self.writes.labels(kind.kind, how).inc()


class WorkMetrics:
    """How reconciling goes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.reconciles = Histogram(
            "qro_reconcile_seconds",
            "Time that one pass over one RuntimeServer took.",
            buckets=(0.001, 0.01, 0.1, 0.5, 1, 5, 30),
            registry=registry,
        )
        self.errors = Counter(
            "qro_reconcile_errors", "Passes that failed and will be repeated, by error.", ["error"], registry=registry
        )
        self.depth = Gauge("qro_queue_depth", "RuntimeServers that wait for a pass.", registry=registry)
        for error in (ClusterError, ConflictError, StaleError, RefusedError, MissingError):
            self.errors.labels(error.__name__)


class ScalingMetrics:
    """How many pods executors with `autoscale` get."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.desired = Gauge(
            "qro_executor_desired_replicas",
            "Pods that were decided for an executor with `autoscale`.",
            ["namespace", "name", "executor"],
            registry=registry,
        )
        self.decisions = Counter(
            "qro_scale_decisions",
            "Changes of the decision how many pods an executor gets, by reason.",
            ["reason"],
            registry=registry,
        )
        self.cold_starts = Histogram(
            "qro_cold_start_seconds",
            "Time from the decision to start the first pod of an executor to a slot that the api counts.",
            buckets=_COLD_START,
            registry=registry,
        )
        self.cold_start_phases = Histogram(
            "qro_cold_start_phase_seconds",
            "The same by phase, in whole seconds as pods tell them: decide (until the pod is made), schedule (until it"
            " has a node), pull (until its container runs) and start (until the api counts its slots: imports and"
            " self-test).",
            ["phase"],
            buckets=_COLD_START,
            registry=registry,
        )
        for reason in ScaleReason:
            self.decisions.labels(reason)
        for phase in PHASES:
            self.cold_start_phases.labels(phase)

    def started(self, total: timedelta, phases: Mapping[str, timedelta]) -> None:
        """Count a cold start, and what each of its phases took, as far as that is known."""
        self.cold_starts.observe(total.total_seconds())
        for phase, took in phases.items():
            self.cold_start_phases.labels(phase).observe(took.total_seconds())

    def decided(self, namespace: str, name: str, executor: str, replicas: int, reason: str) -> None:
        """Count a decision."""
        self.desired.labels(namespace, name, executor).set(replicas)
        self.decisions.labels(reason).inc()

    def forget(self, namespace: str, name: str, executor: str) -> None:
        """Say nothing more of an executor."""
        self.desired.remove(namespace, name, executor)


class LeaderMetrics:
    """Whether this replica works."""

    def __init__(self, registry: CollectorRegistry, leads: Callable[[], bool]) -> None:
        self.leader = Gauge("qro_leader", "1 if this replica holds the Lease.", registry=registry)
        self.leader.set_function(leads)


class WatchMetrics(Collector):
    """How long ago each watch last had a sign of life, and which are refused."""

    def __init__(
        self,
        registry: CollectorRegistry,
        ages: Callable[[], Iterable[tuple[str, float]]],
        refusals: Callable[[], Mapping[str, str]],
    ) -> None:
        self._ages = ages
        self._refusals = refusals
        registry.register(self)

    def describe(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metrics without values."""
        yield GaugeMetricFamily(
            "qro_watch_age_seconds", "Time since the last event, or connection, of a watch.", labels=["path"]
        )
        yield GaugeMetricFamily(
            "qro_watch_refused", "1 if the API server refuses to list or watch this collection.", labels=["path"]
        )

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the metrics."""
        ages, refused = self.describe()
        refusals = self._refusals()
        for path, age in self._ages():
            ages.add_metric([path], age)
            refused.add_metric([path], float(path in refusals))
        yield ages
        yield refused
