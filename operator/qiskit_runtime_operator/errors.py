"""The errors of the operator; each class says what happens next.

OperatorError
├── InvalidSpecError      the RuntimeServer cannot be served as it is: wait until its spec changes
├── ClusterError          the API server did not do it: try again, not before `retry_after`
│   ├── ConflictError     other managers have fields of an object: take them, if the object is ours
│   ├── StaleError        something else is there than was known: look again
│   └── RefusedError      the API server will not do it as things are: say so in the status, try again later
│       └── MissingError  there is no such object, or no such collection
├── LeadershipLostError   another replica may be working: write nothing more and end
└── StartupError          the operator cannot begin: end and say why
"""

from collections.abc import Iterable
from datetime import timedelta


class OperatorError(Exception):
    """Whatever the operator can say about what went wrong."""


class InvalidSpecError(OperatorError):
    """The spec makes no sense; the message says which field, and why."""


class ClusterError(OperatorError):
    """A request to the API server failed; the message has its own words.

    Attributes:
        retry_after: How long the API server asked to be left alone, if it did.
    """

    def __init__(self, message: str, retry_after: timedelta | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConflictError(ClusterError):
    """Other managers have set fields of an object to other values.

    Attributes:
        managers: Their names, sorted.
    """

    def __init__(self, message: str, managers: Iterable[str]) -> None:
        super().__init__(message)
        self.managers = tuple(sorted(set(managers)))


class StaleError(ClusterError):
    """There is an object where none was expected, or another one, or another version of it."""


class RefusedError(ClusterError):
    """The API server will not do it: forbidden, invalid, over quota, or against a webhook's will."""


class MissingError(RefusedError):
    """There is no such object; for a collection: the cluster does not have the kind."""


class LeadershipLostError(OperatorError):
    """The Lease could not be renewed in time."""


class StartupError(OperatorError):
    """The operator cannot begin; the message says what to mend."""
