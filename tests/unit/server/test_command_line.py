"""What the command line says of itself."""

import os
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions, version

import pytest

from kit import ROOT
from qiskit_runtime_server.command_line.extras import EXTRA_OF, explained
from qiskit_runtime_server.command_line.jobs import progress
from qiskit_runtime_server.settings import Settings


def said(*arguments: str, code: str = "") -> "subprocess.CompletedProcess[str]":
    how = ["-c", code] if code else ["-m", "qiskit_runtime_server"]
    return subprocess.run(
        [sys.executable, *how, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"},
    )


def test_it_says_its_version() -> None:
    assert said("--version").stdout.strip() == version("qiskit-runtime-server")


@pytest.mark.parametrize(
    "arguments", [(), ("serve",), ("connect",), ("accounts",), ("accounts", "add"), ("backup",), ("restore",)]
)
def test_help_is_short_or_long(arguments: tuple[str, ...]) -> None:
    short, long = said(*arguments, "-h"), said(*arguments, "--help")
    assert short.returncode == long.returncode == 0
    assert "Usage" in short.stdout
    assert short.stdout == long.stdout


@pytest.mark.parametrize("command", ["serve", "api", "executor"])
def test_help_names_the_variable_and_the_default_of_every_setting(command: str) -> None:
    text = re.sub(r"[\s│]+", " ", said(command, "--help").stdout)
    options = set(re.findall(r"--([a-z][a-z-]*)", text)) & {name.replace("_", "-") for name in Settings.model_fields}
    assert options
    for name in (option.replace("-", "_") for option in options):
        assert f"QRS_{name.upper()}" in text
    assert "(QRS_PORT; default: 8000)" in text
    assert "(QRS_HOST; default: 127.0.0.1)" in text
    assert ("(QRS_DRAIN; default: 30s)" in text) == ("--drain" in text)


def test_shells_can_complete_it() -> None:
    assert "--install-completion" in said("--help").stdout


def test_a_missing_extra_is_one_line_that_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['fastapi'] = None; sys.argv[0] = 'qiskit-runtime-server'; "
        "from qiskit_runtime_server.__main__ import main; main()"
    )
    done = said("serve", code=code)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "'fastapi'" in done.stderr
    assert '"qiskit-runtime-server[serve]"' in done.stderr


def test_a_module_that_no_extra_brings_is_a_fault_of_something_else() -> None:
    error = ModuleNotFoundError("No module named 'nonsense'", name="nonsense.part")
    with pytest.raises(ModuleNotFoundError, match="nonsense"):
        explained(error)


def test_every_package_of_an_extra_is_explained() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    packages = {re.split(r"[^A-Za-z0-9-]", line)[0].lower() for name in ("api", "executor") for line in extras[name]}
    modules = packages_distributions()
    explained_packages = {
        distribution.lower().replace("_", "-") for module in EXTRA_OF for distribution in modules.get(module, ())
    }
    assert packages <= explained_packages


def test_how_far_a_job_is_is_a_bar_a_number_and_a_stage_without_control_characters() -> None:
    run = {"done": 1, "total": 4, "fraction": 0.399, "stage": "pub 1 of 2\x1b[2J"}
    assert progress(run).plain == "███░░░░░░░  39 %"
    assert progress(run, with_stage=True).plain.startswith("███████░░░░░░░░░░░░░  39 %, pub 1 of 2")
    assert "\x1b" not in progress(run, with_stage=True).plain
    assert progress(None).plain == progress({**run, "total": 0}).plain
