"""`make release` in tests: without publishing, and without images, which the end-to-end tests build."""

import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from kit import ROOT

REGISTRY = "registry.test/qiskit"
VERSION: str = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

# As long as nothing has been released, what was committed so much earlier stands for it.
_COMMITS_BEFORE = 50
# Before the first release it gave anonymous accounts longer names, so that clients of older servers lose their jobs.
_NOT_BEFORE = "55582eaf4f6e595f528b107990dd73fd4d49d69b"

MakeRelease = Callable[..., "subprocess.CompletedProcess[str]"]


def run_make(target: str, **variables: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run a target of the Makefile with the interpreter of the tests."""
    said = [f"{name}={value}" for name, value in variables.items()]
    command = ["make", "--silent", target, f"PYTHON={sys.executable}", *said]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def release(**variables: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run `make release` with some variables."""
    return run_make("release", **{"VERSION": VERSION, "IMAGES": "none", "REGISTRY": REGISTRY, **variables})


def revision_before() -> str:
    """Return the last release that is not this commit itself, or a commit in its place; skip where there is neither."""
    tag = _git("describe", "--tags", "--match=v*", "--abbrev=0", "HEAD^")
    revision = tag or _git("rev-parse", "--verify", "--quiet", f"HEAD~{_COMMITS_BEFORE}")
    if not tag and _git("merge-base", "HEAD", _NOT_BEFORE) and not _git("rev-list", "-1", revision, f"^{_NOT_BEFORE}"):
        revision = _NOT_BEFORE
    if not revision:
        pytest.skip(f"neither a release's tag nor {_COMMITS_BEFORE} commits are here: git fetch --unshallow --tags")
    return revision


def _git(*arguments: str) -> str:
    """Return what git says; nothing if it fails, as it does of what is not here."""
    done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
