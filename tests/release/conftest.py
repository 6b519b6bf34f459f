"""A release, made once by `make release`, and not published."""

import os
from pathlib import Path

import pytest

from kit import ROOT, locked
from kit.released import MakeRelease, release, revision_before, run_make
from release.source import exported


@pytest.fixture(scope="session")
def make_release(helm: Path, oras: Path) -> MakeRelease:
    """Return what runs `make release`; skip where its environment cannot be installed."""
    assert helm.exists()
    assert oras.exists()
    with locked(ROOT / ".venv-release.lock"):
        prepared = run_make(".venv-release/.installed")
    if prepared.returncode == 0:
        return release
    reason = f"requirements/release.txt cannot be installed: {prepared.stderr[-1000:]}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def made(make_release: MakeRelease, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a release that nobody signed."""
    out = tmp_path_factory.mktemp("release") / "out"
    done = make_release(OUT=out)
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="session")
def older(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files of the release before this one."""
    return exported(ROOT, tmp_path_factory.mktemp("older") / "source", revision_before()).folder
