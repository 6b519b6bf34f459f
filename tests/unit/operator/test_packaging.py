"""The operator travels in the one distribution, and its folder leaves Python's own `operator` alone."""

import re
import subprocess
import sys
import sysconfig
import tomllib
from pathlib import Path
from zipfile import ZipFile

from qiskit_runtime_operator.entry_point import _EXTRA

ROOT = Path(__file__).parents[3]


def test_the_wheel_has_operator_and_server_and_a_command_for_each(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hatchling", "build", "--target=wheel", f"--directory={tmp_path}"]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)
    (path,) = tmp_path.glob("*.whl")
    with ZipFile(path) as wheel:
        names = wheel.namelist()
        (scripts,) = [name for name in names if name.endswith("/entry_points.txt")]
        commands = wheel.read(scripts).decode()
    sources = (ROOT / "operator").rglob("*.py")
    assert {str(source.relative_to(ROOT / "operator")) for source in sources} <= set(names)
    packages = {name.partition("/")[0] for name in names if ".dist-info/" not in name}
    assert packages == {"qiskit_runtime_operator", "qiskit_runtime_server"}
    assert "qiskit-runtime-operator = qiskit_runtime_operator.entry_point:main" in commands


def test_pythons_own_operator_is_imported_from_the_root_of_the_repository_too() -> None:
    command = [sys.executable, "-c", "import operator, importlib; print(importlib.reload(operator).__file__)"]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert Path(done.stdout.strip()).parent == Path(sysconfig.get_path("stdlib"))


def test_the_command_says_what_it_can_do() -> None:
    command: list[str | Path] = [Path(sys.executable).with_name("qiskit-runtime-operator"), "--help"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "crds" in done.stdout


def test_a_missing_extra_is_one_line_that_names_it() -> None:
    script = "import sys; sys.modules['kopf'] = None; from qiskit_runtime_operator.entry_point import main; main()"
    done = subprocess.run([sys.executable, "-c", script], check=False, capture_output=True, text=True)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "module 'kopf' is not installed" in line
    assert "[operator]" in line


def test_the_modules_of_the_extra_are_known() -> None:
    extra = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["operator"]
    packages = {re.split(r"[^a-z0-9-]", line)[0].replace("-", "_") for line in extra}
    assert {{"pyyaml": "yaml"}.get(package, package) for package in packages} == _EXTRA
