"""Every attempt of `make attack`, in short; and what the page says of them."""

from pathlib import Path

import pytest

from attacks.attempts import ATTEMPTS, SHORT
from attacks.run import MOST_BYTES, PAGE, Found, endure, has_small_disks, page

pytestmark = [pytest.mark.slow]


# What waits for deadlines is tried in `test_connections` too, and limits of accounts in the store's `test_room`.
ELSEWHERE = {"uploads", "headers", "bodies", "readers", "sessions", "bytes"}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.thorough) if name in ELSEWHERE else name for name in ATTEMPTS]
)
def test_it_holds(name: str, tmp_path: Path) -> None:
    attempt = ATTEMPTS[name]
    if attempt.disk_bytes is not None and not has_small_disks():
        pytest.skip("this machine lets nobody mount a disk of their own (unshare --map-root-user --mount)")
    found = endure(name, attempt, SHORT, tmp_path)
    assert list(found.problems()) == []


def found_of(name: str, **changes: object) -> Found:
    usual: dict[str, object] = {"count": 3, "held": "closed", "problem": None, "quiet": [0.01], "meanwhile": [0.02]}
    return Found(**{"name": name, "refused": (), "most_bytes": 1 << 20, **usual, **changes})  # type: ignore[arg-type]


def test_the_page_says_what_held_and_what_did_not() -> None:
    good = page([found_of("uploads")], "a machine")
    assert "| Uploads of 100 MiB that stop after 1 kB | 3 | closed | 10 ms | 20 ms | 2.0 | 1 MiB |" in good
    assert "All goals were met." in good
    bad = page(
        [
            found_of("uploads", meanwhile=[0.1] * 5),
            found_of("headers", held=None, problem="AssertionError: open"),
            found_of("guesses", refused=["503"]),
            found_of("jobs", most_bytes=MOST_BYTES + 1),
        ],
        "a machine",
    )
    assert "- uploads: calls of the other account took 10.0 times as long" in bad
    assert "**did not hold**" in bad
    assert "- headers: AssertionError: open" in bad
    assert "- guesses: 1 calls of the other account failed: 503" in bad
    assert "- jobs: the server took 278 MiB" in bad


def test_the_page_that_is_kept_tells_of_every_attempt() -> None:
    kept = PAGE.read_text()
    assert [attempt.what for attempt in ATTEMPTS.values() if f"| {attempt.what} |" not in kept] == []
