"""Writes the spans of one run (`log.spans`): its own, and those of the stages that its worker tells of."""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Final

from qiskit_runtime_server.errors import InternalError, InvalidInputError, NotIsaError
from qiskit_runtime_server.log.spans import Attributes, Span, Spans
from qiskit_runtime_server.messages.messages import Completed, Event, Failed, HandedBack, Stage, StageName, Task

_ORDER: Final = tuple(StageName)
# Of errors whose reason may quote what is in a job.
_QUOTING: Final = {InvalidInputError.code, NotIsaError.code, InternalError.code}
_LONGEST_PROBLEM: Final = 200
_MOST_METHODS: Final = 16
_LONGEST_METHOD: Final = 64


class RunSpans:
    """The spans of a run, whose first stage begins with it.

    What a worker says may be anything: stages follow each other once, at times that have been.

    Args:
        spans: Where they go.
        task: What is run.
        clock: Seconds of the Unix time.
    """

    def __init__(self, spans: Spans, task: Task, clock: Callable[[], float] = time.time) -> None:
        self._spans = spans
        self._clock = clock
        self._parent = task.traceparent
        self._about: Attributes = {
            "qrs.job.id": task.job_id,
            "qrs.job.fence": task.fence,
            "qrs.program": task.program_id,
            "qrs.backend": task.backend_name,
        }
        self._stages = [Stage(name=StageName.DECODE, began=clock())]

    def enter(self, stage: Stage) -> None:
        """Note that the worker has begun a stage."""
        last = self._stages[-1]
        if self._parent is None or _ORDER.index(stage.name) <= _ORDER.index(last.name):
            return
        # In this order, so that no number and infinity are told from a time.
        began = min(max(last.began, stage.began), self._clock())
        methods = tuple(method[:_LONGEST_METHOD] for method in stage.methods[:_MOST_METHODS])
        self._stages.append(Stage(name=stage.name, began=began, methods=methods))

    def end(self, last: Event) -> None:
        """Write the spans of the run, of which this was the last event: none that ends a run, if it was ended."""
        if self._parent is None:
            return
        now, problem = self._clock(), _problem(last)
        known = _known(last, self._stages[-1].methods)
        failed = {"error.type": str(last.code)} if isinstance(last, Failed) else {}
        parts = [
            Span(
                name=stage.name,
                start=stage.began,
                end=after.began,
                attributes={} if stage.name is StageName.DECODE else known,
            )
            for stage, after in pairwise(self._stages)
        ]
        stage, said = self._stages[-1], {**known, **failed}
        parts.append(Span(name=stage.name, start=stage.began, end=now, attributes=said, problem=problem))
        run = Span(
            name="run",
            start=self._stages[0].began,
            end=now,
            attributes={**self._about, **said},
            problem=problem,
            main=True,
            parts=parts,
        )
        self._spans.write(run, self._parent)


def _known(last: Event, methods: Sequence[str]) -> Attributes:
    """Return what a run has had to do, if it has done it."""
    if not isinstance(last, Completed):
        return {}
    return {
        "qrs.circuits": last.metrics.num_circuits,
        "qrs.qubits": max(last.metrics.num_qubits, default=0),
        "qrs.shots": last.metrics.executions,
        "qrs.methods": methods,
    }


def _problem(last: Event) -> str | None:
    """Return why a run has not completed, without what its job may have in it; None if it has."""
    match last:
        case Completed():
            return None
        case Failed(code=code) if code in _QUOTING and not last.worker_died:
            return f"Error {code}: see the job's reason."
        case Failed(reason=reason):
            return reason[:_LONGEST_PROBLEM]
        case HandedBack():
            return "The executor stopped: the job goes back to the queue."
        case _:
            return "The run was ended: its job was cancelled or deleted, or is followed from elsewhere."
