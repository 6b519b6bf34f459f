"""The operator's settings: what is misspelt is refused, with what was probably meant."""

import pytest

from qiskit_runtime_operator.errors import StartupError
from qiskit_runtime_operator.settings import Settings


@pytest.fixture(autouse=True)
def required(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NAMESPACE", "API_IMAGE", "EXECUTOR_IMAGE", "EXECUTOR_GPU_IMAGE"):
        monkeypatch.setenv(f"QRO_{name}", "there")


def test_a_misspelt_name_is_refused_with_the_nearest_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QRO_RESYNCH", "60")
    with pytest.raises(StartupError, match=r"QRO_RESYNCH is not a setting of the operator: do you mean QRO_RESYNC\?"):
        Settings.load()


def test_a_name_like_no_other_is_refused_without_a_guess(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QRO_XYZZY", "1")
    with pytest.raises(StartupError, match=r"QRO_XYZZY is not a setting of the operator$"):
        Settings.load()


def test_every_setting_can_be_given_in_small_letters_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("qro_workers", "3")
    assert Settings.load().workers == 3


def test_a_value_that_makes_no_sense_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QRO_WORKERS", "0")
    with pytest.raises(StartupError, match=r"QRO_WORKERS: .*greater than or equal to 1"):
        Settings.load()


def test_the_url_of_the_load_names_the_runtime_server_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QRO_LOAD_URL", "http://127.0.0.1/{namespace}/{pod}")
    with pytest.raises(StartupError, match=r"QRO_LOAD_URL: only \{name\} and \{namespace\}"):
        Settings.load()
