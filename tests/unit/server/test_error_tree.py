"""The errors of the server form the tree that the head of their module draws; logs have one name in each module."""

import inspect
import re
from pathlib import Path

from qiskit_runtime_server import errors
from qiskit_runtime_server.errors import JobError, ServerError

CLASSES = [
    value
    for value in vars(errors).values()
    if inspect.isclass(value) and issubclass(value, BaseException) and value.__module__ == errors.__name__
]
PACKAGE = Path(errors.__file__).parent


def drawn() -> dict[str, str]:
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


def test_every_error_has_one_base_which_is_the_one_in_the_drawing() -> None:
    assert all(len(cls.__bases__) == 1 for cls in CLASSES)
    assert drawn() == {
        cls.__name__: cls.__base__.__name__ for cls in CLASSES if cls.__base__ and cls is not ServerError
    }


def test_every_error_says_what_it_means() -> None:
    assert [cls.__name__ for cls in CLASSES if not cls.__dict__.get("__doc__")] == []


def test_every_error_of_a_job_has_a_code_of_four_digits() -> None:
    job_errors = [cls for cls in CLASSES if issubclass(cls, JobError)]
    assert len(job_errors) > 5
    assert all(1000 <= cls.code <= 9999 for cls in job_errors)


def test_every_module_that_logs_calls_its_logger_alike() -> None:
    names = {
        (file.name, name)
        for file in PACKAGE.rglob("*.py")
        for name in re.findall(r"^(\w+)(?:: \S+)? = logging\.getLogger\(", file.read_text(), re.MULTILINE)
    }
    assert len(names) > 5
    assert {name for _, name in names} == {"logger"}
