"""The errors of the operator; each class says what happens next.

OperatorError
└── InvalidSpecError  the RuntimeServer cannot be served as it is: wait until its spec changes
"""


class OperatorError(Exception):
    """Whatever the operator can say about what went wrong."""


class InvalidSpecError(OperatorError):
    """The spec makes no sense; the message says which field, and why."""
