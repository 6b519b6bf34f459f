"""The table of status codes is complete."""

from collections.abc import Iterator
from http import HTTPStatus

import pytest

from qiskit_runtime_server.api.errors import status_of
from qiskit_runtime_server.errors import RequestError, TooManyRequestsError


def subclasses(cls: type[RequestError]) -> Iterator[type[RequestError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from subclasses(child)


def made(cls: type[RequestError]) -> RequestError:
    return cls("no", retry_after=1) if issubclass(cls, TooManyRequestsError) else cls("no")


@pytest.mark.parametrize("cls", list(subclasses(RequestError)))
def test_every_request_error_is_the_clients_fault(cls: type[RequestError]) -> None:
    assert 400 <= status_of(made(cls)) < 500


def test_children_may_have_a_status_of_their_own() -> None:
    assert status_of(RequestError("no")) is HTTPStatus.BAD_REQUEST
    assert {status_of(made(cls)) for cls in subclasses(RequestError)} >= {400, 401, 404, 409, 413}
