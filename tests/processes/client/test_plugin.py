"""The example of a plug-in, installed as its Dockerfile does it: found by its entry point, tested, and run."""

import os
import subprocess
import sys

import pytest

from kit import ROOT, environment

EXAMPLE = ROOT / "examples" / "executor-plugin"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that finds the plug-in."""
    folder = tmp_path_factory.mktemp("plugin")
    options = ("--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target")
    subprocess.run([sys.executable, "-m", "pip", "install", *options, str(folder), str(EXAMPLE)], check=True)
    return environment(folder)


def test_its_own_tests_pass(python: str, installed: dict[str, str]) -> None:
    options = ("-q", "-p", "no:cacheprovider", "--rootdir", str(EXAMPLE), "-c", os.devnull, str(EXAMPLE / "tests"))
    command = [python, "-m", "pytest", *options]
    done = subprocess.run(command, env=installed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert "15 passed, 1 skipped" in done.stdout, "it gives no exact values; everything else is tested"


def test_the_doctor_finds_nothing_wrong_with_it(python: str, installed: dict[str, str]) -> None:
    command = [python, "-m", "qiskit_runtime_server", "executor", "single", "--doctor", "--memory=64Mi"]
    done = subprocess.run(command, env=installed, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "single" in done.stdout
