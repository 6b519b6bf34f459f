"""Which operator: what one says of itself to others, in objects and in the fields that it manages."""

import re
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final, Self

from qiskit_runtime_operator.resource.names import MANAGER

# Of the API server.
_MAX_MANAGER: Final = 128
_DIGEST_BYTES: Final = 8
# Of a namespace and of a Lease.
_NAMES: Final = re.compile(r"([a-z0-9]|[a-z0-9][-a-z0-9]*[a-z0-9])/([a-z0-9]|[a-z0-9][-.a-z0-9]*[a-z0-9])")


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorIdentity:
    """An operator, by its Lease: all replicas of a release, and each version of it, are the same one."""

    namespace: str
    lease: str

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Return the operator that `str` wrote; None if no operator can be called so."""
        if _NAMES.fullmatch(text) is None:
            return None
        namespace, _, lease = text.partition("/")
        return cls(namespace=namespace, lease=lease)

    def __str__(self) -> str:
        return f"{self.namespace}/{self.lease}"

    @property
    def field_manager(self) -> str:
        """Its name in `managedFields`."""
        name = f"{MANAGER}/{self}"
        if len(name) <= _MAX_MANAGER:
            return name
        digest = blake2b(name.encode(), digest_size=_DIGEST_BYTES).hexdigest()
        return f"{name[: _MAX_MANAGER - len(digest) - 1]}-{digest}"


def is_an_operators(manager: str) -> bool:
    """Tell whether a field manager is an operator of ours, of any release; the first ones did not say of which."""
    return manager == MANAGER or manager.startswith(f"{MANAGER}/")
