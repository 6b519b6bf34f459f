"""Names of virtual backends: `metadata@executor`."""

import re
from dataclasses import dataclass
from typing import Final, NewType, Self

from qiskit_runtime_server.errors import BackendNotFoundError

MetadataName = NewType("MetadataName", str)
ExecutorName = NewType("ExecutorName", str)

# Clients put names into URL paths without quoting them.
_METADATA: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_PATTERN: Final = re.compile(rf"(?P<metadata>{_METADATA})@(?P<executor>[a-z0-9]([a-z0-9-]*[a-z0-9])?)")


AUTO: Final = ExecutorName("auto")
"""Stands for the one of several executors that suits a job best; jobs wait under this name until it is chosen."""

# What clients put in the place of everything before the first underscore when they ask for a dry run.
DRY_RUN: Final = "mock_"


def dry_run_name(name: str) -> str | None:
    """Return what clients call the backend or device `name` for a dry run; None if they have no name for it."""
    _, underscore, rest = name.partition("_")
    return DRY_RUN + rest if underscore else None


def is_dry_run(name: str) -> bool:
    """Tell whether a backend or device of this name only pretends to run jobs."""
    return name.startswith(DRY_RUN)


def is_metadata_name(name: str) -> bool:
    """Tell whether `name` can be the part before the `@`."""
    return re.fullmatch(_METADATA, name) is not None


def metadata_of(backend: str) -> MetadataName:
    """Return the device that `backend` names, be it with its executor or, where that goes without saying, without."""
    return VirtualBackend.parse(backend).metadata if "@" in backend else MetadataName(backend)


@dataclass(frozen=True, slots=True, kw_only=True)
class VirtualBackend:
    """A device description together with the executor that simulates it."""

    metadata: MetadataName
    executor: ExecutorName

    @classmethod
    def parse(cls, name: str, default_executor: str | None = None) -> Self:
        """Return the pair that `name` spells.

        Args:
            name: Of the form `metadata@executor`.
            default_executor: That of a name without `@`; without it there is none such.

        Raises:
            BackendNotFoundError: If `name` is of another form.
        """
        if default_executor is not None and is_metadata_name(name):
            return cls(metadata=MetadataName(name), executor=ExecutorName(default_executor))
        match = _PATTERN.fullmatch(name)
        if match is None:
            raise BackendNotFoundError(
                f"Backend {name!r} not found: names have the form metadata@executor, as in fake_manila@aer."
            )
        return cls(metadata=MetadataName(match["metadata"]), executor=ExecutorName(match["executor"]))

    def __str__(self) -> str:
        return f"{self.metadata}@{self.executor}"
