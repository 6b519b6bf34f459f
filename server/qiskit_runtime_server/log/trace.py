"""What a line of the log is about, as one word that clients get to see, too: its trace.

Each request has a trace of its own, which its error answers quote. That of a submission becomes the id of its job, and
the trace of a request about a job is the job's id. So the one word that a user can quote, be it from an error or as a
job's id, finds every line about it, in apis, executor services and workers:

    POST /jobs                trace 4f1c…, and if it is accepted job 4f1c…
    POST /jobs/4f1c…/cancel   trace 4f1c…
    GET /backends             trace 90ab…

Where traces are written for OpenTelemetry (`log.spans`), lines have the id of that trace too, as `trace_id`. It is
spelled like the first one, unless the client sent a `traceparent` with its submission.

What follows a job or runs it begins with `begin_job`, and what it does from then on writes lines about that job. Where
one task looks after many jobs, each line says by `of_job` which one it is about.
"""

import logging
import uuid
from collections.abc import Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final

_ABOUT: Final[ContextVar[Mapping[str, str]]] = ContextVar("about", default=MappingProxyType({}))
"""What lines of this task have beside their message."""
_TRACEPARENT: Final[ContextVar[str | None]] = ContextVar("traceparent", default=None)
"""What this task's request is in a trace of OpenTelemetry."""
# https://www.w3.org/TR/trace-context/#traceparent-header-field-values
_TRACE_ID: Final = slice(3, 35)


def begin_trace(trace: str | None = None, traceparent: str | None = None) -> str:
    """Have what this task, and those that it begins from now on, write to the log carry a trace, by default a new one.

    Args:
        trace: The trace.
        traceparent: Where it belongs in a trace of OpenTelemetry.

    Returns:
        The trace.
    """
    trace = trace or uuid.uuid4().hex
    _ABOUT.set({"trace": trace, **_trace_id(traceparent)})
    _TRACEPARENT.set(traceparent)
    return trace


def begin_job(job_id: str, traceparent: str | None = None) -> None:
    """Have what this task, and those that it begins from now on, write to the log be about a job."""
    _ABOUT.set(of_job(job_id, traceparent))


def current_trace() -> str:
    """Return the trace that lines carry now; a new one, from now on, if they carry none."""
    return _ABOUT.get().get("trace") or begin_trace()


def current_traceparent() -> str | None:
    """Return where the request of this task belongs in a trace of OpenTelemetry; None if it belongs to none."""
    return _TRACEPARENT.get()


def of_job(job_id: str, traceparent: str | None = None) -> dict[str, str]:
    """Return what a line about a job has beside its message, whatever it is written by."""
    return {"job": job_id, "trace": job_id, **_trace_id(traceparent)}


def trace_id_of(traceparent: str) -> str:
    """Return the id of the trace of OpenTelemetry that something belongs to."""
    return traceparent[_TRACE_ID]


def _trace_id(traceparent: str | None) -> dict[str, str]:
    return {} if traceparent is None else {"trace_id": trace_id_of(traceparent)}


class Traced(logging.Filter):
    """Gives each record what lines of the task that writes it have, if it does not come with another trace."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Keep the record."""
        about = _ABOUT.get()
        if getattr(record, "trace", about.get("trace")) == about.get("trace"):
            vars(record).update(about)
        return True


class TextFormatter(logging.Formatter):
    """Writes a record for people, with its trace unless the message quotes it.

    What a client wrote may be part of it. So control characters are escaped, lest it begin a line of its own or command
    a terminal, and a traceback, in which that may be too, comes below, indented.
    """

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - the base class's
        """Return the line; a traceback comes below it."""
        line, trace = _escaped(super().formatMessage(record)), getattr(record, "trace", None)
        return line if trace is None or trace in line else f"{line} [trace {trace}]"

    def formatException(self, ei: Any) -> str:  # noqa: ANN401, N802 - the base class's
        """Return a traceback, no line of which begins as those of the log do."""
        return "\n".join(f"  {_escaped(line)}" for line in super().formatException(ei).split("\n"))


def _escaped(text: str) -> str:
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)
