"""Lines of a JSON log: one object each, whatever is logged."""

import json
import logging
import subprocess
import sys
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import kit
from qiskit_runtime_server.log.lines import JsonFormatter


def line_of(message: str, *args: object, extra: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    """Return what a handler writes for one call of a logger, read again."""
    record = logging.getLogger("qiskit_runtime_server.test").makeRecord(
        "qiskit_runtime_server.test", logging.WARNING, __file__, 1, message, args, more.get("exc_info"), extra=extra
    )
    text = JsonFormatter().format(record)
    assert text.isascii()
    assert "\n" not in text
    line: dict[str, Any] = json.loads(text)
    return line


def test_a_line_says_when_how_grave_where_and_what() -> None:
    line = line_of("Job %s of %s", "j1", "älice\nGET / answered 200")
    when = datetime.fromisoformat(line.pop("time"))
    assert when.utcoffset() is not None
    assert abs((datetime.now(when.tzinfo) - when).total_seconds()) < 60
    assert line == {
        "level": "warning",
        "logger": "qiskit_runtime_server.test",
        "message": "Job j1 of älice\nGET / answered 200",
    }


def test_what_is_given_beside_the_message_is_a_field_each() -> None:
    line = line_of("done", extra={"job": "j1", "seconds": 0.5, "where": Path("x"), "level": "mine"})
    assert (line["job"], line["seconds"], line["where"]) == ("j1", 0.5, "x")
    assert line["level"] == "warning"


def test_an_exception_is_a_field_with_its_traceback() -> None:
    try:
        int("of two\nlines")
    except ValueError:
        line = line_of("failed", exc_info=sys.exc_info())
    assert line["message"] == "failed"
    assert line["exception"].startswith("Traceback (most recent call last)")
    assert line["exception"].endswith(r"'of two\nlines'")


@pytest.mark.slow
def test_warnings_and_uncaught_errors_are_lines_too() -> None:
    program = (
        "import warnings; from qiskit_runtime_server.log.lines import begin_log; begin_log('info', 'json'); "
        "warnings.warn('look here'); raise KeyError('gone')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False, env=kit.environment()
    )
    assert done.returncode == 1
    warning, error = map(json.loads, done.stderr.splitlines())
    assert (warning["level"], warning["logger"]) == ("warning", "py.warnings")
    assert "look here" in warning["message"]
    assert (error["level"], error["message"]) == ("critical", "Ended by KeyError('gone').")
    assert "Traceback" in error["exception"]
