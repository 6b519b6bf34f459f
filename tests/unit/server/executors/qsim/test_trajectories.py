"""Shots of qsim: their distribution, and that nothing but a row's seed moves its bits."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_aer.noise import (
    NoiseModel,
    ReadoutError,
    amplitude_damping_error,
    coherent_unitary_error,
    depolarizing_error,
    reset_error,
    thermal_relaxation_error,
)

from kit.quantum.exact_noise import Errors
from kit.quantum.exact_reference import distribution
from kit.quantum.goodness_of_fit import impossible, p_value
from kit.quantum.qsim_alone import QsimAlone, needs_qsim
from qiskit_runtime_server.executors.base import BitTensor
from qiskit_runtime_server.executors.qsim import executor as modules
from qiskit_runtime_server.executors.qsim import trajectories
from qiskit_runtime_server.executors.qsim.amplitudes import Amplitudes
from qiskit_runtime_server.executors.qsim.library import Library, Operation, library
from qiskit_runtime_server.testing import sample_task

pytestmark = needs_qsim

SHOTS = 2000
FALSE_ALARM = 1e-6


def executor(**options: Any) -> QsimAlone:
    return QsimAlone(memory_bytes=2**28, **{"threads": 1, **options})


def model(**errors: Any) -> NoiseModel:
    made = NoiseModel()
    for name, error in errors.items():
        made.add_all_qubit_quantum_error(error, name)
    return made


def misread(made: NoiseModel) -> NoiseModel:
    made.add_all_qubit_readout_error(ReadoutError([[0.97, 0.03], [0.06, 0.94]]))
    return made


def layers(num_qubits: int, depth: int, *, on_the_way: bool = False) -> QuantumCircuit:
    circuit = QuantumCircuit(num_qubits, num_qubits + 2 * on_the_way)
    for layer in range(depth):
        for qubit in range(num_qubits):
            circuit.ry(0.4 + 0.3 * qubit + 0.5 * layer, qubit)
        for qubit in range(layer % 2, num_qubits - 1, 2):
            circuit.cx(qubit, qubit + 1)
        if on_the_way and layer == depth // 2:
            circuit.measure(0, num_qubits)
            circuit.reset(1)
            circuit.measure(0, num_qubits + 1)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


NOISE: Mapping[str, NoiseModel] = {
    "rare": model(cx=depolarizing_error(0.01, 2)),
    "frequent": model(ry=depolarizing_error(0.5, 1), cx=depolarizing_error(0.4, 2)),
    "damping": model(ry=amplitude_damping_error(0.2)),
    "damping to both": model(ry=amplitude_damping_error(0.3, 0.4)),
    "damping to nothing": model(ry=amplitude_damping_error(1.0)),
    "relaxation": model(cx=thermal_relaxation_error(50, 30, 4).tensor(thermal_relaxation_error(40, 70, 4))),
    "reset": model(ry=reset_error(0.05, 0.02)),
    "rotation": model(ry=coherent_unitary_error(np.diag([1, np.exp(0.5j)]))),
    "misread": misread(model(ry=amplitude_damping_error(0.1))),
    "before a measurement": model(measure=amplitude_damping_error(0.2)),
}


@pytest.mark.parametrize("on_the_way", [False, True], ids=["measured last", "measured on the way"])
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name == "damping to nothing" else name for name in NOISE]
)
def test_noisy_shots_have_the_exact_distribution(name: str, *, on_the_way: bool) -> None:
    circuit = layers(3, 5, on_the_way=on_the_way)
    bits = executor().sample(sample_task(circuit, shots=SHOTS, noise=NOISE[name], seeds=[11]))
    assert_exact(circuit, NOISE[name], bits[0])


@pytest.mark.parametrize("on_the_way", [False, True])
def test_ideal_shots_have_the_exact_distribution(*, on_the_way: bool) -> None:
    circuit = layers(4, 6, on_the_way=on_the_way)
    bits = executor().sample(sample_task(circuit, shots=SHOTS, seeds=[12]))
    assert_exact(circuit, None, bits[0])


def test_a_norm_that_only_shrinks_is_brought_back() -> None:
    """Each of 120 operators leaves 1 - 0.6 of the norm squared at least: 1e-48, which no amplitude can hold."""
    noise = model(ry=amplitude_damping_error(0.6))
    circuit = layers(2, 60)
    bits = executor().sample(sample_task(circuit, shots=200, noise=noise, seeds=[13]))
    assert_exact(circuit, noise, bits[0])


def assert_exact(circuit: QuantumCircuit, noise: NoiseModel | None, bits: BitTensor) -> None:
    numbers = bits @ (1 << np.arange(circuit.num_clbits))
    seen = dict(zip(*(part.tolist() for part in np.unique(numbers, return_counts=True)), strict=True))
    exact = distribution(circuit, Errors.of_model(noise) if noise is not None else Errors())
    assert not impossible(seen, exact)
    value = p_value(seen, exact)
    assert value is None or value > FALSE_ALARM


@pytest.mark.parametrize("on_the_way", [False, True])
def test_neither_threads_nor_other_rows_move_the_bits_of_a_seed(*, on_the_way: bool) -> None:
    angle = Parameter("angle")
    circuit = QuantumCircuit(17, 18)
    circuit.ry(angle, range(17))
    circuit.compose(layers(17, 3, on_the_way=False).remove_final_measurements(inplace=False), inplace=True)
    if on_the_way:
        circuit.measure(3, 17)
        circuit.reset(4)
        circuit.ry(0.3, range(17))
    circuit.measure(range(17), range(17))
    noise = misread(model(cx=depolarizing_error(0.05, 2), ry=amplitude_damping_error(0.02)))
    task = sample_task(circuit, [[0.2], [0.9], [0.2]], shots=5, noise=noise, seeds=[5, 6, 7])
    together = executor(threads=1).sample(task)
    for threads in (2, 3):
        assert (executor(threads=threads).sample(task) == together).all()
    for row in range(3):
        assert (executor().sample(task.of_rows(np.array([row])))[0] == together[row]).all()
    assert (together[0] != together[2]).any(), "rows with equal values have seeds of their own"


class Counting(Library):
    """Counts operations."""

    calls: ClassVar[list[int]] = []

    def evolved(
        self,
        state: Amplitudes | None,
        operations: Sequence[Operation],
        num_qubits: int,
        *,
        threads: int,
        max_fused_gate_size: int,
    ) -> Amplitudes:
        self.calls.append(len(operations))
        return super().evolved(state, operations, num_qubits, threads=threads, max_fused_gate_size=max_fused_gate_size)


@pytest.fixture
def evolutions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Return how many operations each call into qsim has had."""
    Counting.calls.clear()
    monkeypatch.setattr(modules, "library", lambda: Counting(library()._module))
    return Counting.calls


def test_a_state_without_errors_is_evolved_once(evolutions: list[int]) -> None:
    executor().sample(sample_task(layers(4, 5), shots=1000))
    assert len(evolutions) == 1


def test_shots_share_what_they_have_in_common(evolutions: list[int]) -> None:
    circuit = layers(4, 10)
    gates = sum(name != "measure" for name in (part.name for part in circuit.data))
    executor().sample(sample_task(circuit, shots=1000, noise=model(cx=depolarizing_error(0.01, 2))))
    # 15 sites, of which each has an error in 1 of 107 shots.
    assert sum(evolutions) < 0.1 * 1000 * gates


def test_how_many_rows_are_made_at_a_time_does_not_move_the_bits_of_a_seed(monkeypatch: pytest.MonkeyPatch) -> None:
    angles = [Parameter(name) for name in "abc"]
    circuit = QuantumCircuit(4)
    for angle in angles:
        circuit.rzz(angle, 2, 0)
        circuit.ry(angle, range(4))
        circuit.cx(1, 2)
        circuit.cx(3, 0)
    circuit.measure_all()
    values = np.random.default_rng(5).uniform(0, 6, (9, 3)).tolist()
    task = sample_task(circuit, values, shots=50, noise=NOISE["rare"], seeds=range(9))
    together = executor().sample(task)
    monkeypatch.setattr(trajectories, "_MOST_NUMBERS", 1)
    assert (executor().sample(task) == together).all()
