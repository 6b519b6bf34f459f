"""The console in a real browser, on a real server, with jobs of the real client."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from qiskit import QuantumCircuit, transpile
from qiskit_ibm_runtime import SamplerV2
from qiskit_ibm_runtime.noise_learner import NoiseLearner

from kit import ROOT
from kit.server.client_environments import EnvironmentUnavailableError, python_with, without_environment
from kit.server.http_jobs import signed_in
from kit.server.openid_provider import AUDIENCE, CLIENT, openid_provider
from kit.server.server_process import running_server
from qiskit_runtime_server.client import connect

CHROMIUM = Path("/usr/bin/chromium")
SCRIPT = Path(__file__).with_name("walk_script.py")
HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
# Where pictures are written: CONSOLE_PICTURES=docs/pictures make test ARGS=tests/processes/console
PICTURES = "CONSOLE_PICTURES"
LEARNING = {
    "num_randomizations": 32,
    "shots_per_randomization": 128,
    "layer_pair_depths": [0, 4, 16, 32],
    "max_layers_to_learn": 2,
}

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The (SamplerV2|NoiseLearner) class:DeprecationWarning"),
]


def ghz() -> QuantumCircuit:
    circuit = QuantumCircuit(3, name=f"ghz{HOSTILE}" if PICTURES not in os.environ else "ghz")
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.cx(1, 2)
    circuit.measure_all()
    return circuit


@pytest.fixture(scope="module")
def browser_python() -> Path:
    if not CHROMIUM.exists():
        without_environment(EnvironmentUnavailableError(f"There is no {CHROMIUM}."))
    try:
        return python_with("browser")
    except EnvironmentUnavailableError as error:
        without_environment(error)


@pytest.mark.timeout(600)
def test_people_find_their_way_and_nothing_hostile_runs(browser_python: Path, tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    tokens.mkdir()
    for name in ("ada", "alice", "bob", "tess"):
        (tokens / name).write_text(name)
    (tokens / "accounts.toml").write_text('[accounts.ada]\nrole = "admin"\n[accounts.tess]\nteaches = ["alice"]\n')
    tags = [HOSTILE] if PICTURES not in os.environ else ["lecture 4", "ghz"]
    # Another site than the server's, which is called by its address: browsers withhold its cookies on the way back.
    with (
        openid_provider("localhost") as provider,
        running_server(
            tmp_path / "data",
            f"--tokens={tokens}",
            "--executors=aer=1",
            QRS_AUTH_OIDC_ISSUER=provider.issuer,
            QRS_AUTH_OIDC_AUDIENCE=AUDIENCE,
            QRS_AUTH_OIDC_CLIENT_ID=CLIENT,
        ) as server,
    ):
        backend = connect(server.url, "alice").backend("fake_torino@aer")
        sampler = SamplerV2(backend)
        sampler.options.environment.job_tags = tags
        circuit = transpile(ghz(), backend, seed_transpiler=1, optimization_level=1)
        done = sampler.run([circuit], shots=1000)
        done.result()
        learned = NoiseLearner(backend, LEARNING).run([circuit])
        learned.result()
        with signed_in(server.url, "ada") as api:
            assert api.patch("/admin/executors/aer", json={"draining": True}).is_success
        with pytest.warns(UserWarning, match="paused"):
            of_class, plain, waits = (sampler.run([circuit]) for _ in range(3))
        command = [
            str(browser_python),
            str(SCRIPT),
            f"--url={server.url}",
            f"--done={done.job_id()}",
            f"--waits={waits.job_id()}",
            f"--plain={plain.job_id()}",
            f"--of-class={of_class.job_id()}",
            f"--learned={learned.job_id()}",
        ]
        if PICTURES in os.environ:
            command.append(f"--pictures={ROOT / os.environ[PICTURES]}")
        walked = subprocess.run(command, capture_output=True, text=True, check=False)
        assert walked.returncode == 0, walked.stdout + walked.stderr
    seen = json.loads(walked.stdout.splitlines()[-1])
    assert seen["wrong"] == []
    jobs = [job.job_id() for job in (waits, plain, of_class, learned, done)]
    assert seen["own jobs"] == seen["jobs without scripts"] == seen["all jobs"] == seen["jobs of the class"] == jobs
    assert seen["jobs of tess"] == []
    assert (seen["cancelled by a teacher"], seen["the class's job can be deleted"]) == ("Cancelled", False)
    assert seen["no class"] == "Only teachers may do that; bob teaches nobody."
    assert any(re.fullmatch(r"[XYZ]\d+ [XYZ]\d+", label) for label in seen["rates"])
    assert {"000", "111"} <= set(seen["bars"])
    assert seen["bars without scripts"] == seen["bars"]
    assert "Rz" in seen["drawing"]
    assert seen["drawing without scripts"] == seen["drawing"]
    assert seen["name"].startswith("ghz")
    assert (PICTURES in os.environ) or HOSTILE in seen["name"]
    assert (seen["waits"], seen["cancelled"]) == ("Queued", "Cancelled")
    assert seen["waits without scripts"] == "Queued"
    assert seen["qubits drawn"] == 133
    assert seen["jobs of bob"] == []
    assert seen["another's job"] == f"Job {done.job_id()} not found."
    assert seen["after deleting"] == jobs[:-1]
    assert seen["by the provider"] == seen["still"] == "oidc.alice"
