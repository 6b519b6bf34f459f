"""What happens where the packages cannot be installed."""

from pathlib import Path

import pytest

from kit.server import client_environments
from kit.server.client_environments import EnvironmentUnavailableError, python_with, without_environment


def test_without_a_network_there_is_no_environment_and_the_reason_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "requirements").mkdir()
    (tmp_path / "requirements" / "unreachable.txt").write_text(f"mthree==3.0.0 --hash=sha256:{'0' * 64}\n")
    monkeypatch.setattr(client_environments, "ROOT", tmp_path)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")
    monkeypatch.setenv("PIP_EXTRA_INDEX_URL", "")
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(EnvironmentUnavailableError, match=r"unreachable\.txt cannot be installed: .*mthree"):
        python_with("unreachable")
    assert not (tmp_path / ".venv-unreachable" / ".installed").exists()


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_tests_without_their_environment_fail_in_ci_and_are_skipped_elsewhere(
    monkeypatch: pytest.MonkeyPatch, ci: str, outcome: type[BaseException]
) -> None:
    monkeypatch.setenv("CI", ci)
    with pytest.raises(outcome, match="no network"):
        without_environment(EnvironmentUnavailableError("no network"))
