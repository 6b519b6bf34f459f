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
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

Attributes = Mapping[str, str | int | float | Sequence[str]]
"""What spans say; nothing of what is in a circuit, and no secret."""

NO_ATTRIBUTES: Final[Attributes] = MappingProxyType({})


class Span(Protocol):
    """A part of a trace that goes on."""

    def child(self, name: str, *, at: float) -> "Span":
        """Begin a part of it, `at` seconds of the Unix time."""

    def note(self, attributes: Attributes) -> None:
        """Add what is known of it by now."""

    def end(self, *, at: float | None = None, problem: str | None = None) -> None:
        """End it, to be called exactly once.

        Args:
            at: When, in seconds of the Unix time; by default now.
            problem: Why what it stands for has failed, for people.
        """


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

    def begin(
        self,
        name: str,
        parent: str | None,
        attributes: Attributes = NO_ATTRIBUTES,
        *,
        at: float | None = None,
        main: bool = False,
    ) -> Span:
        """Begin a span.

        Args:
            name: One of few.
            parent: A traceparent; without one there is no span.
            attributes: What is known of it by now.
            at: When, in seconds of the Unix time; by default now.
            main: Whether it is what the process is for, which collectors count.
        """

    def close(self) -> None:
        """Send what is left, and wait for that, but not for long."""


class _NoSpan:
    """A span of no trace."""

    def child(self, name: str, *, at: float) -> Span:  # noqa: ARG002 - as in the protocol
        """See `Span.child`."""
        return self

    def note(self, attributes: Attributes) -> None:
        """See `Span.note`."""

    def end(self, *, at: float | None = None, problem: str | None = None) -> None:
        """See `Span.end`."""


NO_SPAN: Final = _NoSpan()


class _NoSpans:
    """Spans that go nowhere."""

    provider = None

    def current(self) -> Place | None:
        """See `Spans.current`."""
        return None

    def begin(self, *_about: object, **_more: object) -> Span:
        """See `Spans.begin`."""
        return NO_SPAN

    def close(self) -> None:
        """See `Spans.close`."""


NO_SPANS: Final = _NoSpans()
