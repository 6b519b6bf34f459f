"""The routes beside those of jobs: accounts, backends, sessions, usage, administration, health."""

from importlib.metadata import version
from pathlib import Path
from typing import cast
from urllib.parse import quote

import pytest

from kit.server.api_in_process import BACKEND, Api, api_in_process, body, submit
from kit.server.played_pool import NAME, PlayedPool
from qiskit_runtime_server.errors import StartupError

TEACHING = "crn:v1:bluemix:public:quantum-computing:us-east:a/alice:teaching::"


async def test_a_token_is_traded_for_an_access_token_that_opens_the_api(api: Api) -> None:
    answer = (await api.nobody.post("/identity/token", data={"apikey": "alice"})).json()
    headers = {"Authorization": f"Bearer {answer['access_token']}"}
    assert (await api.nobody.get("/api/v1/backends", headers=headers)).status_code == 200
    wrong = await api.nobody.post("/identity/token", data={"apikey": "mallory"})
    assert (wrong.status_code, wrong.json()["errorCode"]) == (400, "BXNIM0415E")
    forged = {"Authorization": f"Bearer {answer['access_token'][:-2]}xx"}
    assert (await api.nobody.get("/api/v1/backends", headers=forged)).status_code == 401


async def test_instances_are_found_and_their_plans_described(api: Api) -> None:
    headers = {"Authorization": "apikey alice"}
    items = (await api.nobody.post("/v3/resources/search", headers=headers)).json()["items"]
    assert [item["name"] for item in items] == ["research", "teaching"]
    plan = await api.nobody.get(f"/{items[1]['service_plan_unique_id']}")
    assert plan.json()["overview_ui"]["en"]["display_name"] == "open"
    assert (await api.nobody.get("/qiskit-runtime-server-gold")).status_code == 404


@pytest.mark.parametrize("prefix", ["/api/v1", "/experimental/api/v1", "/v1"])
async def test_backends_are_listed_under_every_prefix(api: Api, prefix: str) -> None:
    headers = {"Authorization": "apikey alice"}
    devices = (await api.nobody.get(f"{prefix}/backends", headers=headers)).json()["devices"]
    assert {device["name"] for device in devices} == {BACKEND, f"fake_quantum_sim@{NAME}"}


async def test_a_backend_is_described_and_one_that_is_not_there_is_not(api: Api) -> None:
    configuration = (await api.alice.get(f"/backends/{BACKEND}/configuration")).json()
    assert (configuration["backend_name"], configuration["n_qubits"]) == (BACKEND, 5)
    assert len((await api.alice.get(f"/backends/{BACKEND}/properties")).json()["qubits"]) == 5
    assert (await api.alice.get(f"/backends/fake_quantum_sim@{NAME}/properties")).json() is None
    assert (await api.alice.get(f"/backends/{BACKEND}/defaults")).json() is None
    for path in ("configuration", "properties", "status", "defaults"):
        assert (await api.alice.get(f"/backends/fake_nowhere@{NAME}/{path}")).status_code == 404


@pytest.mark.parametrize("name", [BACKEND.replace("fake_", "fak_"), BACKEND.partition("@")[0] + "@", BACKEND + "s"])
async def test_a_name_that_is_not_found_is_answered_with_the_nearest(api: Api, name: str) -> None:
    for path in ("configuration", "status"):
        answer = await api.alice.get(f"/backends/{name}/{path}")
        assert answer.status_code == 404
        assert f"Did you mean {BACKEND}" in answer.text
    assert "Did you mean" not in (await api.alice.get(f"/backends/ibm_x@{NAME}/status")).text


async def test_an_executor_that_drains_is_said_to_be_paused(api: Api) -> None:
    await submit(api.alice)
    status = (await api.alice.get(f"/backends/{BACKEND}/status")).json()
    assert (status["status"], status["length_queue"]) == ("active", 1)
    changed = await api.ada.patch(f"/admin/executors/{NAME}", json={"draining": True})
    assert changed.status_code == 204
    assert (await api.alice.get(f"/backends/{BACKEND}/status")).json()["status"] == "paused"
    [executor] = (await api.ada.get("/admin/executors")).json()["executors"]
    told = {"name": NAME, "queued": 1, "running": 0, "slots": 1, "draining": True}
    assert executor.items() >= told.items()
    assert [(one["slots"], one["draining"]) for one in executor["endpoints"]] == [(1, False)]
    assert (await api.ada.patch("/admin/executors/none", json={"draining": True})).status_code == 404


async def test_of_the_jobs_of_others_only_their_number_in_the_queue_is_told_and_to_admins_all(api: Api) -> None:
    await submit(api.alice)
    await api.start_next()
    await submit(api.bob)
    seen = {name: (await client.get("/executors")).json()["executors"] for name, client in
            (("alice", api.alice), ("bob", api.bob), ("ada", api.ada))}  # fmt: skip
    told = {"name": NAME, "status": "online", "ready": True, "reason": "", "queued": 1, "slots": 1}
    untold = {"running": None, "idle": None, "oldest_waiting_seconds": None}
    assert seen["alice"] == [{**told, **untold, "own_running": 1}]
    assert seen["bob"] == [{**told, **untold, "own_running": 0}]
    [all_of_it] = seen["ada"]
    assert all_of_it.pop("oldest_waiting_seconds") >= 0
    assert all_of_it == {**told, "own_running": 0, "running": 1, "idle": 1}
    await api.ada.patch(f"/admin/executors/{NAME}", json={"draining": True})
    [executor] = (await api.bob.get("/executors")).json()["executors"]
    assert (executor["ready"], executor["status"]) == (False, "paused")
    assert executor["reason"] == "An admin has paused this executor: jobs wait."
    assert (await api.nobody.get("/api/v1/executors")).status_code == 401


async def test_a_session_takes_jobs_until_it_is_closed(api: Api) -> None:
    session = (await api.alice.post("/sessions", json={"backend": BACKEND, "max_ttl": 60})).json()
    assert (session["state"], session["accepting_jobs"], session["max_ttl"]) == ("open", True, 60)
    await submit(api.alice, session_id=session["id"])
    await api.start_next()
    assert (await api.alice.get(f"/sessions/{session['id']}")).json()["state"] == "active"
    closed = await api.alice.patch(f"/sessions/{session['id']}", json={"accepting_jobs": False})
    assert closed.status_code == 204
    refused = await api.alice.post(
        "/jobs", json={"program_id": "sampler", "backend": BACKEND, "params": {}, "session_id": session["id"]}
    )
    assert refused.status_code == 409
    assert (await api.alice.patch(f"/sessions/{session['id']}", json={"accepting_jobs": True})).status_code == 400
    assert (await api.bob.get(f"/sessions/{session['id']}")).status_code == 404


async def test_a_session_that_is_cancelled_takes_its_queued_jobs_with_it(api: Api) -> None:
    session = (await api.alice.post("/sessions", json={"backend": BACKEND, "mode": "batch"})).json()["id"]
    running, queued = [await submit(api.alice, session_id=session) for _ in range(2)]
    await api.start_next()
    assert (await api.alice.delete(f"/sessions/{session}/close")).status_code == 204
    assert (await api.alice.get(f"/jobs/{queued}")).json()["status"] == "Cancelled"
    assert (await api.alice.get(f"/jobs/{running}")).json()["status"] == "Running"


async def test_a_job_may_open_its_session_itself(api: Api) -> None:
    answer = await api.alice.post(
        "/jobs",
        json={"program_id": "sampler", "backend": BACKEND, "params": {}, "start_session": True, "session_time": 30},
    )
    session = (await api.alice.get(f"/sessions/{answer.json()['session_id']}")).json()
    assert (session["mode"], session["max_ttl"]) == ("dedicated", 30)


async def test_usage_is_that_of_the_instance_and_of_its_limit(api: Api) -> None:
    teaching = {"Service-CRN": TEACHING}
    answer = await api.alice.post(
        "/jobs", json={"program_id": "sampler", "backend": BACKEND, "params": {}}, headers=teaching
    )
    assert answer.status_code == 200
    await api.end_next(seconds=40)
    used = (await api.alice.get("/instances/usage", headers=teaching)).json()
    assert (used["usage_consumed_seconds"], used["usage_limit_seconds"], used["usage_remaining_seconds"]) == (
        40,
        100,
        60,
    )
    assert "usage_limit_seconds" not in (await api.alice.get("/instances/usage")).json()
    assert (await api.alice.get("/instances/usage", headers={"Service-CRN": "teaching"})).json() == used
    assert (await api.alice.get("/instances/usage", headers={"Service-CRN": "crn:other"})).status_code == 404
    [day] = (await api.ada.get("/admin/usage")).json()["usage"]
    assert (day["account"], day["seconds"], day["jobs"]) == ("alice", 40, 1)


@pytest.mark.parametrize("path", ["/admin/jobs", "/admin/executors", "/admin/usage"])
async def test_only_admins_may_administer(api: Api, path: str) -> None:
    assert (await api.bob.get(path)).status_code == 403
    assert (await api.ada.get(path)).status_code == 200


async def test_admins_list_everybodys_jobs_or_those_of_one(api: Api) -> None:
    await submit(api.alice)
    job = await submit(api.bob)
    assert (await api.ada.get("/admin/jobs")).json()["count"] == 2
    [only] = (await api.ada.get("/admin/jobs", params={"account": "bob"})).json()["jobs"]
    assert (only["id"], only["account"]) == (job, "bob")


async def test_probes_answer_without_a_token(api: Api) -> None:
    assert (await api.nobody.get("/health/live")).json() == {"status": "alive"}
    ready = (await api.nobody.get("/health/ready")).json()
    assert ready["executors"] == {NAME: {"slots": 1, "idle": 1, "confinement": []}}
    assert ready["version"] == version("qiskit-runtime-server")
    assert (await api.nobody.get("/health")).json() == ready


@pytest.mark.parametrize(
    ("missing_seconds", "on_demand", "state", "words"),
    [
        (59.0, (), "active", "jobs wait for one"),
        (61.0, (), "paused", "jobs wait for one"),
        (1e9, (NAME,), "active", "a job starts one"),
    ],
)
async def test_a_backend_without_an_executor_takes_jobs_and_says_that_they_wait(
    tmp_path: Path, missing_seconds: float, on_demand: tuple[str, ...], state: str, words: str
) -> None:
    async with api_in_process(tmp_path, on_demand=on_demand) as api:
        pool = cast("PlayedPool", api.services.pools[NAME])
        pool.size, pool.missing_seconds = 0, missing_seconds
        status = (await api.alice.get(f"/backends/{BACKEND}/status")).json()
        assert (status["status"], status["message"]) == (state, f"No executor is up: {words}.")
        listed = {"active": "online"}.get(state, state)
        for device in (await api.alice.get("/backends")).json()["devices"]:
            assert device["status"] == {"name": listed, "reason": f"No executor is up: {words}."}
        await submit(api.alice)


async def test_what_is_started_on_demand_is_one_of_the_executors(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="QRS_ON_DEMAND: 'gpu' is none of the executors here, which are played"):
        async with api_in_process(tmp_path, on_demand=("gpu",)):
            pass


async def test_limits_name_account_and_instance_as_people_do(api: Api) -> None:
    for _ in range(2):
        await submit(api.bob)
    refused = await api.bob.post("/jobs", json=body())
    assert refused.status_code == 429
    message = refused.json()["error"]["message"]
    assert message == "Instance default of account bob has 2 queued jobs; its limit is 2."


async def test_what_is_not_there_is_said_in_the_shape_of_every_error(api: Api) -> None:
    answer = await api.nobody.get("/api/v2/jobs")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == 404
    assert answer.json()["errors"][0]["message"] == answer.json()["error"]["message"]


@pytest.mark.parametrize(("path", "where"), [("/jobs", "tags"), ("/admin/jobs", "tags")])
async def test_more_tags_than_anybody_looks_for_are_refused_at_once(api: Api, path: str, where: str) -> None:
    answer = await api.ada.get(path, params={where: ["x"] * 8000})
    assert answer.status_code == 400
    assert "tags" in answer.json()["error"]["message"]
    assert "at most 16" in answer.json()["error"]["message"]


@pytest.mark.parametrize("days", [{"until": "0001-01-01"}, {"since": "1969-12-31"}, {"until": "9999-12-31"}])
async def test_usage_of_days_at_the_end_of_the_calendar_is_refused(api: Api, days: dict[str, str]) -> None:
    assert (await api.ada.get("/admin/usage", params=days)).status_code == 400


async def test_a_name_without_end_is_refused(api: Api) -> None:
    assert (await api.alice.get(f"/jobs/{'x' * 257}")).status_code == 400
    assert (await api.alice.get("/jobs", params={"backend": "x" * 257})).status_code == 400
    assert (await api.alice.get("/backends", headers={"IBM-API-Version": "tomorrow"})).status_code == 400


async def test_usage_is_in_whole_seconds_as_the_platforms_is(api: Api) -> None:
    teaching = {"Service-CRN": TEACHING}
    for seconds, shown in ((40.7, (41, 59, False)), (59.2, (100, 0, False)), (0.4, (101, 0, True))):
        body = {"program_id": "sampler", "backend": BACKEND, "params": {}}
        assert (await api.alice.post("/jobs", json=body, headers=teaching)).status_code == 200
        await api.end_next(seconds=seconds)
        used = (await api.alice.get("/instances/usage", headers=teaching)).json()
        names = ("usage_consumed_seconds", "usage_remaining_seconds", "usage_limit_reached")
        assert tuple(used[name] for name in names) == shown
        assert all(isinstance(used[name], int) for name in names)
    assert used["usage_period"]["start_time"] < used["usage_period"]["end_time"]
    unlimited = (await api.alice.get("/instances/usage")).json()
    assert unlimited["usage_consumed_seconds"] == 101
    assert not {"usage_remaining_seconds", "usage_limit_seconds", "usage_period"} & unlimited.keys()


async def test_sessions_say_what_they_went_through_and_used(api: Api) -> None:
    session = (await api.alice.post("/sessions", json={"backend": BACKEND, "max_ttl": 600})).json()
    assert (session["active_ttl"], session["activated_at"], session["elapsed_time"]) == (600, None, 0)
    await submit(api.alice, session_id=session["id"])
    await api.end_next(seconds=4)
    shown = (await api.alice.get(f"/sessions/{session['id']}")).json()
    assert [change["status"] for change in shown["timestamps"]] == ["open", "active"]
    assert shown["activated_at"] == shown["timestamps"][1]["timestamp"] == shown["started_at"]
    assert (shown["elapsed_time"], shown["user_id"]) == (4, "alice")
    assert 590 < shown["active_ttl"] <= 600
    await api.alice.delete(f"/sessions/{session['id']}/close")
    closed = (await api.alice.get(f"/sessions/{session['id']}")).json()
    assert (closed["state"], closed["active_ttl"]) == ("closed", 0)
    assert closed["timestamps"][-1] == {"status": "closed", "timestamp": closed["closed_at"]}


async def test_instances_are_found_by_name_as_at_the_resource_controller(api: Api) -> None:
    headers = {"Authorization": "apikey alice"}
    every = (await api.nobody.get("/v2/resource_instances", headers=headers)).json()
    assert (every["rows_count"], every["next_url"]) == (2, None)
    one = (await api.nobody.get("/v2/resource_instances", headers=headers, params={"name": "teaching"})).json()
    assert [resource["crn"] for resource in one["resources"]] == [TEACHING]
    none = (await api.nobody.get("/v2/resource_instances", headers=headers, params={"name": "gold"})).json()
    assert (none["rows_count"], none["resources"]) == (0, [])
    by_crn = await api.nobody.get(f"/v2/resource_instances/{quote(TEACHING, safe='')}", headers=headers)
    assert by_crn.json()["extensions"]["instance_limit_seconds"] == 100
    others = await api.nobody.get(f"/v2/resource_instances/{TEACHING}", headers={"Authorization": "apikey bob"})
    assert others.status_code == 404


async def test_admins_page_through_everybodys_jobs_and_see_what_runs_and_since_when(api: Api) -> None:
    jobs = [await submit(client) for client in (api.alice, api.bob, api.alice)]
    running = await api.start_next()
    only = {"state": "Running", "backend": BACKEND, "program": "sampler", "account": running.job.account}
    [shown] = (await api.ada.get("/admin/jobs", params=only)).json()["jobs"]
    assert (shown["id"], shown["started"]) == (running.job.id, running.job.started.isoformat())  # type: ignore[union-attr]
    assert 0 <= shown["seconds"] < 60
    assert (await api.ada.get("/admin/jobs", params={"state": "Failed"})).json()["jobs"] == []

    first = (await api.ada.get("/admin/jobs", params={"limit": 2})).json()
    assert (first["count"], first["limit"]) == (3, 2)
    await submit(api.bob)
    second = (await api.ada.get("/admin/jobs", params={"limit": 2, "cursor": first["next"]})).json()
    assert [job["id"] for job in first["jobs"] + second["jobs"]] == jobs[::-1]
    assert (second["count"], second["next"]) == (4, None)
    for cursor in ("nonsense", "W10", first["next"][:-4]):
        assert (await api.ada.get("/admin/jobs", params={"cursor": cursor})).status_code == 400


async def test_usage_shows_what_runs(api: Api) -> None:
    await submit(api.bob)
    assert (await api.bob.get("/instances/usage")).json()["running_jobs"] == 0
    await api.start_next()
    used = (await api.bob.get("/instances/usage")).json()
    assert used["running_jobs"] == 1
    assert 0 < used["running_seconds"] < 60
    assert (await api.alice.get("/instances/usage")).json()["running_jobs"] == 0
    [running] = (await api.ada.get("/admin/usage")).json()["running"]
    assert (running["account"], running["executor"], running["jobs"]) == ("bob", NAME, 1)


async def test_admins_cancel_all_jobs_of_one_account_and_delete_anybodys(api: Api) -> None:
    hers = [await submit(api.alice) for _ in range(3)]
    await api.end_next()
    await api.start_next()
    his = await submit(api.bob)
    assert (await api.bob.post("/admin/accounts/alice/cancel")).status_code == 403
    assert (await api.ada.post("/admin/accounts/alice/cancel")).json() == {"cancelled": 2, "more": False}
    states = [(await api.alice.get(f"/jobs/{job}")).json()["state"] for job in hers]
    assert [state["status"] for state in states] == ["Completed", "Cancelled", "Cancelled"]
    assert [state["reason"] for state in states] == ["", *["Cancelled by ada, an admin."] * 2]
    assert (await api.ada.post("/admin/accounts/alice/cancel")).json() == {"cancelled": 0, "more": False}
    assert (await api.bob.get(f"/jobs/{his}")).json()["status"] == "Queued"

    assert (await api.alice.delete(f"/jobs/{his}")).status_code == 404
    assert (await api.ada.delete(f"/jobs/{his}")).status_code == 204
    assert (await api.bob.get(f"/jobs/{his}")).status_code == 404


async def test_admins_delete_all_that_an_account_has(api: Api) -> None:
    session = (await api.alice.post("/sessions", json={"backend": BACKEND, "mode": "batch"})).json()["id"]
    await submit(api.alice, session_id=session)
    await api.end_next()
    await submit(api.alice)
    await api.start_next()
    await submit(api.alice)
    his = await submit(api.bob)
    assert (await api.bob.delete("/admin/accounts/alice/data")).status_code == 403
    deleted = (await api.ada.delete("/admin/accounts/alice/data")).json()
    assert deleted == {"cancelled": 2, "jobs": 3, "sessions": 1, "more": False}
    assert (await api.alice.get("/jobs")).json()["count"] == 0
    assert (await api.alice.get(f"/sessions/{session}")).status_code == 404
    assert (await api.bob.get(f"/jobs/{his}")).json()["status"] == "Queued"
    again = (await api.ada.delete("/admin/accounts/alice/data")).json()
    assert again == {"cancelled": 0, "jobs": 0, "sessions": 0, "more": False}


async def test_a_name_that_is_given_anew_inherits_nothing(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hers = await submit(api.bob)
    await api.end_next()
    (tmp_path / "bob").write_text("# id: 2\nbob\n")
    monkeypatch.setattr("qiskit_runtime_server.accounts.token_folder._RECHECK_SECONDS", 0.0)
    assert (await api.bob.get("/jobs")).json()["count"] == 0
    for part in ("", "/results", "/logs"):
        assert (await api.bob.get(f"/jobs/{hers}{part}")).status_code == 404
    his = await submit(api.bob)
    shown = (await api.bob.get(f"/jobs/{his}")).json()
    assert (shown["account"], shown["user_id"]) == ("bob", "bob~2")
    assert ":a/bob:" in shown["instance"]
    assert (await api.bob.get("/accounts/bob")).status_code == 200
    assert (await api.bob.get("/instances/usage")).json()["usage_consumed_seconds"] == 0
    for said, job in (("bob", his), ("bob~2", his), ("bob~", hers)):
        found = (await api.ada.get("/admin/jobs", params={"account": said})).json()["jobs"]
        assert [one["id"] for one in found] == [job]
    used = (await api.ada.get("/admin/usage")).json()
    assert [(day["account"], day["user_id"]) for day in used["usage"]] == [("bob", "bob")]
    refused = [await api.bob.post("/jobs", json=body()) for _ in range(3)][-1]
    assert refused.status_code == 429, "limits are by name"
    assert "account bob " in refused.json()["error"]["message"]


async def test_a_held_job_says_why(api: Api) -> None:
    job = await submit(api.alice)
    await api.store.queue.hold(await api.start_next(), reason="Held: not today.")
    shown = (await api.alice.get(f"/jobs/{job}")).json()
    assert (shown["status"], shown["state"]["reason"]) == ("Queued", "Held: not today.")
    assert (await api.alice.get(f"/jobs/{job}/metrics")).json()["position_in_queue"] is None
