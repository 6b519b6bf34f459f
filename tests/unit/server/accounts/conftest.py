"""The clock by which a folder of tokens is read again."""

import pytest


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Return a list whose one element is the time, in seconds; tests change it."""
    now = [1000.0]
    monkeypatch.setattr("qiskit_runtime_server.accounts.token_folder.time.monotonic", lambda: now[0])
    return now
