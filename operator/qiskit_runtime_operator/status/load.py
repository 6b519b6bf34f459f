"""How busy the executors are, as the api says on its internal port."""

from collections.abc import Mapping
from typing import Final, Self

from pydantic import ConfigDict, TypeAdapter
from pydantic.dataclasses import dataclass

_TOLERANT: Final = ConfigDict(extra="ignore")


@dataclass(frozen=True, slots=True, kw_only=True, config=_TOLERANT)
class ExecutorLoad:
    """How many jobs one executor has to do."""

    queued: int
    running: int


@dataclass(frozen=True, slots=True, kw_only=True, config=_TOLERANT)
class Load:
    """What the api answered.

    Attributes:
        executors: By name.
        backends: How many backends clients see; older apis do not say.
    """

    executors: Mapping[str, ExecutorLoad]
    backends: int | None = None

    @classmethod
    def from_json(cls, answer: bytes | str) -> Self:
        """Return what the api answered.

        Raises:
            ValueError: If it answered something else.
        """
        return TypeAdapter(cls).validate_json(answer)
