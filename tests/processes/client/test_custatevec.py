"""The executor `custatevec` behind a real server and a real client: on NumPy, and without a GPU."""

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import EstimatorV2, QiskitRuntimeService, RuntimeJobFailureError, SamplerV2

from kit.quantum.custatevec_twin import environment
from kit.server.server_process import ServerProcess, running_server
from qiskit_runtime_server.client import connect
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.executors.custatevec.device_states import DeviceStates
from qiskit_runtime_server.executors.custatevec.options import Options

# Version 2 of the primitives is deprecated in the client, and what everybody uses.
pytestmark = pytest.mark.filterwarnings("ignore:The .*V2 class is deprecated:DeprecationWarning")

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="module")
def plugins(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return environment(tmp_path_factory.mktemp("plugins"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, plugins: dict[str, str]) -> Iterator[ServerProcess]:
    options = ("--executors=aer=1", "--executors=twin=1", "--executors=crowded=1")
    with running_server(tmp_path_factory.mktemp("data"), *options, QRS_AUTO="crowded aer", **plugins) as server:
        yield server


@pytest.fixture(scope="module")
def service(served: ServerProcess) -> QiskitRuntimeService:
    return connect(served.url, "a token")


@pytest.fixture(scope="module")
def command(python: str) -> Command:
    def run(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [python, "-m", "qiskit_runtime_server", *arguments],
            env=os.environ | variables,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )

    return run


def test_every_device_is_there_with_every_executor(served: ServerProcess) -> None:
    answer = httpx.get(f"{served.url}/api/v1/backends", headers={"Authorization": "apikey a token"})
    names = [device["name"] for device in answer.raise_for_status().json()["devices"]]
    of_aer, of_twin = ({n.partition("@")[0] for n in names if n.endswith(f"@{e}")} for e in ("aer", "twin"))
    assert of_aer == of_twin
    assert len(of_twin) >= 69


def test_a_noisy_dynamic_circuit_with_parameters_runs(service: QiskitRuntimeService) -> None:
    angle = Parameter("angle")
    circuit = QuantumCircuit(2, 2)
    circuit.rz(np.pi / 2, 0)
    circuit.sx(0)
    circuit.rz(angle, 0)
    circuit.sx(0)
    circuit.measure(0, 0)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure(1, 1)
    sampler = SamplerV2(mode=service.backend("fake_sherbrooke@twin"))
    sampler.options.simulator.seed_simulator = 3
    pub = (circuit, [[0.0], [np.pi]], 1000)
    one, other = (sampler.run([pub]).result()[0].data.c for _ in range(2))
    assert (one.array == other.array).all()
    shares = [one[row].get_counts() for row in range(2)]
    assert all(counts.get("00", 0) + counts.get("11", 0) > 930 for counts in shares)
    assert abs(shares[0].get("11", 0) - shares[1].get("11", 0)) > 900


def test_expectation_values_are_estimated(service: QiskitRuntimeService) -> None:
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    estimator = EstimatorV2(mode=service.backend("fake_quantum_sim@twin"))
    observables = [SparsePauliOp("ZZ"), SparsePauliOp("XX"), SparsePauliOp("ZI")]
    evs = estimator.run([(circuit, observables)], precision=0.02).result()[0].data.evs
    # A standard deviation is 0.02; both of the first are certain.
    assert evs[:2] == pytest.approx([1, 1])
    assert abs(evs[2]) < 5 * 0.02


def test_a_circuit_that_cannot_fit_is_refused_with_its_size(service: QiskitRuntimeService) -> None:
    backend = service.backend("fake_sherbrooke@twin")
    pairs = [pair for pair in backend.target["ecr"] if max(pair) < 33]
    circuit = QuantumCircuit(33, 33)
    # No Clifford gate: those have no need of a state.
    circuit.rz(0.3, 0)
    for pair in pairs:
        circuit.ecr(*pair)
    circuit.measure(range(33), range(33))
    job = SamplerV2(mode=backend).run([circuit])
    with pytest.raises(RuntimeJobFailureError, match=r"their state needs .* and there are 64 MiB, enough for 23"):
        job.result()


def ghz(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits)
    # Changes nothing, and is no Clifford gate: those have no need of a state.
    circuit.rz(0.3, 0)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure_all()
    return circuit


def test_what_an_executor_has_no_memory_for_after_all_runs_on_another(service: QiskitRuntimeService) -> None:
    job = SamplerV2(mode=service.backend("fake_quantum_sim@auto")).run([ghz(18)], shots=1)
    assert job.result()[0].data.meas.num_shots == 1
    metrics = job.metrics()
    assert metrics["executor"] == job.result().metadata["routing"]["executor"] == "aer"
    assert "2 MiB needed, 1 MiB free" in str(metrics["routing"]["crowded"]["refusal"]), metrics


def test_memory_that_runs_out_fails_one_job_and_not_the_worker(service: QiskitRuntimeService) -> None:
    sampler = SamplerV2(mode=service.backend("fake_quantum_sim@crowded"))
    for _ in range(2):
        job = sampler.run([ghz(19)])
        with pytest.raises(RuntimeJobFailureError, match="1 state of 19 qubits: 4 MiB needed, 1 MiB free"):
            job.result()
        assert job.status() == "ERROR"
        counts = sampler.run([ghz(5)], shots=100).result()[0].data.meas.get_counts()
        assert counts.keys() <= {"00000", "11111"}


def test_options_reach_the_executor(command: Command, plugins: dict[str, str]) -> None:
    double = {"QRS_EXECUTOR_OPTIONS": '{"twin": {"precision": "double"}}'}
    assert "qubits     22, double precision" in command("executor", "twin", "--doctor", **plugins, **double).stdout
    for wrong, message in (
        ('{"twin": {"precision": "half"}}', "option precision is 'half'; it takes one of single, double."),
        ('{"crowded": {"colour": "red"}}', "'crowded' does not take these options"),
    ):
        name = "crowded" if "crowded" in wrong else "twin"
        failed = command("executor", name, "--doctor", **plugins, QRS_EXECUTOR_OPTIONS=wrong)
        assert failed.returncode == 1
        assert message in failed.stderr


def test_the_doctor_says_what_there_is_and_tries_it(command: Command, plugins: dict[str, str]) -> None:
    done = command("executor", "twin", "--doctor", **plugins)
    assert done.returncode == 0, done.stderr
    for words in ("device     NumPy", "memory     0.1 GiB", "qubits     23, single", "self-test  passed"):
        assert words in done.stdout


@pytest.mark.parametrize("arguments", [("serve", "--port=0"), ("executor", "custatevec", "--port=0", "--doctor")])
def test_without_a_gpu_one_line_says_so(command: Command, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    if os.environ.get("REQUIRE_GPU"):
        pytest.skip("there is a GPU here")
    options = {"QRS_EXECUTORS": "custatevec=1", "QRS_DATA_DIR": str(tmp_path)}
    failed = command(*arguments, **options)
    assert failed.returncode == 1
    assert failed.stderr.count("\n") == 1
    assert failed.stderr.startswith("error: Executor 'custatevec' did not start: The executor custatevec needs")


@pytest.mark.gpu
def test_a_gpu_serves_beside_aer(command: Command, tmp_path: Path) -> None:
    try:
        DeviceStates(Options()).device()
    except StartupError as error:
        if os.environ.get("REQUIRE_GPU"):
            raise
        pytest.skip(f"needs a GPU: {error}")
    done = command("executor", "custatevec", "--doctor")
    assert "self-test  passed" in done.stdout
    with running_server(tmp_path, "--executors=aer=1", "--executors=custatevec=1") as server:
        bell = QuantumCircuit(2)
        bell.h(0)
        bell.cx(0, 1)
        bell.measure_all()
        sampler = SamplerV2(mode=connect(server.url, "a token").backend("fake_quantum_sim@custatevec"))
        counts = sampler.run([bell], shots=1000).result()[0].data.meas.get_counts()
        assert counts.keys() == {"00", "11"}
