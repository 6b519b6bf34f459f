"""What a check is, and how it ends."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from qiskit_runtime_server.conformance.target import Target

Question = Callable[["Target"], None]


class Verdict(StrEnum):
    """How a check ended."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_OFFERED = "not offered"


class NotOfferedError(Exception):
    """The server or the client says that it has no such thing; the message has the words."""


class DifferenceError(Exception):
    """The server's answer is not the one that clients expect; the message says what it was."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question to a server.

    Attributes:
        name: As in ``sessions.batch``; its first part is the group.
        asks: What has to be true, in a sentence.
        run: Returns if it is; raises `NotOfferedError`, or anything else with the reason why it is not.
    """

    name: str
    asks: str
    run: Question


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a check ended, why if it did not pass, and how long it took in seconds."""

    check: Check
    verdict: Verdict
    reason: str
    seconds: float


CHECKS: Final[list[Check]] = []


def check(name: str) -> Callable[[Question], Question]:
    """Add a function to the checks; the first line of its docstring is what it asks."""

    def register(run: Question) -> Question:
        CHECKS.append(Check(name, (run.__doc__ or "").strip().partition("\n")[0], run))
        return run

    return register


def require(condition: object, found: object) -> None:
    """Go on if a condition holds.

    Raises:
        DifferenceError: If not, with what was found.
    """
    if not condition:
        raise DifferenceError(f"found {found!r}")


def refusal(error: type[Exception], call: Callable[[], object]) -> str:
    """Return the words with which a call is refused.

    Raises:
        DifferenceError: If it is not.
    """
    try:
        call()
    except error as refused:
        return str(refused)
    raise DifferenceError("it was not refused")
