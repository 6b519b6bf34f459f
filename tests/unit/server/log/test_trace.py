"""The trace of a request or a job stands in each line that is written about it."""

import ast
import asyncio
import logging
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

import qiskit_runtime_server
from qiskit_runtime_server.log.trace import TextFormatter, Traced, begin_job, begin_trace, current_trace, of_job

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = f"00-{TRACE}-00f067aa0ba902b7-01"
OF_A_JOB = re.compile(r"[Jj]ob %s")


def text_of(message: str, *args: object, extra: Mapping[str, object] | None = None) -> str:
    """Return the line of a log for people that a call of the logger becomes."""
    record = logging.getLogger("a").makeRecord("a", logging.INFO, __file__, 1, message, args, None, extra=extra)
    assert Traced().filter(record)
    return TextFormatter("%(message)s").format(record)


async def test_a_line_has_the_trace_of_its_task_and_of_who_began_that() -> None:
    async def request(job_id: str | None) -> list[str]:
        trace = begin_trace(job_id)
        await asyncio.sleep(0)
        later = asyncio.create_task(asyncio.sleep(0, text_of("later")))
        assert current_trace() == trace
        return [trace, text_of("now"), await later]

    one, other = await asyncio.gather(request(None), request("j1"))
    assert other == ["j1", "now [trace j1]", "later [trace j1]"]
    assert one == [one[0], f"now [trace {one[0]}]", f"later [trace {one[0]}]"]
    assert one[0] != other[0]


async def test_a_trace_that_the_message_quotes_is_not_said_twice() -> None:
    begin_trace("t1")
    assert text_of("Job %s ended.", "t1") == "Job t1 ended."
    assert text_of("Job %s ended.", "j2", extra=of_job("j2")) == "Job j2 ended."


FORGED = "x\n2026-11-30 00:00:00,000 INFO    qiskit_runtime_server.audit: delete: account bob"


def test_what_a_client_wrote_begins_no_line_and_commands_no_terminal() -> None:
    assert text_of("Job failed: %s", f"{FORGED}\x1b[2J\u202e\u2028\ud800 á 量") == (
        "Job failed: x\\n" + FORGED[2:] + "\\x1b[2J\\u202e\\u2028\\ud800 á 量"
    )


def test_no_line_of_a_traceback_begins_as_those_of_the_log() -> None:
    error = ValueError(FORGED)
    record = logging.LogRecord("a", logging.ERROR, __file__, 1, "failed", (), (ValueError, error, None))
    first, *others = TextFormatter("%(message)s").format(record).split("\n")
    assert first == "failed"
    assert others == ["  ValueError: x", f"  {FORGED[2:]}"]


async def test_lines_of_what_follows_a_job_are_about_it_unless_they_say_another() -> None:
    begin_job("j1")
    records = [logging.makeLogRecord({}), logging.makeLogRecord(dict(of_job("j2")))]
    assert all(Traced().filter(record) for record in records)
    assert [(vars(record)["job"], vars(record)["trace"]) for record in records] == [("j1", "j1"), ("j2", "j2")]
    begin_trace("t1")
    record = logging.makeLogRecord({})
    assert Traced().filter(record)
    assert (vars(record)["trace"], "job" in vars(record)) == ("t1", False)


async def test_a_line_has_the_id_of_its_trace_elsewhere_too() -> None:
    begin_job("j1", PARENT)
    records = [logging.makeLogRecord(dict(about)) for about in ({}, of_job("j1"), of_job("j2"), of_job("j3", PARENT))]
    assert all(Traced().filter(record) for record in records)
    about = [(getattr(record, "job", None), getattr(record, "trace_id", None)) for record in records]
    assert about == [("j1", TRACE), ("j1", TRACE), ("j2", None), ("j3", TRACE)]


async def test_without_a_trace_a_line_is_as_ever() -> None:
    assert text_of("Listening.") == "Listening."


def calls_about_jobs() -> list[tuple[str, ast.Call]]:
    """Return the calls of loggers whose message names a job, with where they stand.

    Those of a class that begins with its job are left out: its lines are about that one.
    """
    return [
        (f"{file.name}:{node.lineno}", node)
        for file in Path(qiskit_runtime_server.__file__).parent.rglob("*.py")
        for statement in ast.parse(file.read_text()).body
        if not (
            isinstance(statement, ast.ClassDef) and re.search(r"\bbegin_job\((self|claim)\.", ast.unparse(statement))
        )
        for node in ast.walk(statement)
        if isinstance(node, ast.Call)
        and ast.unparse(node.func).startswith("logger.")
        and any(OF_A_JOB.search(ast.unparse(argument)) for argument in node.args)
    ]


@pytest.mark.parametrize(("where", "call"), calls_about_jobs(), ids=lambda each: each if isinstance(each, str) else "")
def test_every_line_that_names_a_job_carries_its_trace(where: str, call: ast.Call) -> None:
    assert "extra" in [keyword.arg for keyword in call.keywords], where


def test_all_of_them_are_found() -> None:
    assert len(calls_about_jobs()) > 15
