"""The states of a session, without a store."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from qiskit_runtime_server.jobs import AccountId, Session, SessionId, SessionMode, SessionState

OPEN, ACTIVE, INACTIVE, CLOSED = SessionState
START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


NEW = Session(
    id=SessionId("session"),
    account=AccountId("alice"),
    instance="crn:alice",
    backend="fake_manila@aer",
    mode=SessionMode.DEDICATED,
    created=START,
    max_ttl=timedelta(seconds=1000),
    interactive_ttl=timedelta(seconds=60),
)


def with_job(session: Session, queued: float, started: float, ended: float) -> Session:
    return session.with_job_queued(at(queued)).with_job_started(at(started)).with_job_ended(at(ended), ended - started)


def test_a_session_goes_through_its_states_and_says_when() -> None:
    once = with_job(NEW, 10, 20, 30)
    assert NEW.history(at(5)) == [(OPEN, START)]
    assert NEW.with_job_queued(at(10)).state(at(15)) is OPEN
    assert once.history(at(89)) == [(OPEN, START), (ACTIVE, at(20))]
    assert once.history(at(91)) == [(OPEN, START), (ACTIVE, at(20)), (INACTIVE, at(90))]
    waiting = once.with_job_queued(at(200))
    assert waiting.state(at(210)) is INACTIVE
    twice = waiting.with_job_started(at(220)).with_job_ended(at(225), 5)
    closed = replace(twice, closed=at(500))
    assert closed.history(at(600)) == [
        (OPEN, START),
        (ACTIVE, at(20)),
        (INACTIVE, at(90)),
        (ACTIVE, at(220)),
        (INACTIVE, at(285)),
        (CLOSED, at(500)),
    ]
    assert twice.activated() == at(220)


def test_a_session_that_gets_its_next_job_in_time_stays_active() -> None:
    session = with_job(with_job(NEW, 0, 10, 20), 79, 300, 310)
    assert session.changes == ((ACTIVE, at(10)),)
    assert session.activated() == at(10)


def test_idle_time_is_no_usage() -> None:
    assert with_job(with_job(NEW, 0, 10, 20), 500, 510, 512).seconds == 12


def test_a_session_is_closed_once_its_last_job_has_ended() -> None:
    running = replace(NEW.with_job_queued(at(0)).with_job_started(at(1)), closed=at(2))
    assert (running.state(at(3)), running.ended(at(3))) == (ACTIVE, None)
    assert running.with_job_ended(at(9), 8).ended(at(10)) == at(9)
    assert replace(NEW, closed=at(2)).history(at(3)) == [(OPEN, START), (CLOSED, at(2))]


def test_a_session_ends_when_its_time_runs_out() -> None:
    session = with_job(NEW, 0, 10, 20)
    assert session.remaining(at(110)) == timedelta(seconds=900)
    assert NEW.remaining(at(110)) == NEW.max_ttl
    assert (session.ended(at(1009)), session.ended(at(1011))) == (None, at(1010))
    assert session.remaining(at(1011)) == timedelta(0)
    late = replace(session, interactive_ttl=timedelta(hours=1))
    assert late.history(at(5000)) == [(OPEN, START), (ACTIVE, at(10)), (CLOSED, at(1010))]


def test_what_is_kept_of_the_states_is_bounded() -> None:
    session = replace(NEW, max_ttl=timedelta(days=30))
    for number in range(200):
        session = with_job(session, 1000 * number, 1000 * number + 1, 1000 * number + 2)
    assert len(session.changes) == 100
    assert session.changes[-1] == (ACTIVE, at(199_001))
