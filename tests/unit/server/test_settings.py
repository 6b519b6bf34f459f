"""Settings come from the environment and from the command line."""

from datetime import timedelta
from pathlib import Path

import pytest

from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.settings import Settings


def test_every_setting_says_what_it_does() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize("text", ["aer=2 custatevec", "aer=2,custatevec", " aer=2, custatevec "])
def test_lists_are_words(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("QRS_EXECUTORS", text)
    assert Settings().executors == ("aer=2", "custatevec")


@pytest.mark.parametrize(("text", "expected"), [("90", 90), ("PT1M30S", 90), ("00:01:30", 90)])
def test_durations_are_seconds_or_iso_8601(monkeypatch: pytest.MonkeyPatch, text: str, expected: int) -> None:
    monkeypatch.setenv("QRS_DRAIN", text)
    assert Settings().drain == timedelta(seconds=expected)


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QRS_PORT", "1")
    assert Settings(port=2).port == 2
    assert Settings(data_dir=Path("x")).port == 1


@pytest.mark.parametrize(
    ("name", "value"),
    [("PORT", "70000"), ("PORT", "x"), ("MAX_SECONDS", "0"), ("DRAIN", "soon"), ("LOG_LEVEL", "loud")],
)
def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"QRS_{name}", value)
    with pytest.raises(StartupError, match=f"QRS_{name}"):
        Settings.load()
