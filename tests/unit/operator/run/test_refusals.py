"""When what was refused is tried again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from kit.kubernetes.runtime_servers import runtime_server
from qiskit_runtime_operator.run.refusals import Attempt, Refusals
from qiskit_runtime_operator.status.conditions import Reason
from qiskit_runtime_operator.status.status import Refusal
from qiskit_runtime_operator.watch.inventory import Ref

SERVER = runtime_server()
KEY = SERVER.key
REF = Ref("Service", SERVER.namespace, "lab-api")
ATTEMPT = Attempt.of(SERVER, REF, b"wanted")
REFUSAL = Refusal(kind="Service", name="lab-api", reason=Reason.WRITE_REFUSED, message="over quota")
NOW = datetime(2026, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


def test_the_same_attempt_waits_longer_each_time_but_no_longer_than_five_minutes() -> None:
    refusals, now, waits = Refusals(), NOW, []
    for _ in range(15):
        refusals.note(ATTEMPT, REFUSAL, now)
        wait = refusals.again_in(KEY, now)
        assert wait is not None
        assert refusals.standing(ATTEMPT, now + wait - SECOND / 100) is REFUSAL
        assert refusals.standing(ATTEMPT, now + wait) is None
        waits.append(wait)
        now += wait
    assert waits[:4] == [SECOND / 2, SECOND, 2 * SECOND, 4 * SECOND]
    assert waits[-1] == 300 * SECOND


def test_another_attempt_is_made_at_once_and_waits_as_the_first_one_did() -> None:
    refusals = Refusals()
    for _ in range(5):
        refusals.note(ATTEMPT, REFUSAL, NOW)
    others = (
        Attempt.of(SERVER, REF, b"something else"),
        Attempt.of(replace(SERVER, generation=SERVER.generation + 1), REF, b"wanted"),
        ATTEMPT._replace(there=("uid", b"changed")),
    )
    assert all(refusals.standing(other, NOW) is None for other in others)
    refusals.note(others[0], REFUSAL, NOW)
    assert refusals.again_in(KEY, NOW) == SECOND / 2


def test_a_pass_tells_of_what_it_tried_and_forgets_what_it_did_not_meet() -> None:
    refusals = Refusals()
    contested = replace(REFUSAL, reason=Reason.CONTESTED)
    refusals.note(ATTEMPT, REFUSAL, NOW)
    assert refusals.keep(KEY, (REFUSAL, contested)) == (REFUSAL, contested)
    assert refusals.standing(ATTEMPT, NOW) is REFUSAL
    assert refusals.keep(KEY, (REFUSAL, contested)) == (contested,)
    refusals.note(ATTEMPT, REFUSAL, NOW)
    assert refusals.keep(KEY, (REFUSAL,)) == (REFUSAL,)
    assert refusals.keep(KEY, ()) == ()
    assert refusals.again_in(KEY, NOW) is None


def test_names_that_are_taken_are_looked_at_until_they_are_forgotten() -> None:
    refusals = Refusals()
    refusals.note(ATTEMPT, REFUSAL, NOW)
    assert list(refusals.taken()) == []
    refusals.note(ATTEMPT, replace(REFUSAL, reason=Reason.NAME_TAKEN), NOW, taken_by="uid")
    assert list(refusals.taken()) == [(KEY, REF, "uid")]
    refusals.forget(KEY, REF)
    assert list(refusals.taken()) == []
    assert refusals.standing(ATTEMPT, NOW) is None
