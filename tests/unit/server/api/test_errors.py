"""The trace that a user quotes stands in the log, with the request and the reason."""

import logging
from unittest.mock import AsyncMock

import pytest

from kit.server.api_in_process import Api, body, submit
from qiskit_runtime_server.errors import InjectedError, StoreUnavailableError


async def test_the_trace_of_an_error_finds_its_line_in_the_log(api: Api, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    answer = await api.alice.get("/jobs/none%0Asuch?secret=1")
    trace = answer.json()["trace"]
    (line,) = [message for message in caplog.messages if trace in message]
    assert line.startswith(f"GET /api/v1/jobs/none%0Asuch answered 404, trace {trace}: ")
    assert "\n" not in line
    assert "secret" not in line


async def test_a_path_as_long_as_can_be_sent_takes_little_of_the_log(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "qiskit_runtime_server")
    for path in ("/nowhere" * 8_000, "/jobs/" + "j" * 60_000):
        assert len((await api.alice.get(path)).content) < 1_000
    told = [record for record in caplog.records if record.name.startswith("qiskit_runtime_server")]
    assert len(told) == 2
    assert max(len(str(vars(record)) + record.getMessage()) for record in told) < 4_000


@pytest.mark.parametrize(
    ("error", "status"), [(StoreUnavailableError("The database is away."), 503), (ValueError("a mistake"), 500)]
)
async def test_what_failed_here_is_a_warning_with_its_trace(
    api: Api,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    error: Exception,
    status: int,
) -> None:
    monkeypatch.setattr(api.store.jobs, "get", AsyncMock(side_effect=error))
    answer = await api.alice.get("/jobs/j")
    assert answer.status_code == status
    (record,) = [record for record in caplog.records if answer.json()["trace"] in record.getMessage()]
    assert record.levelname == "WARNING"
    assert f"GET /api/v1/jobs/j answered {status}" in record.getMessage()


@pytest.mark.parametrize("status", [429, 502])
async def test_a_fault_that_was_asked_for_is_answered_as_asked(
    api: Api, monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    error = InjectedError("on purpose", status=status, retry_after=7)
    monkeypatch.setattr(api.store.jobs, "get", AsyncMock(side_effect=error))
    answer = await api.alice.get("/jobs/j")
    assert (answer.status_code, answer.headers["Retry-After"]) == (status, "7")
    assert answer.json()["error"]["message"] == "on purpose"


async def test_faults_are_not_to_be_had_where_no_device_has_any(api: Api) -> None:
    answer = await api.alice.put("/chaos", json={"faults": ["run=1"]})
    assert answer.status_code == 404
    assert "QRS_CHAOS" in answer.json()["error"]["message"]


async def test_an_error_about_a_job_has_the_trace_of_all_lines_about_it(api: Api) -> None:
    job = await submit(api.alice)
    assert (await api.alice.post(f"/jobs/{job}/cancel")).status_code == 204
    traces = {(await api.alice.post(f"/jobs/{job}/cancel")).json()["trace"] for _ in range(2)}
    assert traces == {job}
    assert (await api.nobody.get(f"/api/v1/jobs/{job}")).json()["trace"] == job
    other, another = [(await api.alice.get("/jobs/unknown")).json()["trace"] for _ in range(2)]
    assert len({job, other, another}) == 3


async def test_a_submission_that_failed_has_the_trace_of_the_job_that_may_have_been_stored(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    add = AsyncMock(side_effect=StoreUnavailableError("The database is away."))
    monkeypatch.setattr(api.store.jobs, "add", add)
    answer = await api.alice.post("/jobs", json=body())
    assert answer.status_code == 503
    assert answer.json()["trace"] == add.call_args.args[0].id
