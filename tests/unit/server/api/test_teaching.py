"""What a teacher sees: jobs of bob, and of alice in her instance `teaching`; and what not."""

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest

from kit.server.api_in_process import BACKEND, Api, body, submit
from kit.server.played_pool import PlayedPool
from qiskit_runtime_server.api.audit import NAME
from qiskit_runtime_server.messages.messages import Failed

OF_ALICE = "crn:v1:bluemix:public:quantum-computing:us-east:a/alice:{}::"
# Of the calls about a job, those of its owner only.
OWNERS_ONLY = {("put", "/api/v1/jobs/{job_id}/tags"), ("delete", "/api/v1/jobs/{job_id}")}


async def of_alice(api: Api, instance: str, **changes: Any) -> str:
    with_header = httpx.AsyncClient(
        transport=httpx.ASGITransport(api.app),
        base_url="http://api/api/v1",
        headers={"Authorization": "apikey alice", "Service-CRN": OF_ALICE.format(instance)},
    )
    async with with_header as client:
        return await submit(client, **changes)


async def listed(client: httpx.AsyncClient, path: str, **wanted: Any) -> list[str]:
    answer = await client.get(path, params=wanted)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found["count"] == len(found["jobs"])
    return [job["id"] for job in found["jobs"]]


async def test_a_teacher_lists_the_jobs_of_the_class_and_no_others(api: Api) -> None:
    first, second = await of_alice(api, "teaching"), await submit(api.bob, program_id="estimator")
    for client in (api.tess, api.ada):
        await submit(client)
    await of_alice(api, "research")
    assert await listed(api.tess, "/class/jobs") == [second, first]
    assert await listed(api.tess, "/class/jobs", account="alice") == [first]
    assert await listed(api.tess, "/class/jobs", account="ada") == []
    assert await listed(api.tess, "/class/jobs", account="tess") == []
    assert await listed(api.tess, "/class/jobs", program="estimator", sort="ASC") == [second]
    page = (await api.tess.get("/class/jobs", params={"limit": 1})).json()
    assert page["count"] == 2
    following = (await api.tess.get("/class/jobs", params={"limit": 1, "cursor": page["next"]})).json()
    assert [job["id"] for one in (page, following) for job in one["jobs"]] == [second, first]
    assert following["next"] is None


async def test_a_class_that_is_too_large_for_one_list_is_listed_by_account(
    api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qiskit_runtime_server.api.services.MOST_OWNERS", 1)
    job = await submit(api.bob)
    await of_alice(api, "teaching")
    refused = await api.tess.get("/class/jobs")
    assert (refused.status_code, "ask for one account" in message(refused)) == (403, True)
    assert await listed(api.tess, "/class/jobs", account="bob") == [job]


async def test_unless_asked_otherwise_a_teacher_lists_the_own_jobs(api: Api) -> None:
    """Unmodified clients know nothing of classes."""
    await submit(api.bob)
    own = await submit(api.tess, tags=["lecture"])
    assert await listed(api.tess, "/jobs") == [own]
    assert [one["id"] for one in (await api.tess.get("/workloads")).json()["workloads"]] == [own]
    assert (await api.tess.get("/tags", params={"search": "lec"})).json()["tags"] == ["lecture"]
    for _ in range(2):
        await api.end_next(seconds=4)
    assert (await api.tess.get("/analytics/usage")).json()["usage"] == 4000
    assert (await api.tess.get("/analytics/usage", params={"user_id": ["bob"]})).json()["usage"] == 0
    assert [one["running"] for one in (await api.tess.get("/executors")).json()["executors"]] == [None]


async def test_every_call_about_a_job_is_for_its_owner_and_whoever_teaches_it(api: Api) -> None:
    paths = api.app.openapi()["paths"]
    calls = [(method, path) for path in paths if "{job_id}" in path for method in sorted(paths[path])]
    assert len(calls) > 8
    [pool] = api.services.pools.values()
    assert isinstance(pool, PlayedPool)
    for method, path in calls:
        taught, other = await of_alice(api, "teaching", tags=["x"]), await of_alice(api, "research")
        pool.plays = [[Failed(reason="Nothing is drawn here.", code=1)]]

        async def ask(client: httpx.AsyncClient, job: str, method: str = method, path: str = path) -> httpx.Response:
            address = path.removeprefix("/api/v1").format(job_id=job)
            return await client.request(method, address, json={"tags": []} if method == "put" else None)

        for client, job in ((api.tess, other), (api.bob, taught)):
            answer = await ask(client, job)
            assert (answer.status_code, message(answer)) == (404, f"Job {job} not found."), (method, path)
        answer = await ask(api.tess, taught)
        if (method, path) in OWNERS_ONLY:
            assert (answer.status_code, "alice's" in message(answer)) == (403, True), (method, path)
        else:
            assert answer.status_code < 300 or message(answer) in {
                "Nothing is drawn here.",
                f"Job {taught} has no result to be shown.",
            }
        kept = (await api.alice.get(f"/jobs/{taught}")).json()
        assert (kept["status"], kept["tags"]) == ("Cancelled" if path.endswith("/cancel") else "Queued", ["x"])
        for job in (taught, other):
            assert (await api.alice.delete(f"/jobs/{job}")).status_code == 204


def message(answer: httpx.Response) -> str:
    return str(answer.json()["error"]["message"])


async def test_results_and_logs_are_read_and_jobs_cancelled_and_the_audit_says_so(
    api: Api, caplog: pytest.LogCaptureFixture
) -> None:
    done = await submit(api.bob)
    await api.end_next(result=b'{"counts": 1}')
    await api.store.documents.append_log(done, "a line\n")  # type: ignore[arg-type]
    queued = await submit(api.bob)
    caplog.clear()
    with caplog.at_level(logging.INFO, NAME):
        assert (await api.tess.get(f"/jobs/{done}/results")).text == '{"counts": 1}'
        assert (await api.tess.get(f"/jobs/{done}/logs")).text == "a line\n"
        assert (await api.tess.post(f"/jobs/{queued}/cancel")).status_code == 204
    told = [
        (record.__dict__["action"], record.__dict__["account"], record.__dict__["role"], record.__dict__["owner"])
        for record in caplog.records
        if record.name == NAME
    ]
    assert told == [(action, "tess", "teacher", "bob") for action in ("read results", "read log", "cancel")]
    state = (await api.bob.get(f"/jobs/{queued}")).json()["state"]
    assert (state["status"], state["reason"]) == ("Cancelled", "Cancelled by tess, a teacher.")
    own = await submit(api.tess)
    assert (await api.tess.post(f"/jobs/{own}/cancel")).status_code == 204
    assert (await api.tess.get(f"/jobs/{own}")).json()["state"]["reason"] == "Cancelled by its owner."
    assert (await api.tess.delete(f"/jobs/{own}")).status_code == 204


async def test_a_private_result_is_its_owners(api: Api) -> None:
    job = await submit(api.bob, private=True)
    await api.end_next()
    assert (await api.tess.get(f"/jobs/{job}/results")).status_code == 403
    assert "params" not in (await api.tess.get(f"/jobs/{job}")).json()
    assert (await api.bob.get(f"/jobs/{job}/results")).text == '{"a": 1}'


async def test_usage_is_that_of_the_class(api: Api) -> None:
    for client, instance in ((api.bob, ""), (api.alice, "teaching"), (api.alice, "research"), (api.ada, "")):
        await (of_alice(api, instance) if instance else submit(client))
        await api.end_next(seconds=3)
    await of_alice(api, "teaching")
    await submit(api.ada)
    for _ in range(2):
        await api.start_next()
    found = (await api.tess.get("/class/usage")).json()
    assert {(one["account"], one["instance"].split(":")[-3], one["seconds"]) for one in found["usage"]} == {
        ("bob", "default", 3),
        ("alice", "teaching", 3),
    }
    assert [(one["account"], one["jobs"]) for one in found["running"]] == [("alice", 1)]
    long_ago = {"since": "2020-01-01", "until": "2020-01-02"}
    assert (await api.tess.get("/class/usage", params=long_ago)).json()["usage"] == []


async def test_a_teacher_is_neither_an_admin_nor_one_of_the_class(api: Api) -> None:
    assert (await api.tess.get("/caller")).json() == {
        "account": "tess",
        "role": "teacher",
        "teaches": ["bob", "alice:teaching"],
        "instances": ["crn:v1:bluemix:public:quantum-computing:us-east:a/tess:default::"],
    }
    for path in ("jobs", "usage", "executors"):
        assert (await api.tess.get(f"/admin/{path}")).status_code == 403
    assert (await api.tess.post("/admin/accounts/bob/cancel")).status_code == 403
    assert (await api.tess.delete("/admin/accounts/bob/data")).status_code == 403
    as_alice = {"Service-CRN": OF_ALICE.format("teaching")}
    assert (await api.tess.post("/jobs", json=body(), headers=as_alice)).status_code == 404
    session = (await api.bob.post("/sessions", json={"backend": BACKEND})).json()["id"]
    for answer in (
        await api.tess.get(f"/sessions/{session}"),
        await api.tess.delete(f"/sessions/{session}/close"),
        await api.tess.post("/jobs", json=body(session_id=session)),
    ):
        assert answer.status_code == 404


@pytest.mark.parametrize("path", ["/class/jobs", "/class/usage"])
async def test_who_teaches_nobody_has_no_class(api: Api, path: str) -> None:
    for client in (api.bob, api.ada):
        answer = await client.get(path)
        assert (answer.status_code, "teaches nobody" in answer.text) == (403, True)


async def test_jobs_of_somebody_who_had_the_name_before_are_not_shown(
    api: Api, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qiskit_runtime_server.accounts.token_folder._RECHECK_SECONDS", 0.0)
    before = await submit(api.bob)
    (tmp_path / "bob").write_text("# id: 2027\nbob\n")
    now = await submit(api.bob)
    assert await listed(api.tess, "/class/jobs") == [now]
    assert await listed(api.tess, "/class/jobs", account="bob~") == []
    assert [(await api.tess.get(f"/jobs/{job}")).status_code for job in (before, now)] == [404, 200]
    (tmp_path / "accounts.toml").write_text("")
    assert (await api.tess.get(f"/jobs/{now}")).status_code == 404
    assert (await api.tess.get("/class/jobs")).status_code == 403
