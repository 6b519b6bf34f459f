"""Settings come from the environment and from the command line."""

import re
from datetime import timedelta
from pathlib import Path

import pytest
import typer

from qiskit_runtime_server.__main__ import cli
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.former_options import renamed
from qiskit_runtime_server.quantities import spelled
from qiskit_runtime_server.settings import Settings


def test_every_setting_says_what_it_does() -> None:
    assert all(field.description for field in Settings.model_fields.values())


@pytest.mark.parametrize("text", ["aer=2 custatevec", "aer=2,custatevec", " aer=2, custatevec "])
def test_lists_are_words(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("QRS_EXECUTORS", text)
    assert Settings().executors == ("aer=2", "custatevec")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("90", timedelta(seconds=90)),
        ("0.5", timedelta(milliseconds=500)),
        ("90s", timedelta(seconds=90)),
        ("500ms", timedelta(milliseconds=500)),
        ("2h", timedelta(hours=2)),
        ("1h30m", timedelta(minutes=90)),
        ("1 h 30 m", timedelta(minutes=90)),
        ("30d", timedelta(days=30)),
        ("2w", timedelta(weeks=2)),
        ("PT1M30S", timedelta(seconds=90)),
        ("P30D", timedelta(days=30)),
        ("00:01:30", timedelta(seconds=90)),
    ],
)
def test_durations_are_written_as_people_do_in_seconds_or_in_iso_8601(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: timedelta
) -> None:
    monkeypatch.setenv("QRS_DRAIN", text)
    monkeypatch.setenv("QRS_MAX_SECONDS", text)
    assert Settings.load(max_seconds=60).drain == expected
    if expected >= timedelta(seconds=1):
        assert Settings.load().max_seconds == expected.total_seconds()


@pytest.mark.parametrize("text", ["0s", "0.5s", "30s", "90s", "10m", "90m", "3h", "30d"])
def test_a_duration_is_shown_as_it_can_be_given(text: str) -> None:
    assert spelled(Settings(drain=text).drain) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2000000", 2_000_000), ("500M", 500 * 10**6), ("50Gi", 50 * 2**30), ("50GiB", 50 * 2**30), ("1.5 Ti", 3 * 2**39)],
)
def test_sizes_are_written_as_people_do_or_in_bytes(monkeypatch: pytest.MonkeyPatch, text: str, expected: int) -> None:
    names = [name for name in Settings.model_fields if name.endswith("_bytes")] + ["memory"]
    for name in names:
        monkeypatch.setenv(f"QRS_{name.upper()}", text)
    settings = Settings.load()
    assert {getattr(settings, name) for name in names} == {expected}


def test_what_is_given_wins_over_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QRS_PORT", "1")
    assert Settings(port=2).port == 2
    assert Settings(data_dir=Path("x")).port == 1


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("PORT", "70000", "less than or equal to 65535"),
        ("PORT", "x", "valid integer"),
        ("MAX_SECONDS", "0", "greater than 0"),
        ("MAX_SECONDS", "long", "'long' is not a duration, as in 90s, 2h"),
        ("DRAIN", "soon", "'soon' is not a duration, as in 90s, 2h"),
        ("DRAIN", "-5", "'-5' is not a duration"),
        ("DRAIN", "2h soon", "'2h soon' is not a duration"),
        ("DRAIN", "", "'' is not a duration"),
        ("SWEEP_EVERY", "0", "greater than 0"),
        ("MEMORY", "plenty", "'plenty' is not a size, as in 512Mi"),
        ("MAX_PARAMS_BYTES", "100 bananas", "'100 bananas' is not a size, as in 512Mi"),
        ("LOG_LEVEL", "loud", "'debug', 'info'"),
        ("EXECUTORS", " ", "at least 1 item"),
        ("BACKENDS", "", "at least 1 item"),
        ("EXECUTOR_OPTIONS", "{", "not JSON, as in"),
    ],
)
def test_nonsense_is_refused_with_an_example(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    monkeypatch.setenv(f"QRS_{name}", value)
    with pytest.raises(StartupError, match=rf"QRS_{name}.*{re.escape(message)}"):
        Settings.load()


@pytest.mark.parametrize(("name", "value"), [("BYTES", "50"), ("BYTES", "999999"), ("FOR", "30"), ("FOR", "59s")])
def test_retention_that_would_keep_next_to_nothing_is_refused(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(f"QRS_RETAIN_{name}", value)
    with pytest.raises(StartupError, match=rf"QRS_RETAIN_{name}: .*give at least"):
        Settings.load()


@pytest.mark.parametrize(
    ("name", "nearest"),
    [("QRS_EXECUTOR", "QRS_EXECUTORS"), ("QRS_MAX_TRANSIT_BYTES", "QRS_MAX_HELD_BYTES"), ("qrs_tokes", "QRS_TOKENS")],
)
def test_a_misspelt_name_is_refused_with_the_nearest_ones(
    monkeypatch: pytest.MonkeyPatch, name: str, nearest: str
) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(StartupError, match=rf"{name} is not a setting of the server: do you mean .*{nearest}"):
        Settings.load()


def test_a_misspelt_argument_is_refused() -> None:
    with pytest.raises(StartupError, match="QRS_PROT"):
        Settings.load(prot=1)


def test_a_name_like_no_other_is_refused_without_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QRS_XYZZY", "1")
    with pytest.raises(StartupError, match=r"QRS_XYZZY is not a setting of the server$"):
        Settings.load()


def test_a_former_name_is_read_with_a_warning(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("QRS_MEMORY_BYTES", "1Gi")
    assert Settings.load().memory == 2**30
    assert "QRS_MEMORY_BYTES is now called QRS_MEMORY" in caplog.text
    monkeypatch.setenv("QRS_MEMORY", "2Gi")
    assert Settings.load().memory == 2**31
    assert Settings.load(memory="3Gi").memory == 3 * 2**30


def test_a_former_option_is_read_with_a_warning(capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["serve", "--executor=aer=1", "--executor", "counted", "--drain-seconds", "3", "--port=1"]
    assert list(renamed(arguments)) == [
        "serve",
        "--executors=aer=1",
        "--executors",
        "counted",
        "--drain",
        "3",
        "--port=1",
    ]
    assert capsys.readouterr().err.count("--executor is now called --executors") == 1


def test_every_option_is_called_what_its_variable_is() -> None:
    commands = typer.main.get_group(cli).commands
    options = {
        option.removeprefix("--").replace("-", "_")
        for name in ("serve", "api", "executor")
        for parameter in commands[name].params
        for option in parameter.opts
        if option.startswith("--")
    }
    assert options - {"help", "doctor"} <= set(Settings.model_fields)


@pytest.mark.parametrize("text", ["a=fake_lima@aer exam=ibm_lab@gpu", "a=fake_lima@aer, exam=ibm_lab@gpu"])
def test_aliases_are_pairs(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("QRS_ALIASES", text)
    assert Settings.load().aliases == {"a": "fake_lima@aer", "exam": "ibm_lab@gpu"}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("class_device", "QRS_ALIASES: 'class_device' names no backend, as in class_device=fake_lima@aer"),
        ("=fake_lima@aer", "QRS_ALIASES: '=fake_lima@aer' names no backend"),
        ("a=fake_lima@aer a=fake_manila@aer", "QRS_ALIASES: a is given twice"),
    ],
)
def test_what_is_no_alias_is_refused(monkeypatch: pytest.MonkeyPatch, text: str, problem: str) -> None:
    monkeypatch.setenv("QRS_ALIASES", text)
    with pytest.raises(StartupError, match=re.escape(problem)):
        Settings.load()
