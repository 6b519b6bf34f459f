"""What all answers share, errors, and the bounds of what requests may say in paths, queries and headers."""

from typing import Annotated, Any, Final

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field

MAX_NAME: Final = 256
MAX_TAGS: Final = 16

Name = Annotated[str, Field(max_length=MAX_NAME)]
"""A name or an id, as requests spell it."""

PathName = Annotated[str, Path(max_length=MAX_NAME)]
"""The same in a path."""

Crn = Annotated[str, Field(max_length=512)]
"""The CRN of an instance."""

PathCrn = Annotated[str, Path(max_length=512)]
"""The same in a path."""

TagFilter = Annotated[list[Name], Field(max_length=MAX_TAGS)]
"""Tags that are looked for, all of them."""

Names = Annotated[list[Crn], Field(max_length=100)]
"""Any of some names."""

Count = Annotated[int, Field(ge=0, le=2**31 - 1)]

Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]
"""ISO 8601 with its time zone."""


class Answer(BaseModel):
    """The body of an answer."""

    model_config = ConfigDict(
        frozen=True, use_attribute_docstrings=True, json_schema_serialization_defaults_required=True
    )


class ErrorSummary(Answer):
    """What the Python client prints."""

    message: str
    code: int
    """The HTTP status."""


class ErrorDetails(Answer):
    """One error in the platform's shape."""

    code: int
    """The HTTP status."""
    message: str
    solution: str
    more_info: str


class Errors(Answer):
    """Every error, in both shapes that clients read."""

    error: ErrorSummary
    errors: list[ErrorDetails]
    trace: str
    """A random number for each answer."""


_MEANINGS: Final = {
    400: "The request makes no sense; the message says which part.",
    401: "The access token is missing, wrong or expired.",
    403: "The account may not do that.",
    404: "What the path or the body names is not there, for this account.",
    409: "It is in a state in which this cannot be done.",
    413: "The body is too large.",
    429: "It goes beyond a limit of the instance; the message names it.",
    503: "The server cannot do it now: the same request may succeed later, after `Retry-After` seconds.",
}


def errors(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the description of the errors with these statuses, beside which every route may answer 400 and 503."""
    described = {status: {"model": Errors, "description": _MEANINGS[status]} for status in {400, 503, *statuses}}
    # `default` keeps out the shape of validation errors that the framework would add, and that no answer has.
    return {**dict(sorted(described.items())), "default": {"model": Errors, "description": "Any other error."}}


SIGNED_IN: Final = (401, 404, 429)
"""What every route may answer that asks who is calling: a wrong token, an instance of others, too many requests."""

TEXT: Final[dict[str, Any]] = {"content": {"text/plain": {"schema": {"type": "string"}}}}
"""The description of an answer that is text."""
