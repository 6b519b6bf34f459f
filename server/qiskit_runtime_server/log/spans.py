"""Spans: which part of a request or a job took which time, for OpenTelemetry.

A submission, and what becomes of its job, is one trace, over restarts and from process to process. What holds it
together is a `traceparent` (https://www.w3.org/TR/trace-context/): a client may send one, that of the submission is
stored with its job, and an api hands it to executor services. Each span is written once, by who knows its end:

    POST /api/v1/jobs       the api, until it has answered; below the client's span, if that sent one
    ├── queue               the api that has claimed the job, from the submission on
    └── run                 the executor service, or the server if it has slots of its own
        ├── decode          the same, as its worker, which can reach nobody, tells it
        ├── simulate
        └── encode

A trace that begins here is spelled like the one that clients are told (`log.trace`), and so like the job's id.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

Attributes = Mapping[str, str | int | float | Sequence[str]]
"""What spans say; nothing of what is in a circuit, and no secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A part of a trace that is over.

    Attributes:
        name: One of few.
        start: When it began, in seconds of the Unix time.
        end: When it ended.
        attributes: What is known of it.
        problem: Why what it stands for has failed, for people; None if it has not.
        main: Whether it is what the process is for, which collectors count.
        parts: What it is made of.
    """

    name: str
    start: float
    end: float
    attributes: Attributes = field(default_factory=dict)
    problem: str | None = None
    main: bool = False
    parts: Sequence["Span"] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where something belongs in a trace.

    Attributes:
        traceparent: What makes others its children.
        begins: Whether the trace begins with it.
    """

    traceparent: str
    begins: bool


class Spans(Protocol):
    """Where spans go. None of its calls waits for anybody, or raises, whatever becomes of them."""

    @property
    def provider(self) -> "TracerProvider | None":
        """What libraries write spans of their own by; None if they are not to."""

    def current(self) -> Place | None:
        """Return the place of the span that a library has begun for this task; None if there is none."""

    def write(self, span: Span, parent: str) -> None:
        """Write a span, and its parts below it; `parent` is the traceparent of what it is a part of."""

    def close(self) -> None:
        """Send what is left, and wait for that, but not for long."""


class _NoSpans:
    """Spans that go nowhere."""

    provider = None

    def current(self) -> Place | None:
        """See `Spans.current`."""
        return None

    def write(self, span: Span, parent: str) -> None:
        """See `Spans.write`."""

    def close(self) -> None:
        """See `Spans.close`."""


NO_SPANS: Final = _NoSpans()
