"""Variables come out of a shell, of Python or of a file as they went in, whatever is in them."""

import json
import os
import subprocess
import sys

import pytest

from qiskit_runtime_server.shells import Format, setting, unsetting

VARIABLES = {"QISKIT_IBM_TOKEN": 'it\'s "$HOME" \\ `date` % é #', "IAM_URL": "http://127.0.0.1/a%20b", "EMPTY": ""}
SHOW = f"{sys.executable} -c 'import json, os; print(json.dumps(dict(os.environ)))'"


def shown(command: list[str]) -> dict[str, str]:
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    variables: dict[str, str] = json.loads(done.stdout)
    return variables


@pytest.mark.parametrize("shell", ["sh", "bash"])
def test_a_shell_sets_and_unsets_them(shell: str) -> None:
    assert shown([shell, "-c", f"{setting(VARIABLES, Format.SH)}\n{SHOW}"]).items() >= VARIABLES.items()
    both = f"{setting(VARIABLES, Format.SH)}\n{unsetting(VARIABLES, Format.SH)}\n{SHOW}"
    assert not shown([shell, "-c", both]).keys() & VARIABLES.keys()


def test_python_sets_and_unsets_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    exec(setting(VARIABLES, Format.PYTHON), {})  # noqa: S102 - it is what a notebook does with it
    assert dict(os.environ).items() >= VARIABLES.items()
    exec(unsetting(VARIABLES, Format.PYTHON), {})  # noqa: S102
    assert not os.environ.keys() & VARIABLES.keys()


def test_powershell_takes_them_as_they_are() -> None:
    assert setting({"A": "it's $HOME"}, Format.POWERSHELL) == "$env:A = 'it''s $HOME'"
    assert unsetting(["A", "B"], Format.POWERSHELL) == "Remove-Item -ErrorAction Ignore Env:A, Env:B"


def test_a_file_of_variables_quotes_them() -> None:
    assert setting({"A": 'say "x"'}, Format.DOTENV) == 'A="say \\"x\\""'
    assert unsetting(["A"], Format.DOTENV) == "A="
