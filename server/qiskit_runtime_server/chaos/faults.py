"""What can be made to happen to a job, as words say it, and what does happen to one, which follows from its seed.

The words are `NAME=VALUE`. A job's tags say them behind `chaos:`, as in `chaos:fail=1305`, since every client can send
tags; what a job's tags do not say, the server's own words do.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from random import Random
from typing import Any, Final, NamedTuple

from qiskit_runtime_server.errors import MalformedRequestError

TAG: Final = "chaos:"

_CODES: Final = range(1000, 10_000)
_STATUSES: Final = frozenset({429, *range(500, 600)})
_LONGEST_SECONDS: Final = 24 * 60 * 60.0
_MOST_TIMES: Final = 1000


class Seconds(NamedTuple):
    """A time between two bounds, each of them as likely."""

    least: float = 0.0
    most: float = 0.0

    def at(self, fraction: float) -> float:
        """Return the time that lies `fraction` of the way from one bound to the other."""
        return self.least + fraction * (self.most - self.least)


_NO_TIME: Final = Seconds()


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """What is to happen.

    Attributes:
        queue: How long a job waits before it may start.
        run: How long it runs beside what its simulation takes.
        fail: Codes of IBM's registry of errors; the job fails with one of them instead of being simulated.
        fail_rate: How probable that is.
        status: HTTP statuses; a request is answered with one of them.
        status_rate: How probable that is.
        retry_after: Whole seconds that such an answer asks for in its header `Retry-After`.
        times: How often a request is answered like that that is repeated as it was.
        expire: After how many seconds the session stops taking jobs that the job was submitted in.
        drift: How far calibrated values wander, as the standard deviation of their logarithm.
        drift_every: How many seconds a calibration lasts.
    """

    queue: Seconds = _NO_TIME
    run: Seconds = _NO_TIME
    fail: tuple[int, ...] = ()
    fail_rate: float = 1.0
    status: tuple[int, ...] = ()
    status_rate: float = 1.0
    retry_after: int = 1
    times: int = 1
    expire: float | None = None
    drift: float = 0.0
    drift_every: float = 60.0

    def but(self, words: Iterable[str]) -> "Faults":
        """Return these with what `words` say.

        Raises:
            MalformedRequestError: If a word makes no sense; the message names it.
        """
        return replace(self, **dict(map(_read, words)))

    def but_by_tags(self, tags: Iterable[str]) -> "Faults":
        """Return these with what tags say that begin with `chaos:`; errors as those of `but`."""
        words = [tag.removeprefix(TAG) for tag in tags if tag.startswith(TAG)]
        for word in words:
            if word.partition("=")[0] in _OF_DEVICES:
                raise MalformedRequestError(f"Tag {TAG}{word}: a calibration belongs to a device, not to a job.")
        return self.but(words)

    def fate(self, seed: int) -> "Fate":
        """Return what happens to the job with this seed; each part is drawn by itself, so that words change no other.

        The same seed has the same fate.
        """
        draws = Random(seed)  # noqa: S311 - nobody is to be kept from guessing
        queue, run, fails, code = (draws.random() for _ in range(4))
        return Fate(
            queue_seconds=self.queue.at(queue),
            run_seconds=self.run.at(run),
            code=_one_of(self.fail, code) if fails < self.fail_rate else None,
            expire_seconds=self.expire,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What happens to one job; attributes as in `Faults`."""

    queue_seconds: float = 0.0
    run_seconds: float = 0.0
    code: int | None = None
    expire_seconds: float | None = None


def _one_of(choices: tuple[int, ...], fraction: float) -> int | None:
    return choices[int(fraction * len(choices))] if choices else None


def _seconds(text: str) -> Seconds:
    least, separator, most = text.partition("..")
    bounds = Seconds(_number(least, _LONGEST_SECONDS), _number(most if separator else least, _LONGEST_SECONDS))
    if bounds.least > bounds.most:
        raise ValueError("the first bound is the larger one")
    return bounds


def _number(text: str, most: float) -> float:
    number = float(text)
    if not 0 <= number <= most:
        raise ValueError(f"{text} is not between 0 and {most:g}")
    return number


def _count(text: str) -> int:
    return int(_number(str(int(text)), _MOST_TIMES))


def _codes(text: str) -> tuple[int, ...]:
    return _numbers(text, _CODES, "no code of IBM's, which have four digits")


def _statuses(text: str) -> tuple[int, ...]:
    return _numbers(text, _STATUSES, "neither 429 nor 500 to 599")


def _numbers(text: str, known: Iterable[int], otherwise: str) -> tuple[int, ...]:
    numbers = tuple(int(part) for part in text.split("+"))
    for number in numbers:
        if number not in known:
            raise ValueError(f"{number} is {otherwise}")
    return numbers


def _rate(text: str) -> float:
    return _number(text, 1.0)


def _lasting(text: str) -> float:
    seconds = _number(text, _LONGEST_SECONDS)
    if seconds < 1:
        raise ValueError("a calibration lasts a second at least")
    return seconds


_OF_DEVICES: Final = ("drift", "drift_every")
_READERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "queue": _seconds,
    "run": _seconds,
    "fail": _codes,
    "fail_rate": _rate,
    "status": _statuses,
    "status_rate": _rate,
    "retry_after": _count,
    "times": _count,
    "expire": lambda text: _number(text, _LONGEST_SECONDS),
    "drift": _rate,
    "drift_every": _lasting,
}


def _read(word: str) -> tuple[str, Any]:
    name, separator, text = word.partition("=")
    if not separator or name not in _READERS:
        near = get_close_matches(name, _READERS, n=1)
        hint = f"do you mean {near[0]}?" if near else f"there are {', '.join(_READERS)}."
        raise MalformedRequestError(f"Chaos {word!r} is not of the form NAME=VALUE with a known name: {hint}")
    try:
        return name, _READERS[name](text)
    except ValueError as error:
        raise MalformedRequestError(f"Chaos {word!r} is not valid: {error}.") from error
