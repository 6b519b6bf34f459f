"""Watches that die without a word."""

from datetime import timedelta

from qiskit_runtime_operator.watch.watchdog import Watchdog


def test_a_watch_that_has_been_silent_for_too_long_is_named() -> None:
    now = [100.0]
    watchdog = Watchdog(timedelta(seconds=60), lambda: now[0])
    watchdog.expect(["/api/v1/pods", "/api/v1/services"])
    now[0] += 50
    watchdog.seen("/api/v1/pods")
    now[0] += 20
    assert watchdog.ages() == [("/api/v1/pods", 20.0), ("/api/v1/services", 70.0)]
    assert watchdog.silent() == ["nothing heard of /api/v1/services for 70 s"]


def test_what_nobody_watches_is_not_missed() -> None:
    watchdog = Watchdog(timedelta(seconds=60), lambda: 0.0)
    watchdog.seen("/api/v1/nodes")
    assert watchdog.ages() == []


def test_what_is_refused_is_not_silent_unless_all_is() -> None:
    now = [100.0]
    watchdog = Watchdog(timedelta(seconds=60), lambda: now[0])
    watchdog.expect(["/api/v1/pods", "/api/v1/services"])
    watchdog.refuse("/api/v1/pods", "HTTP 403: no")
    now[0] += 50
    watchdog.seen("/api/v1/services")
    now[0] += 50
    assert watchdog.silent() == []
    assert watchdog.refusals() == {"/api/v1/pods": "HTTP 403: no"}
    watchdog.refuse("/api/v1/services", "HTTP 403: no")
    assert len(watchdog.silent()) == 1
    watchdog.allow("/api/v1/pods")
    assert len(watchdog.silent()) == 1
    assert [watchdog.retold.get_nowait() for _ in range(3)] == ["/api/v1/pods", "/api/v1/services", "/api/v1/pods"]
