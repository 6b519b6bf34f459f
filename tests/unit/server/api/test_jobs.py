"""The routes of jobs: what they answer, to whom, and what they refuse."""

import asyncio
import itertools
from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast

import httpx
import pytest

from kit.server.api_in_process import BACKEND, Api, api_in_process, body, submit
from kit.server.played_pool import NAME, PlayedPool
from qiskit_runtime_server.dispatch.forecast import forecast
from qiskit_runtime_server.jobs import AccountId, JobState, Outcome
from qiskit_runtime_server.messages.messages import Progress
from qiskit_runtime_server.store.port import JobQuery

ROUTES = [
    ("GET", ""),
    ("DELETE", ""),
    ("POST", "/cancel"),
    ("GET", "/results"),
    ("GET", "/metrics"),
    ("GET", "/logs"),
    ("PUT", "/tags"),
]


async def test_a_job_is_accepted_and_shown_as_it_was_sent(api: Api) -> None:
    job = await submit(api.alice, tags=["a"], cost=60, params={"pubs": [], "x": 1.5})
    shown = (await api.alice.get(f"/jobs/{job}")).json()
    assert shown["status"] == "Queued"
    assert (shown["backend"], shown["program"], shown["tags"], shown["cost"]) == (BACKEND, {"id": "sampler"}, ["a"], 60)
    assert shown["user_id"] == "alice"
    assert shown["params"] == {"pubs": [], "x": 1.5}
    assert "params" not in (await api.alice.get(f"/jobs/{job}", params={"exclude_params": True})).json()


async def test_a_job_that_asks_for_more_time_than_there_is_gets_the_most_that_there_is(api: Api) -> None:
    job = await submit(api.alice, cost=10**6)
    assert (await api.alice.get(f"/jobs/{job}")).json()["cost"] == api.services.settings.max_seconds


async def test_a_cost_of_nothing_says_nothing_as_the_platform_has_it(api: Api) -> None:
    job = await submit(api.alice, cost=0)
    assert (await api.alice.get(f"/jobs/{job}")).json()["cost"] == api.services.settings.max_seconds


async def test_a_private_job_is_said_to_be_one_when_it_is_accepted(api: Api) -> None:
    assert (await api.alice.post("/jobs", json=body(private=True))).json()["private"] is True
    assert "private" not in (await api.alice.post("/jobs", json=body())).json()


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({"program_id": "circuit-runner"}, 404, "circuit-runner"),
        ({"backend": "fake_nowhere@played"}, 404, "fake_nowhere"),
        ({"backend": "fake_manila@nothing"}, 404, "played"),
        ({"cost": -1}, 400, "cost"),
        ({"runtime": "image"}, 400, "image"),
        ({"calibration_id": "of yesterday"}, 404, "of yesterday"),
        ({"session_id": "none"}, 404, "none"),
        ({"start_session": True, "session_id": "other"}, 400, "session_id"),
        ({"tags": ["x"] * 65}, 400, "tags"),
    ],
)
async def test_a_job_that_makes_no_sense_is_refused_by_name(
    api: Api, changes: dict[str, object], status: int, words: str
) -> None:
    answer = await api.alice.post("/jobs", json=body(**changes))
    assert answer.status_code == status
    assert words in answer.json()["error"]["message"]
    assert (await api.alice.get("/jobs")).json()["count"] == 0


@pytest.mark.parametrize("program", ["executor", "noise-learner", "calibrate"])
async def test_params_of_a_newer_schema_are_refused_with_those_that_are_read(api: Api, program: str) -> None:
    answer = await api.alice.post("/jobs", json=body(program_id=program, params={"schema_version": "v9.0"}))
    assert answer.status_code == 400
    assert "'v9.0'" in answer.json()["error"]["message"]
    assert "v0.1" in answer.json()["error"]["message"]
    assert (await api.alice.get("/jobs")).json()["count"] == 0
    # What else is wrong is for the worker to say.
    others: list[object] = [{"schema_version": "v0.1"}, {"schema_version": 1}, {}, []]
    for params in others:
        await submit(api.alice, program_id=program, params=params)


async def test_a_body_that_is_no_json_or_has_no_params_is_refused(api: Api) -> None:
    assert (await api.alice.post("/jobs", content=b"{")).status_code == 400
    assert (await api.alice.post("/jobs", json={"program_id": "sampler", "backend": BACKEND})).status_code == 400


async def test_one_job_more_than_may_wait_is_refused(api: Api) -> None:
    for _ in range(2):
        await submit(api.bob)
    assert (await api.bob.post("/jobs", json=body())).status_code == 429
    await api.start_next()
    await submit(api.bob)


@pytest.mark.parametrize(("method", "path"), ROUTES)
async def test_jobs_of_others_are_not_there_and_without_a_token_nothing_is(api: Api, method: str, path: str) -> None:
    job = await submit(api.alice)
    content = b'{"tags": []}' if method == "PUT" else None
    refused = await api.bob.request(method, f"/jobs/{job}{path}", content=content)
    unknown = await api.bob.request(method, f"/jobs/none{path}", content=content)
    assert (refused.status_code, unknown.status_code) == (404, 404)
    assert refused.json()["error"]["message"].replace(job, "none") == unknown.json()["error"]["message"]
    anonymous = await api.nobody.request(method, f"/api/v1/jobs/{job}{path}", content=content)
    assert anonymous.status_code == 401
    assert (await api.alice.get(f"/jobs/{job}")).json()["status"] == "Queued"


async def test_a_result_is_nothing_until_there_is_one(api: Api) -> None:
    job = await submit(api.alice)
    assert (await api.alice.get(f"/jobs/{job}/results")).status_code == 204
    await api.end_next(result=b'{"counts": 3}')
    answer = await api.alice.get(f"/jobs/{job}/results")
    assert (answer.status_code, answer.content) == (200, b'{"counts": 3}')
    assert (await api.ada.get(f"/jobs/{job}/results")).content == answer.content


async def test_a_private_result_is_read_once_and_by_its_owner_only(api: Api) -> None:
    job = await submit(api.alice, private=True)
    await api.end_next()
    assert (await api.ada.get(f"/jobs/{job}/results")).status_code == 403
    assert (await api.alice.get(f"/jobs/{job}/results")).status_code == 200
    assert (await api.alice.get(f"/jobs/{job}/results")).status_code == 204
    assert "params" not in (await api.alice.get(f"/jobs/{job}")).json()


async def test_metrics_follow_the_job(api: Api) -> None:
    await submit(api.bob)
    job = await submit(api.alice)
    queued = (await api.alice.get(f"/jobs/{job}/metrics")).json()
    assert queued["position_in_queue"] == 2
    assert queued["timestamps"]["running"] is None
    await api.end_next()
    await api.end_next(seconds=4)
    ended = (await api.alice.get(f"/jobs/{job}/metrics")).json()
    assert ended["position_in_queue"] is None
    assert ended["usage"] == {"quantum_seconds": 4, "seconds": 4, "qpu_charge_time_seconds": 4, "status": "final"}
    assert ended["timestamps"]["finished"] >= ended["timestamps"]["running"] >= ended["timestamps"]["created"]
    assert ended["executions"] == 10


async def test_metrics_at_zero_say_when_an_executor_is_about_to_be_up(tmp_path: Path) -> None:
    async with api_in_process(tmp_path, on_demand=(NAME,)) as api:
        await submit(api.alice)
        await api.end_next(seconds=8)
        pool = cast("PlayedPool", api.services.pools[NAME])
        pool.size, pool.missing_seconds = 0, 1e6
        jobs = [await api.store.jobs.get(None, await submit(api.alice)) for _ in range(3)]

        async def starts() -> list[float | None]:
            told = [(await api.alice.get(f"/jobs/{job.id}/metrics")).json()["estimated_start_time"] for job in jobs]
            since = jobs[0].created
            return [None if time is None else (datetime.fromisoformat(time) - since).total_seconds() for time in told]

        assert await starts() == [None] * 3
        took = timedelta(seconds=40)
        noted = replace(jobs[0], fence=1)
        away, back = noted.created - took, noted.created + took
        api.services.dispatcher.cold_starts.claimed(noted, away_since=away, back=back, slots=2)
        assert await starts() == pytest.approx([40, 44, 48], abs=0.01)
        # One that was there until a moment ago has not begun to start when the job began to wait.
        pool.missing_seconds = 10.0
        now, cold = noted.created + timedelta(seconds=1000), api.services.cold_start(NAME)
        later = await forecast(api.store.counts, noted, position=1, pool=pool, cold=cold, short=timedelta(0), now=now)
        assert later.start == now - timedelta(seconds=10) + took


async def test_metrics_say_how_far_a_running_job_is_and_when_it_is_about_to_end(api: Api) -> None:
    job = await submit(api.alice)
    claim = await api.start_next()
    unknown = (await api.alice.get(f"/jobs/{job}/metrics")).json()
    names = ("progress", "estimated_start_time", "estimated_completion_time")
    assert [unknown[name] for name in names] == [None, None, None]
    told = Progress(done=3, total=10, seconds=50.0, fraction=0.35, stage="pub 1 of 2")
    await api.store.queue.note_progress(claim, told)
    running = (await api.alice.get(f"/jobs/{job}/metrics")).json()
    assert (running["progress"], running["estimated_start_time"]) == (
        {"done": 3, "total": 10, "fraction": 0.35, "stage": "pub 1 of 2"},
        None,
    )
    took = datetime.fromisoformat(running["estimated_completion_time"]) - datetime.fromisoformat(
        running["timestamps"]["running"]
    )
    assert took.total_seconds() == pytest.approx(50)
    await api.store.queue.note_progress(claim, Progress(done=9, total=10, seconds=0.0))
    overdue = (await api.alice.get(f"/jobs/{job}/metrics")).json()
    assert overdue["progress"] == {"done": 9, "total": 10, "fraction": 0.9, "stage": ""}
    assert datetime.fromisoformat(overdue["estimated_completion_time"]) > datetime.fromisoformat(
        overdue["timestamps"]["running"]
    )
    assert await api.store.queue.finish(claim, Outcome(state=JobState.COMPLETED), b"{}")
    ended = (await api.alice.get(f"/jobs/{job}/metrics")).json()
    assert [ended[name] for name in names] == [None, None, None]


async def expected(client: httpx.AsyncClient, job: str) -> list[float | None]:
    """Return when a queued job is about to start and to end, in seconds from now."""
    found = (await client.get(f"/jobs/{job}/metrics")).json()
    times = (found[f"estimated_{what}_time"] for what in ("start", "completion"))
    now = datetime.now(UTC)
    return [None if time is None else (datetime.fromisoformat(time) - now).total_seconds() for time in times]


async def test_a_job_that_was_sent_back_as_a_long_one_is_to_start_when_a_long_one_ends(api: Api) -> None:
    [pool] = api.services.pools.values()
    pool.size = 2  # type: ignore[misc]
    await submit(api.bob)
    await api.end_next(seconds=1)
    for client in (api.bob, api.alice):
        queued = await submit(client)
        claim = await api.start_next()
        assert await api.store.queue.found_long(claim, long_slots=1)
        await api.store.queue.note_progress(claim, Progress(done=1, total=10, seconds=40.0))
    # The other slot is free, but for short jobs, as one was that took a second.
    assert await expected(api.alice, queued) == [pytest.approx(40, abs=5), None]


async def test_metrics_say_when_a_queued_job_is_about_to_start_and_end(api: Api) -> None:
    alone = await submit(api.alice)
    start, end = await expected(api.alice, alone)
    assert start == pytest.approx(0, abs=5)
    assert end is None, "nobody knows how long jobs take here"
    await api.end_next(seconds=10)
    await submit(api.alice)
    await api.end_next(seconds=30)
    await submit(api.bob)
    running = await api.start_next()
    await api.store.queue.note_progress(running, Progress(done=1, total=10, seconds=40.0))
    await submit(api.bob)
    queued = await submit(api.alice)
    assert await expected(api.alice, queued) == pytest.approx([40 + 20, 40 + 20 + 20], abs=5)
    await api.store.queue.drain(NAME, draining=True)
    assert await expected(api.alice, queued) == [None, None]


async def test_a_job_is_cancelled_once_by_its_owner_or_an_admin(api: Api) -> None:
    first, second = await submit(api.alice), await submit(api.alice)
    assert (await api.alice.post(f"/jobs/{first}/cancel")).status_code == 204
    assert (await api.alice.post(f"/jobs/{first}/cancel")).status_code == 409
    assert (await api.ada.post(f"/jobs/{second}/cancel")).status_code == 204
    shown = (await api.alice.get(f"/jobs/{second}")).json()
    assert (shown["status"], shown["state"]["reason"]) == ("Cancelled", "Cancelled by ada, an admin.")


async def test_a_deleted_job_is_gone(api: Api) -> None:
    job = await submit(api.alice)
    assert (await api.alice.delete(f"/jobs/{job}")).status_code == 204
    assert (await api.alice.get(f"/jobs/{job}")).status_code == 404


async def test_a_log_is_text_from_the_start(api: Api) -> None:
    job = await submit(api.alice)
    assert (await api.alice.get(f"/jobs/{job}/logs")).text == ""
    claim = await api.start_next()
    await api.store.documents.append_log(claim.job.id, "a line\n")
    answer = await api.alice.get(f"/jobs/{job}/logs")
    assert (answer.text, answer.headers["content-type"]) == ("a line\n", "text/plain; charset=utf-8")


async def test_tags_are_replaced(api: Api) -> None:
    job = await submit(api.alice, tags=["old"])
    assert (await api.alice.put(f"/jobs/{job}/tags", json={"tags": ["new", "er"]})).status_code == 204
    assert (await api.alice.get(f"/jobs/{job}")).json()["tags"] == ["new", "er"]
    assert (await api.alice.put(f"/jobs/{job}/tags", json={"tags": "new"})).status_code == 400


async def test_listings_show_pages_of_the_callers_own_jobs_as_they_are_asked_for(api: Api) -> None:
    jobs = [await submit(api.alice, tags=[str(number % 2)]) for number in range(5)]
    await submit(api.bob)

    async def listed(**wanted: str | int) -> list[str]:
        answer = await api.alice.get("/jobs", params=wanted)
        assert answer.status_code == 200, answer.text
        return [job["id"] for job in answer.json()["jobs"]]

    assert await listed() == jobs[::-1]
    assert await listed(limit=2, offset=1) == jobs[::-1][1:3]
    assert await listed(sort="ASC", tags="1") == jobs[1::2]
    await api.alice.post(f"/jobs/{jobs[0]}/cancel")
    assert await listed(pending=True, sort="ASC") == jobs[1:]
    assert (await api.alice.get("/jobs", params={"limit": 0})).status_code == 400


@pytest.mark.parametrize(
    ("path", "part", "method", "reads"),
    [
        ("/jobs", "jobs", "find", 1),
        ("/workloads", "overviews", "workloads", 1),
        ("/tags?search=batch", "overviews", "tags", 1),
        ("/analytics/filters", "overviews", "usage", 3),
        ("/analytics/usage", "overviews", "usage", 1),
        ("/analytics/usage_grouped?group_by=backend", "overviews", "usage", 1),
        ("/analytics/usage_grouped_by_date?group_by=instance", "overviews", "usage", 1),
    ],
)
async def test_an_account_is_listed_one_page_at_a_time_so_that_others_are_listed_meanwhile(
    api: Api, monkeypatch: pytest.MonkeyPatch, path: str, part: str, method: str, reads: int
) -> None:
    store = getattr(api.store, part)
    read, going, begun, go_on = getattr(store, method), [], asyncio.Event(), asyncio.Event()

    async def reading(*asked: object, **options: object) -> object:
        going.append(asked)
        if not begun.is_set():
            begun.set()
            await go_on.wait()
        return await read(*asked, **options)

    monkeypatch.setattr(store, method, reading)
    asked = [asyncio.create_task(api.alice.get(path)) for _ in range(5)]
    await begun.wait()
    assert (await api.bob.get(path)).status_code == 200
    assert len(going) == 1 + reads
    go_on.set()
    assert {(await answer).status_code for answer in asked} == {200}
    assert len(going) == 6 * reads


async def test_no_more_listings_of_an_account_wait_for_each_other_than_leave_connections_to_others(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    find, go_on = api.store.jobs.find, asyncio.Event()

    async def waiting(account: AccountId | None, query: JobQuery) -> object:
        await go_on.wait()
        return await find(account, query)

    monkeypatch.setattr(api.store.jobs, "find", waiting)
    asked = [asyncio.create_task(api.alice.get("/jobs")) for _ in range(40)]
    for answer in itertools.islice(asyncio.as_completed(asked, timeout=30), 8):
        refused = await answer
        assert refused.status_code == 429
        assert refused.headers["Retry-After"] == "1"
    of_admin = asyncio.create_task(api.ada.get("/admin/jobs", params={"account": "alice"}))
    go_on.set()
    assert (await of_admin).status_code == 200
    assert Counter([(await answer).status_code for answer in asked]) == {200: 32, 429: 8}


async def test_a_page_has_as_many_jobs_as_the_platforms_own(api: Api) -> None:
    for _ in range(201):
        await submit(api.alice)
    for wanted, most in (({}, 200), ({"limit": 1000}, 200), ({"exclude_params": False}, 20), ({"limit": 3}, 3)):
        page = (await api.alice.get("/jobs", params=wanted)).json()
        assert (len(page["jobs"]), page["limit"], page["count"]) == (most, most, 201)


async def test_a_page_past_the_end_ends_the_pages_of_the_client(api: Api) -> None:
    for _ in range(3):
        await submit(api.alice)
    # The client asks on until it has as many jobs as there are, less those that it has skipped.
    for offset, count in ((2, 3), (3, 3), (10, 10)):
        page = (await api.alice.get("/jobs", params={"offset": offset})).json()
        assert (len(page["jobs"]), page["count"]) == (count - offset, count)


async def test_listings_have_params_when_they_are_asked_for(api: Api) -> None:
    await submit(api.alice, params={"pubs": [], "x": [1, "\u00e9"]})
    await submit(api.alice, private=True)
    await submit(api.alice, params={"pubs": "x" * (1 << 20)})
    assert all("params" not in job for job in (await api.alice.get("/jobs")).json()["jobs"])
    jobs = (await api.alice.get("/jobs", params={"exclude_params": "false", "sort": "ASC"})).json()["jobs"]
    assert [job.get("params") for job in jobs] == [{"pubs": [], "x": [1, "\u00e9"]}, None, None]


async def test_a_status_call_waits_for_the_end_of_a_young_job(api: Api) -> None:
    patient = replace(api.services, settings=api.services.settings.model_copy(update={"hold": timedelta(seconds=30)}))
    job = await submit(api.alice)

    async def end() -> None:
        await asyncio.sleep(0.05)
        claim = await api.end_next()
        api.services.endings.announce(claim.job.id)

    api.app.state.services = patient
    async with asyncio.timeout(20):
        answer, _ = await asyncio.gather(api.alice.get(f"/jobs/{job}"), end())
    assert answer.json()["status"] == "Completed"


async def test_a_status_call_waits_longer_for_a_job_that_is_expected_to_end_soon(tmp_path: Path) -> None:
    hold = timedelta(seconds=0.4)
    async with api_in_process(tmp_path, hold=hold) as api:
        job = await submit(api.alice)
        claim = await api.start_next()
        await api.store.queue.note_progress(claim, Progress(done=0, total=1, seconds=1.0))
        call = asyncio.create_task(api.alice.get(f"/jobs/{job}"))
        done, _ = await asyncio.wait([call], timeout=2 * hold.total_seconds())
        assert not done
        assert await api.store.queue.finish(claim, Outcome(state=JobState.COMPLETED), b"{}")
        api.services.endings.announce(claim.job.id)
        assert (await call).json()["status"] == "Completed"


@pytest.mark.parametrize("seconds", [None, 60.0], ids=["nothing is known", "it is long"])
async def test_a_status_call_of_any_other_job_waits_until_it_is_a_hold_old(
    tmp_path: Path, seconds: float | None
) -> None:
    hold = timedelta(seconds=0.2)
    async with api_in_process(tmp_path, hold=hold) as api:
        job = await submit(api.alice)
        claim = await api.start_next()
        await api.store.queue.note_progress(claim, Progress(done=0, total=1, seconds=seconds))
        for most in (4 * hold, hold):
            begin = datetime.now(UTC)
            assert (await api.alice.get(f"/jobs/{job}")).json()["status"] == "Running"
            assert datetime.now(UTC) - begin < most
