"""What runs on qsim and what on Aer, what that is called, and what is refused before anything is evolved."""

import pickle
import platform
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import UnitaryGate
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import random_unitary
from qiskit_aer.noise import NoiseModel, amplitude_damping_error, depolarizing_error

from kit.quantum.qsim_alone import QsimAlone, needs_qsim
from qiskit_runtime_server.errors import CircuitTooLargeError, OutOfMemoryError, StartupError
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.executors.aer.clifford import clifford_rows
from qiskit_runtime_server.executors.base import SampleTask
from qiskit_runtime_server.executors.qsim import library as libraries
from qiskit_runtime_server.executors.qsim.executor import QsimExecutor
from qiskit_runtime_server.executors.qsim.library import Operation, library
from qiskit_runtime_server.executors.ready import ready
from qiskit_runtime_server.testing import sample_task

IDEAL = "fake_quantum_sim"


def entangled(num_qubits: int, layers: int = 8, measured: int | None = None) -> QuantumCircuit:
    """Return a circuit of a wide state's gates, that is no Clifford circuit and no state of small bonds."""
    circuit = QuantumCircuit(num_qubits, num_qubits if measured is None else measured)
    for layer in range(layers):
        for qubit in range(num_qubits):
            circuit.rx(0.3 + 0.1 * qubit + 0.7 * layer, qubit)
        for qubit in range(num_qubits):
            circuit.cp(0.4 + 0.1 * layer, qubit, (qubit + 1 + layer % min(4, num_qubits - 1)) % num_qubits)
    circuit.measure(range(circuit.num_clbits), range(circuit.num_clbits))
    return circuit


def decided() -> QuantumCircuit:
    circuit = entangled(13)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.x(1)
    circuit.measure(1, 1)
    return circuit


def reset_on_the_way() -> QuantumCircuit:
    circuit = entangled(13)
    circuit.reset(0)
    circuit.measure(0, 0)
    return circuit


def with_a_large_gate() -> QuantumCircuit:
    circuit = entangled(13)
    circuit.remove_final_measurements(inplace=True)
    circuit.append(UnitaryGate(random_unitary(2**7, seed=1)), range(7))
    circuit.measure_all()
    return circuit


def ghz(num_qubits: int) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits, num_qubits)
    circuit.h(0)
    for qubit in range(num_qubits - 1):
        circuit.cx(qubit, qubit + 1)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


def errors() -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.002, 2), "cp")
    model.add_all_qubit_quantum_error(amplitude_damping_error(0.002), "rx")
    return model


def executor(**options: Any) -> QsimExecutor:
    return QsimExecutor(**options).fitted(memory_bytes=2**28, threads=1)


@needs_qsim
@pytest.mark.parametrize(
    ("make", "noise", "options", "simulator"),
    [
        (lambda: entangled(13), None, {}, "qsim"),
        (lambda: entangled(13), errors(), {}, "qsim"),
        (lambda: entangled(14, measured=3), None, {}, "qsim"),
        (reset_on_the_way, None, {}, "qsim"),
        (lambda: entangled(5), None, {}, "aer"),
        (decided, None, {}, "aer"),
        (with_a_large_gate, None, {}, "aer"),
        (lambda: entangled(13), None, {"precision": "double"}, "aer"),
        (lambda: entangled(13, layers=700), None, {}, "aer"),
    ],
    ids=["ideal", "noisy", "few bits", "reset", "small", "decision", "large gate", "double", "long"],
)
def test_what_qsim_cannot_do_or_is_no_faster_at_goes_to_aer(
    make: Callable[[], QuantumCircuit], noise: NoiseModel | None, options: dict[str, Any], simulator: str
) -> None:
    offer = executor(**options).offer(sample_task(make(), shots=100, noise=noise))
    assert offer.simulator == simulator


@needs_qsim
def test_results_say_which_simulator_it_was() -> None:
    pubs = [SamplerPub.coerce((circuit, None, 10)) for circuit in (entangled(13), decided())]
    result = executor().execute_sampler(pubs, {"simulator": {"seed_simulator": 1}}, IDEAL)
    ways = [pub.metadata["simulation"] for pub in result]
    assert [[way["simulator"] for way in of_pub] for of_pub in ways] == [["qsim"], ["aer"]]
    assert {way["method"] for of_pub in ways for way in of_pub} == {"statevector"}


@needs_qsim
def test_clifford_rows_go_their_own_way_and_no_row_minds_the_others() -> None:
    circuit, angle = QuantumCircuit(22, 22), Parameter("angle")
    circuit.h(range(22))
    for qubit in range(21):
        circuit.cx(qubit, qubit + 1)
    circuit.rz(angle, range(22))
    circuit.h(range(22))
    circuit.measure(range(22), range(22))
    task = sample_task(circuit, [[0.0], [0.4], [np.pi / 2]], shots=20)
    alone = [task.of_rows(np.array([row])) for row in range(3)]
    assert [executor().offer(row).simulator for row in alone] == ["aer", "qsim", "aer"]
    together = executor().sample(task)
    for row, part in enumerate(alone):
        assert (executor().sample(part)[0] == together[row]).all()


@needs_qsim
@pytest.mark.parametrize("noise", [None, errors()], ids=["ideal", "noisy"])
def test_how_a_circuit_runs_is_worked_out_once(noise: NoiseModel | None) -> None:
    asked = patch.object(AerExecutor, "offer", autospec=True, side_effect=AerExecutor.offer)
    looked_at = patch(f"{AerExecutor.__module__}.clifford_rows", side_effect=clifford_rows)
    with asked as offers, looked_at as looks:
        tried = executor()
        task = sample_task(entangled(13), [[], [], []], shots=4, noise=noise)
        tried.offer(task)
        for rows in ([0], [1, 2]):
            tried.sample(task.of_rows(np.array(rows)))
        assert (offers.call_count, looks.call_count) == (1, 1)
        tried.offer(replace(task, shots=10**6))
        assert offers.call_count == 2, "more shots may run in another way"
        tried.offer(sample_task(entangled(14), shots=4, noise=noise))
        assert (offers.call_count, looks.call_count) == (3, 2)


@needs_qsim
def test_it_travels_with_its_options() -> None:
    copy = pickle.loads(pickle.dumps(QsimExecutor(precision="double", threads=3)))  # noqa: S301 - our own
    assert copy.fitted(memory_bytes=2**28, threads=1).capabilities().precision == "double"


@needs_qsim
def test_one_qubit_more_than_with_double_precision_fits() -> None:
    single, double = (executor(precision=name).capabilities() for name in ("single", "double"))
    assert (single.precision, double.precision) == ("single", "double")
    assert single.num_qubits == double.num_qubits + 1 == 24


@needs_qsim
def test_a_state_too_large_is_refused_before_it_is_evolved(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(libraries.Library, "evolved", None)
    with pytest.raises(CircuitTooLargeError, match=r"25 qubits .* state needs 256 MiB, .* 230 MiB, enough for 24"):
        executor().offer(sample_task(entangled(25), shots=10))
    with pytest.raises(CircuitTooLargeError, match=r"25 qubits .* need 768 MiB, .* 230 MiB, enough for 23"):
        executor().sample(sample_task(entangled(25), shots=10, noise=errors()))


@needs_qsim
def test_a_shortage_of_memory_is_an_error_and_not_the_end_of_the_process() -> None:
    flip = Operation.of(np.array([[0, 1], [1, 0]], dtype=np.complex128), [0])
    with pytest.raises(OutOfMemoryError, match="another state of 50 qubits"):
        library().evolved(None, [flip], 50, threads=1, max_fused_gate_size=2)


@needs_qsim
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "half"}, "precision is 'half'; it takes one of single, double"),
        ({"max_fused_gate_size": 7}, "max_fused_gate_size is 7; it takes an integer from 1 to 6"),
        ({"threads": 0}, "threads is 0; it takes an integer from 1 to 1024"),
        ({"threads": True}, "threads is True"),
        ({"maxFusedGateSize": 3}, "no option 'maxFusedGateSize'; there are: max_fused_gate_size, precision, threads"),
    ],
)
def test_an_option_that_is_wrong_is_refused_by_name(options: Mapping[str, Any], message: str) -> None:
    with pytest.raises(StartupError, match=message):
        ready("qsim", options, memory_bytes=2**28, threads=1, snapshots=None)


@needs_qsim
def test_its_own_threads_go_before_those_of_the_slot() -> None:
    made = QsimExecutor(threads=3).fitted(memory_bytes=2**28, threads=1)
    made.use_cores(2)
    assert made._threads == 3


@pytest.fixture
def unloaded() -> Iterator[None]:
    library.cache_clear()
    yield
    library.cache_clear()


@pytest.mark.usefixtures("unloaded")
def test_on_another_processor_it_says_why_it_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    with pytest.raises(StartupError, match="published for x86_64 only; this processor is aarch64: the executor aer"):
        QsimExecutor()


@pytest.mark.usefixtures("unloaded")
def test_without_its_package_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    monkeypatch.setattr(libraries, "find_spec", lambda _name: None)
    with pytest.raises(StartupError, match=r"pip install \"qiskit-runtime-server\[qsim\]\""):
        QsimExecutor()


@pytest.mark.usefixtures("unloaded")
def test_a_package_without_its_modules_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    spec = ModuleSpec("qsimcirq", None, is_package=True)
    spec.submodule_search_locations = [str(tmp_path)]
    monkeypatch.setattr(libraries, "find_spec", lambda _name: spec)
    monkeypatch.delitem(sys.modules, "qsimcirq.qsim_decide", raising=False)
    with pytest.raises(StartupError, match="cannot be used: there is no qsim_decide for this Python"):
        QsimExecutor()


@needs_qsim
def test_qsim_alone_runs_small_circuits_on_qsim() -> None:
    """What the random circuits rely on."""
    task: SampleTask = sample_task(entangled(2), shots=10, noise=errors())
    assert QsimAlone(memory_bytes=2**28, threads=1).offer(task).simulator == "qsim"


@needs_qsim
def test_trajectories_are_counted_while_they_are_run() -> None:
    shares: list[float] = []
    task = replace(sample_task(reset_on_the_way(), shots=20, noise=errors()), advance=shares.append)
    executor().sample(task)
    assert shares == pytest.approx(np.arange(1, 21) / 20)
