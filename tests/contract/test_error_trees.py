"""The errors of server and operator form the trees that the heads of their modules draw."""

import inspect
import re
from types import ModuleType

import pytest

from qiskit_runtime_operator import errors as of_operator
from qiskit_runtime_server import errors as of_server
from qiskit_runtime_server.errors import JobError

ROOTS: dict[ModuleType, type[Exception]] = {
    of_server: of_server.ServerError,
    of_operator: of_operator.OperatorError,
}
each = pytest.mark.parametrize("errors", ROOTS, ids=lambda module: module.__name__)


def classes_of(errors: ModuleType) -> list[type[BaseException]]:
    return [
        value
        for value in vars(errors).values()
        if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == errors.__name__
    ]


def drawn(errors: ModuleType) -> dict[str, str]:
    """Return each class of the drawing with the one above it."""
    above: list[tuple[int, str]] = []
    parents = {}
    for line in (errors.__doc__ or "").splitlines():
        if (found := re.match(r"([│├└─ ]*)(\w+Error)\b", line)) is None:
            continue
        depth, name = len(found[1]), found[2]
        above = [(at, other) for at, other in above if at < depth]
        if above:
            parents[name] = above[-1][1]
        above.append((depth, name))
    return parents


@each
def test_every_error_has_one_base_which_is_the_one_in_the_drawing(errors: ModuleType) -> None:
    classes = classes_of(errors)
    assert len(classes) > 5
    assert all(len(cls.__bases__) == 1 for cls in classes)
    assert drawn(errors) == {
        cls.__name__: cls.__base__.__name__ for cls in classes if cls.__base__ and cls is not ROOTS[errors]
    }


@each
def test_every_error_says_what_it_means(errors: ModuleType) -> None:
    assert [cls.__name__ for cls in classes_of(errors) if not cls.__dict__.get("__doc__")] == []


def test_every_error_of_a_job_has_a_code_of_four_digits() -> None:
    job_errors = [cls for cls in classes_of(of_server) if issubclass(cls, JobError)]
    assert len(job_errors) > 5
    assert all(1000 <= cls.code <= 9999 for cls in job_errors)
