"""The Secret with the keys, and the steps of their change."""

from base64 import b64decode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from kit.kubernetes.runtime_servers import runtime_server
from qiskit_runtime_operator.render.credentials.keys_secret import (
    keys_checksum,
    keys_secret,
    next_step,
    next_step_is_due,
    whole,
)
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
NUMBERS = count()
NAMES = {f"{kind}-key{second}" for kind in ("signing", "executor", "load") for second in ("", "-also")}


def random(_: int) -> str:
    return f"key {next(NUMBERS)}"


def asking(value: str | None, **api: Any) -> RuntimeServer:
    return replace(runtime_server({"api": api}), rotate_keys=value)


def keys(secret: Manifest) -> dict[str, str]:
    return {name: b64decode(value).decode() for name, value in secret["data"].items()}


def due(secret: Manifest, server: RuntimeServer, now: datetime = NOW) -> bool:
    return next_step_is_due(secret["metadata"].get("annotations", {}), server, now)


def test_keys_change_in_two_steps_both_of_which_have_the_keys_of_the_one_before() -> None:
    made = keys_secret(asking(None), random)
    assert not due(made, asking(None))
    server = asking("May")
    assert due(made, server)
    announced = next_step(made, server, random, NOW)
    changed = next_step(announced, server, random, NOW)
    assert due(announced, server)
    assert not due(changed, server, NOW + timedelta(days=9))
    first, second, third = map(keys, (made, announced, changed))
    assert len({*second.values()}) == 6
    for name, key in first.items():
        assert second[name] == key == third[f"{name}-also"]
        assert third[name] == second[f"{name}-also"]
    assert len({keys_checksum(secret) for secret in (made, announced, changed)}) == 3


def test_the_next_change_forgets_the_keys_before_the_last() -> None:
    server, again = asking("May"), asking("June")
    changed = next_step(next_step(keys_secret(asking(None), random), server, random, NOW), server, random, NOW)
    announced = next_step(changed, again, random, NOW)
    before, after = keys(changed), keys(announced)
    assert {before[f"{name}-also"] for name in ("signing-key", "executor-key")}.isdisjoint(after.values())
    assert {name: key for name, key in after.items() if not name.endswith("also")} == {
        name: key for name, key in before.items() if not name.endswith("also")
    }


def test_a_change_waits_until_no_access_token_of_a_key_that_it_forgets_is_valid() -> None:
    server = asking("May")
    changed = next_step(next_step(keys_secret(asking(None), random), server, random, NOW), server, random, NOW)
    for lifetime, settings in ((3600, {}), (90, {"QRS_ACCESS_TOKEN_LIFETIME": "1m30s"})):
        again = asking("June", settings=settings)
        assert not due(changed, again, NOW + timedelta(seconds=lifetime - 1))
        assert due(changed, again, NOW + timedelta(seconds=lifetime))


def test_a_change_that_has_begun_ends_whatever_is_asked_for_meanwhile() -> None:
    announced = next_step(keys_secret(asking(None), random), asking("May"), random, NOW)
    for other in ("June", None):
        changed = next_step(announced, asking(other), random, NOW)
        assert due(announced, asking(other))
        assert due(changed, asking(other), NOW + timedelta(hours=1)) == (other is not None)


def test_keys_that_are_made_for_a_request_need_not_be_changed_for_it() -> None:
    assert not due(keys_secret(asking("May"), random), asking("May"))


@pytest.mark.parametrize("lost", [{"executor-key"}, {"executor-key-also"}, NAMES])
def test_keys_that_somebody_removes_are_made_anew_and_the_others_stay(lost: set[str]) -> None:
    announced = next_step(keys_secret(asking("May"), random), asking("June"), random, NOW)
    assert whole(announced, random) is None
    damaged = {**announced, "data": {name: "" if name in lost else key for name, key in announced["data"].items()}}
    mended = whole(damaged, random)
    assert mended is not None
    assert whole(mended, random) is None
    kept = announced["data"].items() - {(name, announced["data"][name]) for name in lost}
    assert kept <= mended["data"].items()
    assert len({*keys(mended).values()}) == 6
    next_step(mended, asking("June"), random, NOW)


def test_a_secret_that_somebody_has_emptied_is_filled_again() -> None:
    emptied = {**keys_secret(asking(None), random)}
    del emptied["data"]
    mended = whole(emptied, random)
    assert mended is not None
    assert {*mended["data"]} == {name for name in NAMES if "also" not in name}


@pytest.mark.parametrize("time", ["yesterday", "", "2026-04-30", "2026-04-30T00:00:00"])
def test_a_time_of_the_last_change_that_somebody_has_edited_holds_up_no_other(time: str) -> None:
    made = keys_secret(asking("May"), random)
    made["metadata"]["annotations"]["runtimeserver.dev/keys-changed-at"] = time
    assert due(made, asking("June"))
