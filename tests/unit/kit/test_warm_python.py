"""Programs that the warm Python runs are to those who start them what Python's own are."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from kit.kubernetes.client import eventually
from kit.server.cluster_processes import is_alive
from kit.server.warm_python import warm_python

pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform != "linux", reason="elsewhere it is Python itself")]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with warm_python(tmp_path_factory.mktemp("python"), ["difflib"]) as command:
        yield command


def ran(
    python: str, *arguments: str, folder: Path | None = None, said: str = "", **variables: str
) -> "subprocess.CompletedProcess[str]":
    environment: Mapping[str, str] = {**os.environ, **variables}
    return subprocess.run(
        [python, *arguments], cwd=folder, env=environment, input=said, capture_output=True, text=True, check=False
    )


PROGRAM = """
import beside, os, sys
print(sys.argv, __name__, __file__, os.getcwd(), sorted(os.environ), input(), beside.__file__)
print("trouble", file=sys.stderr)
"""


def test_a_program_has_its_arguments_variables_folder_and_files(python: str, tmp_path: Path) -> None:
    script, module, elsewhere = tmp_path / "script.py", tmp_path / "beside.py", tmp_path / "elsewhere"
    script.write_text(PROGRAM)
    module.touch()
    elsewhere.mkdir()
    own, warm = (
        ran(each, str(script), "a", "b c", folder=elsewhere, said="hello\n") for each in (sys.executable, python)
    )
    assert (warm.stdout, warm.stderr, warm.returncode) == (own.stdout, own.stderr, own.returncode)


def test_modules_and_code_are_run_too_and_found_where_the_variables_say(python: str, tmp_path: Path) -> None:
    (tmp_path / "found.py").write_text("import sys; print(sys.argv[1:], __name__)")
    for arguments in (["-m", "found", "x"], ["-c", "import found, sys; print(sys.argv)", "y"]):
        own, warm = (ran(each, *arguments, PYTHONPATH=str(tmp_path)) for each in (sys.executable, python))
        assert (warm.stdout, warm.returncode) == (own.stdout, 0)
    assert ran(python, "-c", "import kit", PYTHONPATH="").returncode == 1, "what the tests import is not in reach"


@pytest.mark.parametrize(
    "end", ["sys.exit()", "sys.exit(3)", "sys.exit('no')", "1 / 0", *(f"os.kill(os.getpid(), {n})" for n in (2, 9, 15))]
)
def test_a_program_ends_as_it_does(python: str, end: str) -> None:
    program = f"import atexit, os, sys; atexit.register(print, 'the end'); {end}"
    own, warm = (ran(each, "-c", program) for each in (sys.executable, python))
    assert (warm.returncode, warm.stdout) == (own.returncode, own.stdout)
    assert warm.stderr.splitlines()[-1:] == own.stderr.splitlines()[-1:]


def test_what_was_imported_is_there(python: str) -> None:
    program = "import sys; print('difflib' in sys.modules)"
    assert [ran(each, "-c", program).stdout for each in (sys.executable, python)] == ["False\n", "True\n"]


def test_a_program_ends_with_the_command_that_started_it(python: str) -> None:
    program = "import os, time; print(os.getpid(), flush=True); time.sleep(600)"
    with subprocess.Popen([python, "-c", program], stdout=subprocess.PIPE, text=True) as command:
        assert command.stdout is not None
        pid = int(command.stdout.readline())
        assert is_alive(pid)
        command.send_signal(signal.SIGTERM)
    eventually(lambda: not is_alive(pid))
