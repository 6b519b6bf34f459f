"""The first day of a physicist, a teacher, an engineer and a plug-in author: the documented commands, typed.

The environment is made once, by README's `pip install`, in .venv-first-day; what is in the checkout is installed into
it again each time. Nothing of the tests' own environment is in reach; PostgreSQL alone is theirs.

`make test` has the physicist's day. What the others' pages show runs there in the tests' own environment: the teacher's
in test_documented_blocks.py, the plug-in author's in test_plugin.py, the engineer's steps in tests/processes/cluster.
"""

import json
import re
import subprocess
import venv
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import pytest

from kit import ROOT, locked
from kit.server.client_environments import EnvironmentUnavailableError, without_environment
from kit.server.cluster_processes import wait_until
from kit.server.documented import blocks
from kit.server.person import Person
from kit.server.postgresql_server import PostgresqlServer
from kit.server.server_process import ServerProcess

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]

README = (ROOT / "README.md").read_text()


def documented(*commands: str) -> None:
    """Fail if README does not show these any more: then the walks are not what a reader does."""
    for command in commands:
        assert re.search(rf"^{re.escape(command)}$", README, re.MULTILINE), f"README does not say: {command}"


def here(command: str, own: Mapping[str, str]) -> str:
    """Return a command with what is a reader's own; nothing listens but on loopback."""
    for theirs, ours in {**own, "0.0.0.0": "127.0.0.1"}.items():  # noqa: S104 - the pages' own
        command = command.replace(theirs, ours)
    return command


def shown(page: str, words: str) -> str:
    """Return the paragraph of a page's shell commands that has these words, without its comments."""
    paragraphs = [part for block in blocks(ROOT / "docs" / page) for part in block.text.split("\n\n")]
    [found] = [paragraph for paragraph in paragraphs if words in paragraph]
    return re.sub(r"(^| +)#.*$", "", found, flags=re.MULTILINE).strip()


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
                # What is run is compiled then.
                pip(python, "--no-compile", "--no-deps", "--no-build-isolation", "--no-index", "--force-reinstall", ".")
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
        assert_banner_says_what_fits(server)
        connect = f'eval "$(qiskit-runtime-server connect {server.url})"'
        printed = person.types(f"{connect}; python examples/sampler.py")
        counts = json.loads(re.findall(r"^Bell (\{.*\})$", printed, re.MULTILINE)[0].replace("'", '"'))
        assert sum(counts.values()) == 4096
        assert counts["00"] + counts["11"] > 3500
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


def assert_banner_says_what_fits(server: ServerProcess) -> None:
    banner = "".join(server.output)
    assert re.search(r"^(Qiskit Runtime Server|Executor aer) \d+\.\d+\.\d+$", banner, re.MULTILINE)
    assert re.search(r"\d+ slots?, each for \d+ entangled qubits without errors in [\d.]+ [MG]iB", banner)
    assert "Ctrl-C: running jobs may go on for 30 s; a second Ctrl-C stops at once" in banner


@pytest.mark.thorough
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


@pytest.mark.thorough
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


LONG_JOB = """
import time
from qiskit import QuantumCircuit
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.executor_sampler import Sampler

circuit = QuantumCircuit(21)
for layer in range(80):
    circuit.rx(0.1 + layer, range(21))
    circuit.cx(range(20), range(1, 21))
circuit.measure_all()
job = Sampler(QiskitRuntimeService().backend("fake_quantum_sim@aer")).run([circuit], shots=100)
while job.status() != "RUNNING":
    time.sleep(0.1)
print(job.job_id())
"""
RESULT = """
import sys
from qiskit_ibm_runtime import QiskitRuntimeService

print(QiskitRuntimeService().job(sys.argv[1]).result()[0].data.meas.num_shots)
"""


@pytest.mark.thorough
@pytest.mark.database
def test_an_engineer_serves_a_group_watches_the_servers_rolls_one_out_and_sees_what_is_wrong(person: Person) -> None:
    """The pages "Run it in production" and "Watch a server", with hosts, ports and folders of this machine."""
    for key in ("signing-key", "executor-key"):
        person.types(f"openssl rand -base64 48 > {key}", folder=person.home)
    accounts = person.types("qiskit-runtime-server accounts add tokens alice --json", folder=person.home)
    token = json.loads(accounts)[0]["token"]
    (person.home / "long.py").write_text(LONG_JOB)
    (person.home / "result.py").write_text(RESULT)

    def of_alice(api: ServerProcess, command: str) -> str:
        return person.types(f'eval "$(qiskit-runtime-server connect {api.url} --token {token})"; {command}')

    with ExitStack() as shells:
        database = shells.enter_context(PostgresqlServer())
        shown_api = shown("how-to/production.md", "qiskit-runtime-server api")
        same_key = re.findall(r"^export QRS_EXECUTOR_KEY=.*$", shown_api, re.MULTILINE)[0]
        shown_executor = shown("how-to/production.md", "qiskit-runtime-server executor")
        executor = f"{same_key}\n{here(shown_executor, {'48Gi': '2Gi', '8080': '0'})}"
        simulator = shells.enter_context(person.starts(executor))
        own = {
            "postgresql://qrs:PASSWORD@db.example/qrs?sslmode=verify-full": database.create("qrs"),
            "http://executors.internal:8080": simulator.url,
            "/etc/qrs/tokens": "tokens",
        }
        api = here(shown_api, own)
        variables = {"QRS_PORT": "0", "QRS_INTERNAL_PORT": "0", "QRS_LOAD_KEY": "of the engineer"}
        apis = [shells.enter_context(person.starts(api, **variables)) for _ in range(2)]

        assert_banner_says_what_fits(simulator)
        for server in (simulator, *apis):
            person.types(f"curl -sS --fail {server.url}/health/ready")
        counted = of_alice(apis[0], "python examples/sampler.py")
        assert re.search(r"^Bell \{.*\}$", counted, re.MULTILINE)
        metrics, load = shown("how-to/monitor.md", "curl http://127.0.0.1:9090/metrics").splitlines()
        ended = [person.types(here(metrics, {"http://127.0.0.1:9090": each.internal_url})) for each in apis]
        completed = re.findall(
            r'^qrs_jobs_ended_total{executor="aer",state="completed"} (.*)$', "".join(ended), re.MULTILINE
        )
        assert (len(completed), sum(map(float, completed)) > 0) == (2, True)
        loads = here(load, {"http://127.0.0.1:9090": apis[1].internal_url})
        asked = json.loads(person.types(f"export QRS_LOAD_KEY='of the engineer'; {loads}"))
        assert asked["executors"]["aer"]["slots"] == 2

        job = of_alice(apis[0], f"python {person.home}/long.py").strip()
        leaving, staying = sorted(apis, key=lambda each: f"Job {job} started" not in "".join(each.output))
        assert leaving.stop() == 0
        assert of_alice(staying, f"python {person.home}/result.py {job}").strip() == "100"
        assert f"Job {job} was lost by its dispatcher and is followed from here." in "".join(staying.output)
        assert "run 2" not in "".join(leaving.output + staying.output), "the run goes on, it does not begin again"

        answer = f"curl -sS --output /dev/null --write-out '%{{http_code}}' {staying.url}/health/ready"
        database.stop()
        assert person.types(answer) == "503"
        database.start()
        wait_until(lambda: person.types(answer) == "200")

        simulator.stop()
        status = (
            f"curl -sS --fail -H 'Authorization: apikey {token}' {staying.url}/api/v1/backends/fake_manila@aer/status"
        )
        wait_until(lambda: "No executor is up" in person.types(status))
