"""The first day of a physicist, a teacher and a plug-in author: README's commands, with an environment of their own.

The environment is made once, by README's `pip install`, in .venv-first-day; what is in the checkout is installed into
it again each time. Nothing of the tests' own environment is in reach.
"""

import json
import re
import signal
import subprocess
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from kit import ROOT, locked
from kit.server.client_environments import EnvironmentUnavailableError, without_environment
from kit.server.server_process import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

README = (ROOT / "README.md").read_text()
SECONDS = 240


def documented(*commands: str) -> None:
    """Fail if README does not show these any more: then the walks are not what a reader does."""
    for command in commands:
        assert re.search(rf"^{re.escape(command)}$", README, re.MULTILINE), f"README does not say: {command}"


class Person:
    """Somebody with a HOME, a shell, and the commands of the environment."""

    def __init__(self, home: Path, commands: Path) -> None:
        self.home = home
        self.variables = {"HOME": str(home), "PATH": f"{commands}:/usr/bin:/bin", "PYTHONUNBUFFERED": "1"}

    def tries(self, command: str, *, folder: Path = ROOT) -> "subprocess.CompletedProcess[str]":
        """Type a command and wait for its end."""
        return subprocess.run(
            ["bash", "-euo", "pipefail", "-c", command],
            cwd=folder,
            env=self.variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=SECONDS,
        )

    def types(self, command: str, *, folder: Path = ROOT) -> str:
        """Type a command that has to work, and return what it printed."""
        done = self.tries(command, folder=folder)
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        return done.stdout

    @contextmanager
    def serves(self, *options: str) -> Iterator[ServerProcess]:
        """Start README's server in another shell, on a free port."""
        process = subprocess.Popen(
            ["qiskit-runtime-server", "serve", "--port", "0", *options],
            env=self.variables,
            cwd=self.home,
            executable=f"{self.variables['PATH'].partition(':')[0]}/qiskit-runtime-server",
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        server = ServerProcess(process, self.home)
        try:
            server.wait_until_ready()
            yield server
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(SECONDS)
            server.reader.join()


def pip(python: Path, *arguments: str) -> None:
    command: Sequence[str | Path] = [python, "-m", "pip", "install", "--quiet", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise EnvironmentUnavailableError(f"pip install {' '.join(arguments)}: {done.stderr.strip()[-2000:]}")


@pytest.fixture(scope="module")
def commands() -> Path:
    """The folder of the commands that README's `pip install` brings."""
    documented('pip install ".[serve]"')
    folder = ROOT / ".venv-first-day"
    python, stamp = folder / "bin" / "python", folder / ".installed"
    wanted = (ROOT / "pyproject.toml").read_text()
    try:
        with locked(ROOT / f"{folder.name}.lock"):
            if not stamp.exists() or stamp.read_text() != wanted:
                venv.create(folder, with_pip=True, clear=True)
                # With what builds the packages of the other walks.
                pip(python, "--no-compile", ".[serve]", "hatchling>=1.27")
                stamp.write_text(wanted)
            else:
                pip(python, "--no-deps", "--no-build-isolation", "--no-index", "--force-reinstall", ".")
    except EnvironmentUnavailableError as error:
        without_environment(error)
    return folder / "bin"


@pytest.fixture
def person(commands: Path, tmp_path: Path) -> Person:
    home = tmp_path / "home"
    home.mkdir()
    return Person(home, commands)


def test_nothing_of_the_tests_is_in_reach(person: Person) -> None:
    where = Path(person.types("python -c 'import qiskit_runtime_server as package; print(package.__file__)'").strip())
    assert where.is_relative_to(ROOT / ".venv-first-day")
    assert person.types("qiskit-runtime-server --version") == person.types("python -m qiskit_runtime_server --version")


def test_a_physicist_serves_connects_and_runs_a_first_job(person: Person) -> None:
    documented("qiskit-runtime-server serve", "python examples/sampler.py")
    documented('eval "$(qiskit-runtime-server connect http://127.0.0.1:8000)"')
    with person.serves() as server:
        connect = f'eval "$(qiskit-runtime-server connect {server.url})"'
        printed = person.types(f"{connect}; python examples/sampler.py")
        counts = json.loads(re.findall(r"^Bell (\{.*\})$", printed, re.MULTILINE)[0].replace("'", '"'))
        assert sum(counts.values()) == 4096
        assert counts["00"] + counts["11"] > 3500
        assert "fake_marrakesh@aer" in person.types(f"{connect}; python examples/connect.py")
        program = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)[0]
        script = person.home / "bell.py"
        script.write_text(program)
        assert "'00'" in person.types(f"{connect}; python {script}")
    dead = person.tries(f"qiskit-runtime-server connect {server.url}")
    assert (dead.returncode, dead.stdout, dead.stderr.count("\n")) == (1, "", 1)
    assert f"No server answers at {server.url}" in dead.stderr
    assert "QISKIT_IBM_TOKEN" in person.types(f"qiskit-runtime-server connect {server.url} --no-check")
    written = {path for path in person.home.rglob("*") if path.is_file()}
    assert any(path.is_relative_to(person.home / ".local/share/qiskit-runtime-server") for path in written)


def test_a_teacher_gives_a_class_accounts_and_sees_who_runs_what(person: Person) -> None:
    (person.home / "class.csv").write_text("name,role,qubits\nteacher,admin,\nalice,,12\nbob,,1\n")
    tokens = person.home / "tokens"
    with person.serves("--tokens", str(make_folder(tokens))) as server:
        add = f"qiskit-runtime-server accounts add {tokens} --csv class.csv --url {server.url}"
        cells = dict(cell.split("\n", 1) for cell in person.types(add, folder=person.home).split("# ")[1:])
        assert list(cells) == ["teacher", "alice", "bob"]
        listed = person.types(f"qiskit-runtime-server accounts list {tokens}").split()
        assert {"teacher", "alice", "bob"} <= set(listed)
        stranger = person.tries(f"qiskit-runtime-server connect {server.url} --token mallory")
        assert (stranger.returncode, stranger.stdout) == (1, "")
        assert "does not know this token" in stranger.stderr

        notebook = (ROOT / "examples" / "sampler.py").read_text()
        for name in ("alice", "bob"):
            (person.home / f"{name}.py").write_text(f"{cells[name]}\n{notebook}")
        jobs = {"alice": person.types(f"python {person.home / 'alice.py'}")}
        refused = person.tries(f"python {person.home / 'bob.py'}")
        assert refused.returncode != 0
        assert "1109" in refused.stderr, "two entangled qubits are more than bob may have"

        token = re.findall(r'"QISKIT_IBM_TOKEN": "(\w+)"', cells["teacher"])[0]
        who = json.loads(
            person.types(f"curl -sS --fail -H 'Authorization: apikey {token}' {server.url}/api/v1/admin/jobs")
        )
        assert re.findall(r"^job (\w+)$", jobs["alice"], re.MULTILINE)[0] in json.dumps(who)
        assert {"alice", "bob"} <= set(re.findall(r"alice|bob", json.dumps(who)))


def make_folder(path: Path) -> Path:
    """Return a folder that is there, with nobody in it: the server starts before the class comes."""
    path.mkdir(mode=0o700)
    return path


def test_a_plug_in_author_installs_the_example_examines_it_and_serves_it(person: Person) -> None:
    example = ROOT / "examples" / "executor-plugin"
    target = person.home / "plugins"
    options = f"--quiet --no-deps --no-build-isolation --no-index --target {target}"
    person.types(f"python -m pip install {options} {example}")
    person.variables["PYTHONPATH"] = str(target)
    assert "single" in person.types("qiskit-runtime-server executor single --doctor --memory 64Mi")
    with person.serves("--executors", "single") as server:
        names = person.types(f'eval "$(qiskit-runtime-server connect {server.url})"; python examples/connect.py')
    assert "@single" in names
    assert "@aer" not in names
