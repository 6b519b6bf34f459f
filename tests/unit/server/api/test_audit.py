"""The audit stream says who did what, from where, to whose job."""

import json
import logging

import httpx
import pytest

from kit.server.api_in_process import Api, submit
from qiskit_runtime_server.api.audit import NAME
from qiskit_runtime_server.log.lines import JsonFormatter
from qiskit_runtime_server.log.trace import Traced


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.handler.addFilter(Traced())
    return caplog


def audited(records: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    found = [json.loads(JsonFormatter().format(record)) for record in records.records if record.name == NAME]
    records.clear()
    return found


async def deed(records: pytest.LogCaptureFixture, answer: httpx.Response, status: int = 204) -> dict[str, object]:
    assert answer.status_code == status, answer.text
    (line,) = audited(records)
    assert line["address"] == "127.0.0.1"
    assert line["level"] == "info"
    assert line["trace"]
    return line


async def test_each_deed_has_a_line_with_account_role_address_and_trace(
    api: Api, lines: pytest.LogCaptureFixture
) -> None:
    signed_in = await deed(lines, await api.nobody.post("/identity/token", data={"apikey": "bob"}), 200)
    assert (signed_in["action"], signed_in["account"], signed_in["role"]) == ("sign-in", "bob", "user")

    refused = await deed(lines, await api.nobody.post("/identity/token", data={"apikey": "a secret guess"}), 400)
    assert (refused["action"], refused["account"]) == ("sign-in refused", None)
    assert "guess" not in json.dumps(refused)

    job_id = await submit(api.bob)
    (submitted,) = audited(lines)
    assert (submitted["action"], submitted["account"], submitted["job"]) == ("submit", "bob", job_id)
    assert submitted["trace"] == job_id

    await api.end_next()
    assert (await api.bob.get(f"/jobs/{job_id}/results")).status_code == 200
    assert audited(lines) == []
    read = await deed(lines, await api.ada.get(f"/jobs/{job_id}/results"), 200)
    assert (read["action"], read["account"], read["role"], read["owner"]) == ("read results", "ada", "admin", "bob")
    assert "account ada, role admin, address 127.0.0.1" in str(read["message"])

    deleted = await deed(lines, await api.ada.delete(f"/jobs/{job_id}"))
    assert (deleted["action"], deleted["account"], deleted["owner"]) == ("delete", "ada", "bob")

    job_id = await submit(api.bob)
    audited(lines)
    cancelled = await deed(lines, await api.bob.post(f"/jobs/{job_id}/cancel"))
    assert (cancelled["action"], cancelled["account"], cancelled["job"]) == ("cancel", "bob", job_id)

    await submit(api.bob)
    audited(lines)
    by_admin = await deed(lines, await api.ada.post("/admin/accounts/bob/cancel"), 200)
    assert (by_admin["action"], by_admin["account"], by_admin["owner"]) == ("cancel", "ada", "bob")


async def test_deleting_what_an_account_has_is_told_once_with_how_much_it_was(
    api: Api, lines: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        await submit(api.bob)
        await api.end_next()
    audited(lines)
    deleted = await deed(lines, await api.ada.delete("/admin/accounts/bob/data"), 200)
    assert (deleted["action"], deleted["account"], deleted["owner"]) == ("delete data", "ada", "bob")
    assert (deleted["jobs"], deleted["sessions"]) == (2, 0)


async def test_drains_and_limits_that_admins_set_are_told(api: Api, lines: pytest.LogCaptureFixture) -> None:
    (name,) = api.services.pools
    for draining, action in ((True, "drain"), (False, "end drain")):
        answer = await api.ada.patch(f"/admin/executors/{name}", json={"draining": draining})
        line = await deed(lines, answer)
        assert (line["action"], line["account"], line["executor"]) == (action, "ada", name)
    limit = await api.ada.put("/instances/configuration?account=bob&instance=default", json={"instance_limit": 60})
    line = await deed(lines, limit)
    assert (line["action"], line["owner"], line["seconds_per_day"]) == ("limit", "bob", 60)
    assert (await api.bob.patch(f"/admin/executors/{name}", json={"draining": True})).status_code == 403
    assert audited(lines) == []


async def test_a_quiet_log_does_not_silence_the_audit(api: Api, lines: pytest.LogCaptureFixture) -> None:
    root, level = logging.getLogger(), logging.getLogger().level
    root.setLevel(logging.ERROR)
    try:
        await submit(api.bob)
    finally:
        root.setLevel(level)
    assert [line["action"] for line in audited(lines)] == ["submit"]
