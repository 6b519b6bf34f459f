"""What plug-ins are tested by: our executors pass it, and an executor that is wrong in one way does not."""

import inspect
from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit

from kit.quantum.custatevec_twin import Twin
from kit.quantum.plain_executor import PlainExecutor
from kit.quantum.qsim_alone import QsimAlone, needs_qsim
from qiskit_runtime_server.errors import CircuitTooLargeError
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.executors.base import BaseExecutor, BitTensor, SampleTask
from qiskit_runtime_server.executors.qsim.executor import QsimExecutor
from qiskit_runtime_server.testing import ExecutorConformance

T = TypeVar("T")
Change = Callable[[T], T]


class TestAer(ExecutorConformance):
    @pytest.fixture
    def executor(self) -> BaseExecutor:
        return AerExecutor().fitted(memory_bytes=2**28, threads=1)


@needs_qsim
class TestQsim(ExecutorConformance):
    @pytest.fixture
    def executor(self) -> BaseExecutor:
        return QsimExecutor().fitted(memory_bytes=2**28, threads=1)


@needs_qsim
class TestQsimAlone(ExecutorConformance):
    @pytest.fixture
    def executor(self) -> BaseExecutor:
        return QsimAlone().fitted(memory_bytes=2**28, threads=2)


class TestCuStateVecOnNumPy(ExecutorConformance):
    @pytest.fixture
    def executor(self) -> BaseExecutor:
        return Twin()


class Wrong(PlainExecutor):
    """Changes what it is given, or what it returns."""

    def __init__(self, given: Change[SampleTask] | None = None, returned: Change[BitTensor] | None = None) -> None:
        super().__init__()
        self._given, self._returned = given, returned

    def sample(self, task: SampleTask) -> BitTensor:
        if task.circuit.num_qubits > self.capabilities().num_qubits:
            raise CircuitTooLargeError
        bits = super().sample(self._given(task) if self._given else task)
        return self._returned(bits) if self._returned else bits


def without(name: str) -> Change[SampleTask]:
    def changed(task: SampleTask) -> SampleTask:
        circuit: QuantumCircuit = task.circuit.copy_empty_like()
        for instruction in task.circuit.data:
            if instruction.operation.name != name:
                circuit.append(instruction)
        return replace(task, circuit=circuit)

    return changed


def coins(bits: BitTensor) -> BitTensor:
    return np.random.default_rng(1).random(bits.shape) < 0.5


def unseeded(task: SampleTask) -> SampleTask:
    return replace(task, seeds=np.random.default_rng().integers(2**31, size=len(task.seeds), dtype=np.uint64))


def reversed_columns(task: SampleTask) -> SampleTask:
    return replace(task, parameter_values=task.parameter_values[:, ::-1])


WRONG = [
    ("test_bits_are_little_endian", Wrong(returned=lambda bits: bits[:, :, ::-1])),
    ("test_counts_are_those_of_the_state", Wrong(returned=coins)),
    ("test_bits_are_little_endian", Wrong(returned=np.zeros_like)),
    ("test_bits_have_the_shape_and_type_that_is_asked_for", Wrong(returned=lambda bits: bits.astype(np.uint8))),
    ("test_bits_have_the_shape_and_type_that_is_asked_for", Wrong(returned=lambda bits: bits[:, 1:])),
    ("test_errors_happen_as_often_as_the_noise_says", Wrong(lambda task: replace(task, noise=None))),
    ("test_columns_belong_to_the_circuits_parameters", Wrong(reversed_columns)),
    ("test_seeds_fix_the_bits_of_their_rows", Wrong(unseeded)),
    ("test_it_measures_and_resets_on_the_way", Wrong(without("reset"))),
    ("test_it_decides_by_what_it_measured", Wrong(without("if_else"))),
    ("test_it_travels_to_its_worker_process", Wrong(lambda task: task)),
]


@pytest.mark.parametrize(("test", "executor"), WRONG)
def test_what_is_wrong_with_an_executor_is_found(test: str, executor: BaseExecutor) -> None:
    assert test in failed(executor)


def test_what_is_right_passes() -> None:
    assert not failed(Wrong())


def test_a_class_without_an_executor_says_so() -> None:
    with pytest.raises(NotImplementedError, match="no fixture `executor`"):
        inspect.unwrap(ExecutorConformance.executor)(ExecutorConformance())


def failed(executor: BaseExecutor) -> set[str]:
    """Return the tests that this executor fails."""
    suite = ExecutorConformance()
    found = set()
    for name, test in inspect.getmembers(suite, inspect.ismethod):
        if not name.startswith("test_"):
            continue
        arguments = {"shots": 100} if "shots" in inspect.signature(test).parameters else {}
        try:
            test(executor, **arguments)
        except pytest.skip.Exception:
            continue
        except Exception:  # noqa: BLE001 - whatever it is, pytest would call it a failure
            found.add(name)
        except pytest.fail.Exception:
            found.add(name)
    return found
