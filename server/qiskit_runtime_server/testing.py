"""Tests that every executor passes, for those who write one.

    from qiskit_runtime_server.testing import ExecutorConformance

    class TestMyExecutor(ExecutorConformance):
        @pytest.fixture
        def executor(self):
            return MyExecutor()

pytest then runs the methods below. Each says what it demands; `SampleTask` and `BaseExecutor.sample` are the contract.
They are for executors that implement `sample`; one that overrides `execute_sampler` and `execute_estimator` instead
takes what it needs of `TestMyExecutor.test_a_sampler_job` and `test_an_estimator_job`.

Statistical tests have fixed seeds and fail a right executor with a probability of one in a million each.
"""

import pickle
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit.circuit import ClassicalRegister, Clbit, Parameter, QuantumCircuit, QuantumRegister
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparsePauliOp
from qiskit_aer.noise import NoiseModel, ReadoutError, pauli_error
from scipy.stats import chisquare

from qiskit_runtime_server.backends.ideal import IDEAL_NAMES
from qiskit_runtime_server.errors import CircuitTooLargeError
from qiskit_runtime_server.executors.base import BaseExecutor, BitTensor, ExpectationTask, SampleTask, replaces

__all__ = ["ExecutorConformance", "assert_distributed", "sample_task"]

SHOTS: Final = 4096
_LEAST_P_VALUE: Final = 1e-6


def sample_task(
    circuit: QuantumCircuit,
    values: Sequence[Sequence[float]] = ((),),
    *,
    shots: int = SHOTS,
    noise: NoiseModel | None = None,
    seeds: Sequence[int] | None = None,
) -> SampleTask:
    """Return a task with a row for each entry of `values`, whose columns are as in ``circuit.parameters``."""
    return SampleTask(
        circuit=circuit,
        parameter_values=np.array(values, dtype=np.float64).reshape(len(values), circuit.num_parameters),
        shots=shots,
        noise=noise,
        seeds=np.array(range(7, 7 + len(values)) if seeds is None else seeds, dtype=np.uint64),
    )


def assert_distributed(bits: BitTensor, probabilities: Mapping[str, float], row: int = 0) -> None:
    """Assert that a row's shots follow a distribution over bit strings as Qiskit writes them, the last bit leftmost."""
    words = ["".join("1" if bit else "0" for bit in shot[::-1]) for shot in bits[row]]
    counts = {word: words.count(word) for word in set(words)}
    assert counts.keys() <= probabilities.keys(), f"{counts} has outcomes that have no probability: {probabilities}"
    if len(probabilities) > 1:
        seen = [counts.get(word, 0) for word in probabilities]
        p_value = chisquare(seen, [len(words) * chance for chance in probabilities.values()]).pvalue
        assert p_value > _LEAST_P_VALUE, f"{counts} does not follow {probabilities}: p = {p_value:.1e}"


def _entangled(num_qubits: int) -> QuantumCircuit:
    """Return a circuit that no cheaper method than a state vector can run."""
    circuit = QuantumCircuit(num_qubits, num_qubits)
    for layer in range(num_qubits - 1):
        for qubit in range(num_qubits):
            circuit.ry(0.3 + 0.1 * qubit + 0.7 * layer, qubit)
        for qubit in range(num_qubits):
            circuit.rzz(0.4 + 0.1 * layer, qubit, (qubit + 1 + layer) % num_qubits)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


class ExecutorConformance:
    """Inherit from it, and give a fixture `executor`."""

    @pytest.fixture
    def executor(self) -> BaseExecutor:
        """Return the executor to be tested."""
        raise NotImplementedError(f"{type(self).__name__} has no fixture `executor`.")

    def test_it_travels_to_its_worker_process(self, executor: BaseExecutor) -> None:
        """An executor is pickled, and fitted to a slot."""
        copy = pickle.loads(pickle.dumps(executor)).fitted(memory_bytes=2**30, threads=1)  # noqa: S301 - our own
        assert copy.sample(sample_task(_bell(), shots=3)).shape == (1, 3, 2)

    def test_it_says_what_fits(self, executor: BaseExecutor) -> None:
        """`capabilities` names how many qubits fit, and says the same each time."""
        found = executor.capabilities()
        assert found.num_qubits >= 2
        assert executor.capabilities() == found

    @pytest.mark.parametrize("shots", [1, 100])
    def test_bits_have_the_shape_and_type_that_is_asked_for(self, executor: BaseExecutor, shots: int) -> None:
        """``(rows, shots, clbits)``, bool; a circuit without parameters has rows of length 0."""
        theta = Parameter("theta")
        circuit = QuantumCircuit(2, 3)
        circuit.rx(theta, 0)
        circuit.cx(0, 1)
        circuit.measure([0, 1], [0, 2])
        bits = executor.sample(sample_task(circuit, [[0.1], [0.2], [0.3]], shots=shots))
        assert (bits.shape, bits.dtype) == ((3, shots, 3), np.dtype(bool))
        assert not bits[:, :, 1].any(), "a bit that is never written is False"
        assert executor.sample(sample_task(_bell(), [[], []], shots=shots)).shape == (2, shots, 2)

    def test_bits_are_little_endian(self, executor: BaseExecutor) -> None:
        """The last axis is in the order of the circuit's classical bits, whichever qubits are measured into them."""
        circuit = QuantumCircuit(3, 3)
        circuit.x(1)
        circuit.cx(1, 2)
        circuit.measure([0, 1, 2], [2, 0, 1])
        assert_distributed(executor.sample(sample_task(circuit)), {"011": 1.0})

    def test_bits_may_be_in_no_register_or_in_several(self, executor: BaseExecutor) -> None:
        """Registers are names for bits; the last axis has all bits of the circuit, once each."""
        bits = [Clbit() for _ in range(3)]
        circuit = QuantumCircuit(QuantumRegister(2), bits)
        circuit.add_register(
            ClassicalRegister(bits=bits[1:], name="some"), ClassicalRegister(bits=bits[1:2], name="one")
        )
        circuit.x(0)
        circuit.cx(0, 1)
        circuit.reset(1)
        circuit.measure([0, 1, 0], bits)
        assert_distributed(executor.sample(sample_task(circuit)), {"101": 1.0})

    def test_columns_belong_to_the_circuits_parameters(self, executor: BaseExecutor) -> None:
        """Columns are in the order of ``circuit.parameters``, which is not that of the gates."""
        later, earlier = Parameter("a"), Parameter("b")
        circuit = QuantumCircuit(2, 2)
        circuit.rx(earlier, 0)
        circuit.rx(later, 1)
        circuit.cz(0, 1)
        circuit.measure([0, 1], [0, 1])
        bits = executor.sample(sample_task(circuit, [[np.pi, 0], [0, np.pi], [np.pi, np.pi]]))
        for row, word in enumerate(("10", "01", "11")):
            assert_distributed(bits, {word: 1.0}, row)

    def test_counts_are_those_of_the_state(self, executor: BaseExecutor) -> None:
        """Without noise, shots follow the Born rule."""
        assert_distributed(executor.sample(sample_task(_bell())), {"00": 0.5, "11": 0.5})
        circuit = QuantumCircuit(2, 2)
        circuit.ry(2 * np.arcsin(np.sqrt(0.2)), 0)
        circuit.cx(0, 1)
        circuit.measure([0, 1], [0, 1])
        assert_distributed(executor.sample(sample_task(circuit)), {"00": 0.8, "11": 0.2})

    def test_seeds_fix_the_bits_of_their_rows(self, executor: BaseExecutor) -> None:
        """A row's bits depend on its seed only, and not on the rows beside it."""
        seeds = [3, 2**63, 5]
        bits = executor.sample(sample_task(_bell(), [[]] * 3, shots=200, seeds=seeds))
        again = executor.sample(sample_task(_bell(), [[]] * 3, shots=200, seeds=seeds[::-1]))
        assert (again == bits[::-1]).all()
        assert (executor.sample(sample_task(_bell(), shots=200, seeds=seeds[1:2])) == bits[1:2]).all()
        assert (bits[0] != bits[1]).any()

    def test_errors_happen_as_often_as_the_noise_says(self, executor: BaseExecutor) -> None:
        """The model's errors of gates and of readout are applied, each to its own qubits."""
        noise = NoiseModel()
        noise.add_quantum_error(pauli_error([("X", 0.25), ("I", 0.75)]), "x", [0])
        noise.add_readout_error(ReadoutError([[0.9, 0.1], [0.3, 0.7]]), [1])
        circuit = QuantumCircuit(2, 2)
        circuit.x(0)
        circuit.cx(0, 1)
        circuit.measure([0, 1], [0, 1])
        wanted = {"11": 0.75 * 0.7, "01": 0.75 * 0.3, "00": 0.25 * 0.9, "10": 0.25 * 0.1}
        assert_distributed(executor.sample(sample_task(circuit, noise=noise)), wanted)

    def test_it_measures_and_resets_on_the_way(self, executor: BaseExecutor) -> None:
        """A measured state has collapsed; a reset qubit is in 0."""
        circuit = QuantumCircuit(2, 3)
        circuit.h(0)
        circuit.cx(0, 1)
        circuit.measure(0, 0)
        circuit.reset(0)
        circuit.measure([0, 1], [1, 2])
        assert_distributed(executor.sample(sample_task(circuit)), {"000": 0.5, "101": 0.5})

    def test_it_decides_by_what_it_measured(self, executor: BaseExecutor) -> None:
        """Control flow follows each shot's own bits."""
        circuit = QuantumCircuit(2, 2)
        circuit.h(0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)) as otherwise:
            circuit.x(1)
        with otherwise:
            circuit.h(1)
        circuit.measure(1, 1)
        assert_distributed(executor.sample(sample_task(circuit)), {"11": 0.5, "00": 0.25, "10": 0.25})

    def test_what_does_not_fit_is_refused(self, executor: BaseExecutor) -> None:
        """A circuit beyond `capabilities` raises CircuitTooLargeError, before its memory is taken."""
        too_many = executor.capabilities().num_qubits + 8
        with pytest.raises(CircuitTooLargeError):
            executor.sample(sample_task(_entangled(too_many), shots=1))

    def test_exact_values_are_exact(self, executor: BaseExecutor) -> None:
        """`expectation_values`, where there is such a method, gives values of shape ``(rows, observables)``."""
        if not replaces(executor, "expectation_values"):
            pytest.skip(f"{type(executor).__name__} gives no exact expectation values, which no program needs")
        theta = Parameter("theta")
        circuit = QuantumCircuit(2)
        circuit.rx(theta, 0)
        circuit.cx(0, 1)
        angles: NDArray[np.float64] = np.array([[0.3], [1.2]])
        observables = [SparsePauliOp(["ZI"]), SparsePauliOp(["ZZ", "IY"], [0.5, 2.0])]
        task = ExpectationTask(circuit=circuit, parameter_values=angles, observables=observables)
        wanted = np.column_stack([np.cos(angles), np.full(2, 0.5)])
        np.testing.assert_allclose(executor.expectation_values(task), wanted, atol=1e-5)

    def test_a_sampler_job(self, executor: BaseExecutor) -> None:
        """The program `sampler` gives counts of each register."""
        pub = SamplerPub.coerce((_bell("meas"), None, 200))
        result = executor.execute_sampler([pub], {"simulator": {"seed_simulator": 5}}, IDEAL_NAMES[0])
        assert result[0].data.meas.get_counts().keys() <= {"00", "11"}
        assert result[0].data.meas.num_shots == 200

    def test_an_estimator_job(self, executor: BaseExecutor) -> None:
        """The program `estimator` gives values and their standard errors."""
        circuit = _bell().remove_final_measurements(inplace=False)
        pub = EstimatorPub.coerce((circuit, [["ZZ", "ZI"]], None, 0.05))
        data = executor.execute_estimator([pub], {"simulator": {"seed_simulator": 5}}, IDEAL_NAMES[0])[0].data
        np.testing.assert_allclose(data.evs, [[1.0, 0.0]], atol=0.3)


def _bell(register: str = "c") -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(2), ClassicalRegister(2, register))
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return circuit
