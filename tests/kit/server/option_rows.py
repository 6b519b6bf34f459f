"""The table of options: each row is put there by the test that proves it."""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

Test = TypeVar("Test", bound=Callable[..., None])


class Verdict(StrEnum):
    HONOURED = "honoured"
    REFUSED = "refused"
    NOT_SENT = "not sent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What happens to an option of a program.

    Attributes:
        program: What users import, or the program's id.
        option: By its dotted name.
        note: What it does here, or what is refused of it.
        test: Where it is proven.
    """

    program: str
    option: str
    verdict: Verdict
    note: str
    test: str


ROWS: dict[tuple[str, str], Row] = {}


def proves(program: str, option: str, note: str = "", verdict: Verdict = Verdict.HONOURED) -> Callable[[Test], Test]:
    """Put a row into the table; the decorated test shows that it is true."""

    def register(test: Test) -> Test:
        name = f"{test.__module__.rpartition('.')[2]}.{test.__qualname__}"
        ROWS[program, option] = Row(program=program, option=option, verdict=verdict, note=note, test=name)
        return test

    return register
