"""The routes that look over instances, workloads, tags and what was used."""

from typing import Any

import httpx
import pytest

from kit.server.api_in_process import BACKEND, Api, body, submit
from kit.server.played_pool import NAME
from qiskit_runtime_server.api.routes.instances import VERSIONS

RESEARCH = "crn:v1:bluemix:public:quantum-computing:us-east:a/alice:research::"
TEACHING = "crn:v1:bluemix:public:quantum-computing:us-east:a/alice:teaching::"
IN_TEACHING = {"Service-CRN": TEACHING}


async def got(client: httpx.AsyncClient, path: str, **wanted: Any) -> Any:  # noqa: ANN401 - any JSON
    answer = await client.get(path, params=wanted)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def test_versions_are_told_to_everybody(api: Api) -> None:
    versions = (await api.nobody.get("/api/v1/versions")).json()["versions"]
    assert [version["version"] for version in versions] == sorted(VERSIONS)
    assert {version["status"] for version in versions} == {"live"}


async def test_an_instance_is_described(api: Api) -> None:
    described = (await api.alice.get("/instance", headers=IN_TEACHING)).json()
    assert described == {
        "plan_id": "qiskit-runtime-server-open",
        "backends": [BACKEND, f"fake_quantum_sim@{NAME}"],
        "instance_limit": 100,
        "instance_limit_seconds": "100",
    }
    assert (await got(api.alice, "/instance")).keys() == {"plan_id", "backends"}
    assert (await api.alice.get("/instance", headers={"Service-CRN": "crn:none"})).status_code == 404


async def test_admins_limit_instances_and_the_limit_holds(api: Api) -> None:
    path = "/instances/configuration"
    wanted = {"account": "alice", "instance": "research"}
    assert await got(api.alice, path) == {}
    assert (await api.alice.put(path, json={"instance_limit": 5})).status_code == 403
    assert (await api.ada.put(path, json={"instance_limit": 5}, params=wanted)).status_code == 204
    assert await got(api.alice, path) == {"instance_limit": 5}
    listed = (await api.nobody.get("/v2/resource_instances", headers={"Authorization": "apikey alice"})).json()
    limits = {one["name"]: one["extensions"]["instance_limit_seconds"] for one in listed["resources"]}
    assert limits == {"research": 5, "teaching": 100}
    assert (await api.alice.get(path, headers=IN_TEACHING)).json() == {"instance_limit": 100}
    await submit(api.alice)
    await api.end_next(seconds=6)
    refused = await api.alice.post("/jobs", json=body())
    assert (refused.status_code, "5 s per day" in refused.text) == (429, True)
    used = await got(api.alice, "/instances/usage")
    assert (used["usage_limit_seconds"], used["usage_limit_reached"]) == (5, True)
    assert (await api.ada.put(path, json={"instance_limit": None}, params=wanted)).status_code == 204
    assert await got(api.alice, path) == {}
    await submit(api.alice)


@pytest.mark.parametrize("change", [{}, {"instance_limit": 0}, {"instance_limit": 2**31}, {"instance_limit": "5"}])
async def test_a_limit_that_makes_no_sense_is_refused(api: Api, change: dict[str, object]) -> None:
    assert (await api.ada.put("/instances/configuration", json=change)).status_code == 400


async def test_an_account_sees_its_plans_and_no_others(api: Api) -> None:
    plans = (await got(api.alice, "/accounts/alice"))["plans"]
    assert [plan["plan_id"] for plan in plans] == ["qiskit-runtime-server-self-hosted", "qiskit-runtime-server-open"]
    assert [plan.get("usage_limit_seconds") for plan in plans] == [None, 100]
    [one] = (await got(api.alice, "/accounts/alice", plan_id="qiskit-runtime-server-open"))["plans"]
    assert (one["max_ttl"], one["interactive_ttl"]) == (8 * 60 * 60, 60)
    assert (await api.alice.get("/accounts/bob")).status_code == 404


async def test_workloads_are_paged_through_by_the_links_of_their_answers(api: Api) -> None:
    session = (await api.alice.post("/sessions", json={"backend": BACKEND})).json()["id"]
    jobs = [await submit(api.alice, tags=[f"number {number}"]) for number in range(4)]
    await submit(api.alice, session_id=session)
    await submit(api.bob)
    every = (await got(api.alice, "/workloads"))["workloads"]
    assert [one["id"] for one in every] == [session, *jobs]
    seen, page = [], await got(api.alice, "/workloads", limit=2, sort="-createdAt")
    assert (page["total_count"], page["limit"], "previous" in page) == (5, 2, False)
    while True:
        seen.append([one["id"] for one in page["workloads"]])
        if "next" not in page:
            break
        page = (await api.alice.get(page["next"]["href"])).json()
    order = [*jobs[::-1], session]
    assert seen == [order[:2], order[2:4], order[4:]]
    before = (await api.alice.get(page["previous"]["href"])).json()
    assert [one["id"] for one in before["workloads"]] == order[2:4]
    first = (await api.alice.get(before["previous"]["href"])).json()
    assert [one["id"] for one in first["workloads"]] == order[:2]
    assert "previous" not in first


async def test_workloads_say_what_they_are_and_used(api: Api) -> None:
    session = (await api.alice.post("/sessions", json={"backend": BACKEND, "mode": "batch"})).json()["id"]
    await submit(api.alice, session_id=session)
    await api.end_next(seconds=3)
    await api.alice.delete(f"/sessions/{session}/close")
    job = await submit(api.alice, tags=["a tag"])
    batch, single = (await got(api.alice, "/workloads"))["workloads"]
    assert (batch["id"], batch["mode"], batch["status"], batch["accepting_jobs"]) == (
        session,
        "batch",
        "completed",
        False,
    )
    assert (batch["usage"], batch["usage_seconds"]) == ({"qpu_charge_time_seconds": 3}, 3)
    assert (single["id"], single["mode"], single["status"], single["accepting_jobs"]) == (job, "job", "pending", None)
    assert (single["tags"], single["usage"], single["user_id"]) == (["a tag"], None, "alice")
    found = await got(api.alice, "/workloads", status=["pending", "failed"], mode="job", search="TAG")
    assert [one["id"] for one in found["workloads"]] == [job]
    assert (await api.alice.get("/workloads", headers=IN_TEACHING)).json()["total_count"] == 0


@pytest.mark.parametrize(
    "wanted",
    [{"limit": 51}, {"next": "%"}, {"next": "bm90IGpzb24="}, {"next": "e30=", "previous": "e30="}, {"status": "open"}],
)
async def test_a_page_of_workloads_that_makes_no_sense_is_refused(api: Api, wanted: dict[str, str | int]) -> None:
    assert (await api.alice.get("/workloads", params=wanted)).status_code == 400


async def test_tags_are_searched_for(api: Api) -> None:
    await submit(api.alice, tags=["thesis", "chapter 2"])
    await submit(api.bob, tags=["synthesis"])
    assert (await got(api.alice, "/tags", type="job", search="THES"))["tags"] == ["thesis"]
    assert (await api.alice.get("/tags", params={"search": "th"})).status_code == 400
    assert (await api.alice.get("/tags", params={"search": "the", "type": "program"})).status_code == 400


async def test_analytics_are_of_the_callers_jobs_and_of_all_for_admins(api: Api) -> None:
    session = (await api.alice.post("/sessions", json={"backend": BACKEND})).json()["id"]
    for client, seconds, changes in (
        (api.alice, 1, {"session_id": session}),
        (api.alice, 2, {"session_id": session}),
        (api.alice, 4, {}),
        (api.bob, 8, {}),
    ):
        await submit(client, **changes)
        await api.end_next(seconds=seconds)
    own = await got(api.alice, "/analytics/usage")
    assert (own["usage"], own["jobs"], own["individual_jobs"], own["individual_jobs_usage"]) == (7000, 3, 1, 4000)
    assert (own["sessions"], own["dedicated_sessions_usage"], own["avg_sessions_usage"]) == (1, 3000, 3000)
    assert (own["batch_sessions"], own["max_queue_time"] > 0) == (0, True)
    assert (await got(api.ada, "/analytics/usage"))["usage"] == 15000
    assert (await got(api.ada, "/analytics/usage", user_id=["bob"]))["usage"] == 8000
    assert (await got(api.alice, "/analytics/usage", user_id=["bob"]))["usage"] == 0
    groups = (await got(api.ada, "/analytics/usage_grouped", group_by="user_id"))["data"]
    assert {group["key"]: group["usage"] for group in groups} == {"alice": 7000, "bob": 8000}
    [day] = (await got(api.alice, "/analytics/usage_grouped_by_date", group_by="instance"))["data"]
    assert (day["key"], day["usage"], day["interval_start"] < day["interval_end"]) == (RESEARCH, 7000, True)
    filters = await got(api.alice, "/analytics/filters")
    assert filters["backends"] == [{"name": BACKEND}]
    assert filters["instances"] == [{"id": RESEARCH, "deleted": False}]
    assert filters["users"] == [{"id": "alice"}]


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("usage", {"interval_start": "2020-01-01", "interval_end": "2026-01-01"}),
        ("usage", {"interval_start": "2026-01-02", "interval_end": "2026-01-01"}),
        ("usage", {"interval_end": "0001-01-01"}),
        ("usage", {"instance": ["x"] * 101}),
        ("usage_grouped", {}),
        ("usage_grouped", {"group_by": "plan"}),
        ("usage_grouped_by_date", {"group_by": "backend"}),
    ],
)
async def test_analytics_that_make_no_sense_are_refused(api: Api, path: str, wanted: dict[str, Any]) -> None:
    assert (await api.alice.get(f"/analytics/{path}", params=wanted)).status_code == 400
