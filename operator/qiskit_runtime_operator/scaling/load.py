"""How busy the executors are, as the api says on its internal port."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated, Final, Self

from pydantic import ConfigDict, Field, TypeAdapter
from pydantic.dataclasses import dataclass

_TOLERANT: Final = ConfigDict(extra="ignore")
# Whoever chooses the image of an api can have it say anything.
_Count = Annotated[int, Field(ge=0, lt=2**31)]


@dataclass(frozen=True, slots=True, kw_only=True, config=_TOLERANT)
class ExecutorLoad:
    """How many jobs one executor has to do.

    Attributes:
        startable: How many of the queued ones may run beside what runs, by limits of their accounts; older apis do not
            say.
        slots: How many the api can give it at a time; older apis do not say.
        pods: How many jobs each pod runs, by its address; those that drain are left out. Older apis do not say.
        draining: Whether an admin keeps its queued jobs from starting.
    """

    queued: _Count
    running: _Count
    startable: _Count | None = None
    slots: _Count | None = None
    pods: Mapping[str, _Count] = Field(default_factory=dict)
    draining: bool = False

    @property
    def waiting_for_pods(self) -> int:
        """How many queued jobs would run if there were pods enough."""
        if self.draining:
            return 0
        return self.queued if self.startable is None else self.startable

    @property
    def busy_pods(self) -> int:
        """How many pods have a running job."""
        return sum(jobs > 0 for jobs in self.pods.values())


@dataclass(frozen=True, slots=True, kw_only=True, config=_TOLERANT)
class Load:
    """What the api answered.

    Attributes:
        executors: By name.
        backends: How many backends clients see; older apis do not say.
        without_slots: Whether the api has counted no slot twice in a row: once it may be just about to find
            those of new pods.
    """

    executors: Mapping[str, ExecutorLoad]
    backends: _Count | None = None
    without_slots: bool = False

    def after(self, last: "Load | None") -> "Load":
        """Return this load, read next after `last`."""
        return replace(self, without_slots=last is not None and self._has_no_slots() and last._has_no_slots())

    def _has_no_slots(self) -> bool:
        return all(executor.slots == 0 for executor in self.executors.values())

    @classmethod
    def from_json(cls, answer: bytes | str) -> Self:
        """Return what the api answered.

        Raises:
            ValueError: If it answered something else.
        """
        return TypeAdapter(cls).validate_json(answer)
