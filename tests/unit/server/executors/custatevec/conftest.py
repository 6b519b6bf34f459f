"""States to simulate on: NumPy's everywhere, a GPU's where there is one."""

import os
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit_aer.noise import NoiseModel

from kit.quantum.custatevec_emulated import library
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.executors.base import SampleTask
from qiskit_runtime_server.executors.custatevec.device_states import DeviceStates
from qiskit_runtime_server.executors.custatevec.executor import CuStateVecExecutor
from qiskit_runtime_server.executors.custatevec.options import Options
from qiskit_runtime_server.simulation.statevector.numpy_states import NumPyStates
from qiskit_runtime_server.simulation.statevector.state_port import States

StatesOf = Callable[[str], States]
Executor = Callable[..., CuStateVecExecutor]

MEMORY = 2**28


def gpu_states(precision: str) -> States:
    """Return those of a GPU; skip the test where there is none, or fail it if `make gpu-test` runs it."""
    states = DeviceStates(Options(precision=precision))
    try:
        states.device()
    except StartupError as error:
        if os.environ.get("REQUIRE_GPU"):
            raise
        pytest.skip(f"needs a GPU: {error}")
    return states


def numpy_states(precision: str) -> States:
    return NumPyStates(memory_bytes=MEMORY, single=precision == "single")


def emulated_states(precision: str) -> States:
    """Return those of the code for GPUs on an emulated library."""
    return DeviceStates(Options(precision=precision), library(single=precision == "single"))


GPU = pytest.param(gpu_states, marks=pytest.mark.gpu, id="gpu")
NUMPY = pytest.param(numpy_states, id="numpy")
EMULATED = pytest.param(emulated_states, id="emulated")


@pytest.fixture(params=[NUMPY, EMULATED, GPU])
def states_of(request: pytest.FixtureRequest) -> StatesOf:
    """Return a function that makes states of a precision."""
    made: StatesOf = request.param
    return made


@pytest.fixture(params=[NUMPY, GPU])
def executor(request: pytest.FixtureRequest) -> Executor:
    """Return a function that makes executors with options."""

    def make(*, precision: str = "double", **options: object) -> CuStateVecExecutor:
        return CuStateVecExecutor(states=request.param(precision), precision=precision, **options)

    return make


def task_of(
    circuit: QuantumCircuit,
    *,
    values: NDArray[np.float64] | None = None,
    shots: int = 1000,
    noise: NoiseModel | None = None,
    seed: int = 1,
) -> SampleTask:
    """Return a task with a seed of its own for each row."""
    values = np.empty((1, 0)) if values is None else values
    seeds = np.random.default_rng(seed).integers(0, 2**64, size=len(values), dtype=np.uint64)
    return SampleTask(circuit=circuit, parameter_values=values, shots=shots, noise=noise, seeds=seeds)


@pytest.fixture
def task() -> Callable[..., SampleTask]:
    """Return a function that makes tasks."""
    return task_of


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """Inputs of each test's own, the same in every run."""
    return np.random.default_rng([*request.node.name.encode()])
