"""Roles, and whose jobs a teacher looks after, as `teaches` in accounts.toml says.

Each entry is the name of an account, at whose end a star stands for any rest, and behind a colon the name of an
instance, if only jobs under that instance are meant: `ann`, `class-a-*`, `ann:teaching`, `*:students`. As people whom
an issuer vouches for have an instance called like each group that they are in, the last one is a group.
"""

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from qiskit_runtime_server.jobs import AccountId, name_of

_STAR: Final = "*"


class Role(StrEnum):
    """Spelled as in files."""

    USER = "user"
    TEACHER = "teacher"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Teaching:
    """What an account teaches: the entries, spelled as in the file; of most accounts there are none."""

    entries: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Whether it teaches anybody."""
        return bool(self.entries)

    def names(self) -> set[str]:
        """Return the names of accounts that it spells out."""
        patterns = {entry.partition(":")[0] for entry in self.entries}
        return {pattern for pattern in patterns if not pattern.endswith(_STAR)}

    def instances(self, account: AccountId) -> Collection[str] | None:
        """Return the CRNs under which the account's jobs are meant: none of an account that is not taught.

        None stands for all that the account has, whatever it was sent under.
        """
        name, found = name_of(account), set()
        for entry in self.entries:
            pattern, _, instance = entry.partition(":")
            if fits(name, pattern):
                if not instance:
                    return None
                found.add(crn_of(name, instance))
        return found

    def covers(self, account: AccountId, instance: str) -> bool:
        """Return whether a job is meant, by its account and the CRN that it was submitted under."""
        instances = self.instances(account)
        return instances is None or instance in instances


NOBODY: Final = Teaching()


def fits(name: str, pattern: str) -> bool:
    """Return whether a name is the same as the pattern or, where that ends with a star, begins so."""
    return name.startswith(pattern[:-1]) if pattern.endswith(_STAR) else name == pattern


def crn_of(account: str, instance: str) -> str:
    """Return the CRN of an instance, by both names; clients take the region, the sixth field, apart."""
    return f"crn:v1:bluemix:public:quantum-computing:us-east:a/{account}:{instance}::"
