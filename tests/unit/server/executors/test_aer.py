"""What Aer is given, and what it is not: gates with angles, errors of every kind, Clifford gates, limits of time."""

import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from itertools import product

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Gate, Parameter
from qiskit.circuit.classical import expr
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.quantum_info import Statevector
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer.noise import (
    NoiseModel,
    QuantumError,
    ReadoutError,
    amplitude_damping_error,
    coherent_unitary_error,
    depolarizing_error,
    pauli_error,
    reset_error,
    thermal_relaxation_error,
)
from qiskit_ibm_runtime.fake_provider import FakeSherbrooke

from qiskit_runtime_server.errors import CircuitTooLargeError, InternalError, InvalidInputError
from qiskit_runtime_server.executors.aer import AerExecutor, executor, probabilities
from qiskit_runtime_server.executors.aer.clifford import clifford_rows
from qiskit_runtime_server.executors.base import BitTensor, SampleTask
from qiskit_runtime_server.simulation.noise import DeviceNoise
from qiskit_runtime_server.testing import sample_task

Shots = Callable[..., np.ndarray]
Expect = Callable[..., None]
Agree = Callable[..., None]

PARAMETRISED = sorted(
    name
    for name, gate in get_standard_gate_name_mapping().items()
    if isinstance(gate, Gate) and gate.params and gate.num_qubits
)
UNKNOWN_TO_AER = {"xx_minus_yy", "xx_plus_yy"}


@pytest.fixture
def only_aer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Aer take all shots that it can take."""
    monkeypatch.setattr(executor, "_INTERPRETED_QUBITS", 0)
    monkeypatch.setattr(executor, "_INTERPRETED_IDEAL_QUBITS", 0)


def task_of(circuit: QuantumCircuit, *, shots: int, values: np.ndarray | None = None, seed: int = 5) -> SampleTask:
    values = np.empty((1, 0)) if values is None else values
    seeds = np.arange(seed, seed + len(values), dtype=np.uint64)
    return SampleTask(circuit=circuit, parameter_values=values, shots=shots, noise=None, seeds=seeds)


def numbers(bits: np.ndarray) -> np.ndarray:
    """Return shots as numbers, clbit 0 the lowest bit."""
    found: np.ndarray = bits @ (1 << np.arange(bits.shape[-1]))
    return found


class TestAngles:
    """A gate's angle must arrive, whatever gate it is: Aer's own binding leaves those of controlled gates at 0."""

    @pytest.mark.parametrize("name", PARAMETRISED)
    @pytest.mark.parametrize("rows", [1, 3])
    def test_every_parametrised_gate_of_the_standard_library_turns_by_its_angles(
        self, expect: Expect, name: str, rows: int
    ) -> None:
        rng = np.random.default_rng([len(name), *name.encode()])
        kind = get_standard_gate_name_mapping()[name]
        angles = [Parameter(f"angle{place}") for place in range(len(kind.params))]
        bare = QuantumCircuit(kind.num_qubits)
        for part in ("before", "gate", "after"):
            if part == "gate":
                bare.append(type(kind)(*angles), range(kind.num_qubits))
            else:
                for qubit in range(kind.num_qubits):
                    bare.u(*rng.uniform(0.3, 2.8, 3), qubit)
        measured = bare.copy()
        measured.measure_all()
        values = rng.uniform(0.4, 2.9, (rows, len(angles)))
        task = task_of(measured, shots=4000, values=values)
        if name in UNKNOWN_TO_AER:
            with pytest.raises(InvalidInputError, match=name):
                AerExecutor(threads=1).sample(task)
            return
        bits = AerExecutor(threads=1).sample(task)
        for row, shots in zip(values, bits, strict=True):
            chances = Statevector(bare.assign_parameters(dict(zip(bare.parameters, row, strict=True)))).probabilities()
            expect(numbers(shots), dict(enumerate(chances.tolist())))

    def test_a_result_that_is_missing_is_an_error(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The fault that the number of results would have shown, brought back."""
        monkeypatch.setattr(probabilities, "_BOUND_BY_AER", frozenset({"cp"}))
        circuit = QuantumCircuit(2)
        circuit.cp(Parameter("angle"), 0, 1)
        circuit.measure_all()
        with pytest.raises(InternalError, match="1 results for 2"):
            AerExecutor(threads=1).sample(task_of(circuit, shots=10, values=np.array([[0.1], [0.2]])))


def damped_bell(error_of_pairs: QuantumError, error_of_one: QuantumError) -> tuple[QuantumCircuit, DeviceNoise]:
    """Return a circuit with a measurement on its way, and errors of its gates."""
    circuit = QuantumCircuit(2, 3)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure(0, 2)
    circuit.h(0)
    circuit.measure([0, 1], [0, 1])
    model = NoiseModel()
    model.add_all_qubit_quantum_error(error_of_pairs, "cx")
    model.add_all_qubit_quantum_error(error_of_one, "h")
    return circuit, DeviceNoise.from_model(model, 2)


def damped_bell_probabilities(depolarisation: float, damping: float) -> Mapping[int, float]:
    """Return what density matrices give, NumPy alone."""
    hadamard = np.kron(np.eye(2), np.array([[1, 1], [1, -1]]) / np.sqrt(2))
    cnot = np.eye(4)[[0, 3, 2, 1]]
    kraus = [np.diag([1, np.sqrt(1 - damping)]), np.array([[0, np.sqrt(damping)], [0, 0]])]

    def turned(state: np.ndarray) -> np.ndarray:
        after = hadamard @ state @ hadamard.T
        return sum((np.kron(np.eye(2), k) @ after @ np.kron(np.eye(2), k).T for k in kraus), np.zeros((4, 4)))

    def projected(state: np.ndarray, qubit: int, outcome: int) -> np.ndarray:
        keep = np.diag([float(place >> qubit & 1 == outcome) for place in range(4)])
        found: np.ndarray = keep @ state @ keep
        return found

    ground = np.zeros((4, 4))
    ground[0, 0] = 1
    entangled = cnot @ turned(ground) @ cnot.T
    entangled = (1 - depolarisation) * entangled + depolarisation * np.eye(4) / 4
    found = {}
    for first, one, other in product((0, 1), repeat=3):
        state = turned(projected(entangled, 0, first))
        found[one | other << 1 | first << 2] = float(np.trace(projected(projected(state, 0, one), 1, other)))
    return found


STRENGTHS = np.linspace(0.01, 0.12, 30).tolist()
# There Aer's own decomposition says "Kraus is empty".
WITHOUT_KRAUS = [STRENGTHS[number] for number in (7, 18, 23)]


class TestErrors:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        "strengths", [WITHOUT_KRAUS, pytest.param(STRENGTHS, marks=pytest.mark.thorough)], ids=["three", "thirty"]
    )
    def test_depolarisation_beside_damping_is_sampled_at_every_strength(
        self, shots_of: Shots, expect: Expect, only_aer: None, strengths: Sequence[float]
    ) -> None:
        for strength in strengths:
            circuit, noise = damped_bell(depolarizing_error(strength, 2), amplitude_damping_error(0.1))
            expect(shots_of(circuit, noise=noise, shots=5000), damped_bell_probabilities(strength, 0.1))

    @pytest.mark.parametrize(
        "by_aer",
        [pytest.param(False, id="interpreted"), pytest.param(True, id="by-aer", marks=pytest.mark.slow)],
    )
    @pytest.mark.parametrize(
        "error",
        [
            depolarizing_error(0.1, 1),
            pauli_error([("X", 0.1), ("Y", 0.05), ("I", 0.85)]),
            amplitude_damping_error(0.3),
            amplitude_damping_error(0.2, excited_state_population=0.3),
            thermal_relaxation_error(50e-6, 30e-6, 10e-6),
            thermal_relaxation_error(50e-6, 90e-6, 10e-6),
            coherent_unitary_error(Statevector.from_label("0").data[:, None] @ [[1, 0]] + np.diag([0, 1j])),
            depolarizing_error(0.1, 1).compose(amplitude_damping_error(0.1)),
            reset_error(0.2, 0.1),
        ],
        ids=lambda error: "-".join(sorted({part.name for circuit in error.circuits for part in circuit.data})),
    )
    def test_errors_of_every_kind_act_in_the_middle_of_a_circuit(
        self,
        shots_of: Shots,
        agree: Agree,
        monkeypatch: pytest.MonkeyPatch,
        error: QuantumError,
        by_aer: bool,  # noqa: FBT001 - a case of the test
    ) -> None:
        """Against Aer's density matrices, which take errors as they are."""
        from qiskit_aer import AerSimulator  # noqa: PLC0415 - only here

        circuit, noise = damped_bell(depolarizing_error(0.05, 2), error)
        if by_aer:
            monkeypatch.setattr(executor, "_INTERPRETED_QUBITS", 0)
        model = noise.restricted_to(range(2))
        counts = (
            AerSimulator(method="density_matrix")
            .run(circuit, noise_model=model, shots=8000, seed_simulator=7)
            .result()
            .get_counts()
        )
        reference = np.repeat([int(outcome, 2) for outcome in counts], list(counts.values()))
        agree(shots_of(circuit, noise=noise, shots=8000), reference)

    def test_a_bit_that_is_only_stored_to_is_kept_beside_errors(self, shots_of: Shots, expect: Expect) -> None:
        model = NoiseModel()
        model.add_readout_error(ReadoutError([[0.97, 0.03], [0.1, 0.9]]), [0])
        circuit = QuantumCircuit(1, 3)
        circuit.x(0)
        circuit.measure(0, 0)
        circuit.store(circuit.clbits[2], expr.lift(circuit.clbits[0]))
        circuit.x(0)
        circuit.measure(0, 1)
        exact = {0b101: 0.9 * 0.97, 0b000: 0.1 * 0.97, 0b111: 0.9 * 0.03, 0b010: 0.1 * 0.03}
        expect(shots_of(circuit, noise=DeviceNoise.from_model(model, 1)), exact)

    def test_bits_that_nothing_is_measured_into_can_be_read_by_aer_beside_errors(
        self, shots_of: Shots, expect: Expect, only_aer: None
    ) -> None:
        """Aer makes no room for them by itself; the process would end here."""
        model = NoiseModel()
        model.add_all_qubit_quantum_error(pauli_error([("X", 0.25), ("I", 0.75)]), "x")
        circuit = QuantumCircuit(QuantumRegister(2), ClassicalRegister(2, "c"), ClassicalRegister(70, "never"))
        circuit.x(0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.cregs[1], 0)):
            circuit.x(1)
        circuit.measure(1, 1)
        with circuit.if_test(expr.logic_not(circuit.clbits[71])):
            circuit.measure(0, 0)
        exact = {0b00: 1 / 16, 0b01: 3 / 16, 0b10: 3 / 16, 0b11: 9 / 16}
        shots = shots_of(circuit, noise=DeviceNoise.from_model(model, 2))
        expect(shots.astype(np.int64), exact)


def random_clifford(rng: np.random.Generator, num_qubits: int, *, decides: bool) -> QuantumCircuit:
    """Return a circuit of a device's gates whose angles are multiples of pi/2."""
    circuit = QuantumCircuit(num_qubits, num_qubits)
    quarter = np.pi / 2
    for _ in range(6 * num_qubits):
        one, other = rng.permutation(num_qubits)[:2].tolist()
        match rng.integers(7 if decides else 5):
            case 0:
                # Also by nothing: then no gate is left of it.
                circuit.rz(quarter * int(rng.integers(-4, 5)), one)
            case 1:
                circuit.sx(one)
            case 2:
                circuit.rzz(quarter * int(rng.integers(-2, 3)), one, other)
            case 3:
                circuit.ecr(one, other)
            case 4:
                circuit.u(quarter * int(rng.integers(4)), quarter * int(rng.integers(4)), 0.0, one)
            case 5:
                circuit.measure(one, one)
            case 6:
                circuit.measure(other, other)
                with circuit.if_test((circuit.clbits[other], 1)):
                    circuit.rx(np.pi, one)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


class TestClifford:
    @pytest.mark.parametrize("decides", [False, True], ids=["static", "dynamic"])
    @pytest.mark.parametrize("noisy", [False, True], ids=["ideal", "noisy"])
    @pytest.mark.parametrize("seed", range(4))
    def test_stabilizers_and_states_agree(
        self,
        shots_of: Shots,
        agree: Agree,
        monkeypatch: pytest.MonkeyPatch,
        seed: int,
        decides: bool,  # noqa: FBT001 - a case of the test
        noisy: bool,  # noqa: FBT001 - a case of the test
    ) -> None:
        circuit = random_clifford(np.random.default_rng(seed), 4, decides=decides)
        noise = None
        if noisy:
            model = NoiseModel()
            model.add_all_qubit_quantum_error(depolarizing_error(0.05, 1), ["rz", "sx", "u", "rx"])
            model.add_all_qubit_quantum_error(depolarizing_error(0.05, 2), ["ecr", "rzz"])
            model.add_all_qubit_readout_error(ReadoutError([[0.95, 0.05], [0.1, 0.9]]))
            noise = DeviceNoise.from_model(model, 4)
        states = shots_of(circuit, noise=noise, shots=3000)
        monkeypatch.setattr(executor, "_STABILIZER_QUBITS", 2)
        called = []

        def stabilized(self: AerExecutor, task: SampleTask) -> BitTensor:
            called.append(task)
            return self._sampled(task, "stabilizer", 1)

        monkeypatch.setattr(AerExecutor, "_stabilized", stabilized)
        stabilizers = shots_of(circuit, noise=noise, shots=3000)
        assert called
        if len(np.unique(states)) > 1:
            agree(stabilizers, states)
        else:
            assert (stabilizers == states).all()

    @pytest.mark.parametrize("name", ["cy", "ecr", "swap"])
    def test_errors_may_be_any_clifford_gates(
        self, shots_of: Shots, agree: Agree, monkeypatch: pytest.MonkeyPatch, name: str
    ) -> None:
        wrong, right = QuantumCircuit(2), QuantumCircuit(2)
        getattr(wrong, name)(0, 1)
        right.id(0)
        model = NoiseModel()
        model.add_all_qubit_quantum_error(QuantumError([(wrong, 0.3), (right, 0.7)]), "cx")
        circuit = QuantumCircuit(3, 3)
        circuit.h(0)
        circuit.cx(0, 1)
        circuit.cx(1, 2)
        circuit.measure(0, 0)
        circuit.h(1)
        circuit.measure(range(3), range(3))
        noise = DeviceNoise.from_model(model, 3)
        states = shots_of(circuit, noise=noise, shots=3000)
        monkeypatch.setattr(executor, "_STABILIZER_QUBITS", 2)
        monkeypatch.setattr(AerExecutor, "_dense", None)
        agree(shots_of(circuit, noise=noise, shots=3000), states)

    def test_rows_are_told_apart_by_their_angles(self) -> None:
        angle = Parameter("angle")
        circuit = QuantumCircuit(2, 2)
        circuit.rzz(angle, 0, 1)
        circuit.rx(angle, 0)
        circuit.measure([0, 1], [0, 1])
        values = np.array([[0.0], [np.pi / 2], [0.3], [-np.pi], [np.pi / 4]])
        assert clifford_rows(circuit, values, None).tolist() == [True, True, False, True, False]
        circuit.t(0)
        assert not clifford_rows(circuit, values, None).any()

    def test_a_row_gives_the_same_bits_beside_rows_of_another_method(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(executor, "_STABILIZER_QUBITS", 2)
        angle = Parameter("angle")
        circuit = QuantumCircuit(2, 2)
        circuit.h(0)
        circuit.rzz(angle, 0, 1)
        circuit.h(0)
        circuit.measure([0, 1], [0, 1])
        values = np.array([[0.3], [np.pi / 2], [0.7], [np.pi]])
        whole = task_of(circuit, shots=50, values=values)
        together = AerExecutor(threads=1).sample(whole)
        for row in range(4):
            alone = task_of(circuit, shots=50, values=values[row : row + 1], seed=5 + row)
            assert (AerExecutor(threads=1).sample(alone)[0] == together[row]).all()

    def test_a_seed_gives_the_same_bits_on_any_number_of_threads(self) -> None:
        """Eighteen qubits are the fewest whose state is shared out among threads."""
        circuit = QuantumCircuit(18, 18)
        for layer, angles in enumerate(np.random.default_rng(1).uniform(0, 3, (4, 18)).tolist()):
            for qubit, angle in enumerate(angles):
                circuit.rx(angle, qubit)
            for qubit in range(layer % 2, 17, 2):
                circuit.cz(qubit, qubit + 1)
            circuit.measure(layer, layer)
            with circuit.if_test((layer, 1)):
                circuit.reset(layer + 4)
        circuit.measure(range(4, 18), range(4, 18))
        executor = AerExecutor()
        bits = []
        for cores in (1, 3):
            executor.use_cores(cores)
            bits.append(executor.sample(task_of(circuit, shots=20)))
        assert (bits[0] == bits[1]).all()
        assert 0.3 < bits[0].mean() < 0.7

    @pytest.mark.slow
    def test_a_wide_clifford_circuit_of_a_device_takes_seconds(self) -> None:
        """127 qubits, 20 layers of rotations and couplings by pi/2, in the basis of the device."""
        backend = FakeSherbrooke()
        circuit = QuantumCircuit(127, 127)
        pairs = sorted({tuple(sorted(edge)) for edge in backend.coupling_map.get_edges()})
        for _ in range(20):
            circuit.rx(np.pi / 2, range(127))
            for pair in pairs:
                circuit.rzz(-np.pi / 2, *pair)
        circuit.measure(range(127), range(127))
        manager = generate_preset_pass_manager(
            optimization_level=1, backend=backend, initial_layout=list(range(127)), seed_transpiler=1
        )
        begin = time.process_time()
        bits = AerExecutor(threads=1).sample(task_of(manager.run(circuit), shots=100))
        assert bits.shape == (1, 100, 127)
        assert time.process_time() - begin < 30

    @pytest.mark.parametrize("num_qubits", [19, 101])
    def test_a_chain_entangled_by_measurements_and_feed_forward_takes_seconds(
        self, shots_of: Shots, num_qubits: int
    ) -> None:
        """GHZ states by pairs that are joined by measuring between them."""
        circuit = QuantumCircuit(
            QuantumRegister(num_qubits), ClassicalRegister(num_qubits, "ends"), ClassicalRegister(num_qubits, "between")
        )
        for qubit in range(0, num_qubits, 2):
            circuit.h(qubit)
        for qubit in range(1, num_qubits, 2):
            circuit.cx(qubit - 1, qubit)
            circuit.cx(qubit + 1, qubit)
            circuit.measure(qubit, circuit.cregs[1][qubit])
        for qubit in range(1, num_qubits, 2):
            # Those to the right of an odd difference are turned round.
            with circuit.if_test((circuit.cregs[1][qubit], 1)):
                circuit.x(range(qubit + 1, num_qubits, 2))
        circuit.measure(range(0, num_qubits, 2), range(0, num_qubits, 2))
        begin = time.process_time()
        bits = AerExecutor(threads=1).sample(task_of(circuit, shots=500))[0]
        assert time.process_time() - begin < 60
        ends = bits[:, 0:num_qubits:2]
        assert (ends == ends[:, :1]).all()
        assert 150 < ends[:, 0].sum() < 350

    def test_a_wide_ghz_state_takes_no_time(self, shots_of: Shots) -> None:
        circuit = QuantumCircuit(25, 25)
        circuit.h(0)
        for qubit in range(24):
            circuit.cx(qubit, qubit + 1)
        circuit.measure(range(25), range(25))
        begin = time.process_time()
        found = np.unique(shots_of(circuit, shots=1000)).tolist()
        assert found == [0, 2**25 - 1]
        assert time.process_time() - begin < 2

    def test_wide_circuits_of_other_gates_are_still_refused(self) -> None:
        circuit = QuantumCircuit(60, 60)
        circuit.h(range(60))
        reduce(lambda _, pair: circuit.cx(*pair), product(range(30), range(30, 60)), None)
        circuit.t(range(60))
        circuit.measure(range(60), range(60))
        with pytest.raises(CircuitTooLargeError, match="60 qubits of the circuit are entangled"):
            AerExecutor(threads=1).sample(task_of(circuit, shots=10))


@pytest.mark.slow
def test_a_tree_with_a_measurement_on_its_way_ends() -> None:
    """Aer's own decomposition of matrices never returns for this one; LAPACK's does."""
    program = """
        from qiskit import QuantumCircuit
        from qiskit.primitives.containers.sampler_pub import SamplerPub
        from qiskit_runtime_server.executors import AerExecutor
        tree = [(0,1),(1,2),(2,3),(3,5),(5,8),(8,9),(8,11),(11,14),(14,13),(13,12),(12,15)]
        circuit = QuantumCircuit(16, 16)
        circuit.sx(0)
        for pair in tree:
            circuit.cx(*pair)
        circuit.measure(range(16), range(16))
        circuit.measure(0, 0)
        pub = SamplerPub.coerce(circuit, shots=50)
        AerExecutor(threads=1).execute_sampler([pub], {"simulator": {"seed_simulator": 11}}, "fake_guadalupe")
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(program)], check=True, timeout=120)


@pytest.mark.parametrize(("num_qubits", "method"), [(25, "statevector"), (60, "matrix-product-state")])
def test_a_circuit_that_is_evolved_once_for_all_shots_is_not_said_to_take_as_many_times_longer(
    num_qubits: int, method: str
) -> None:
    circuit = QuantumCircuit(num_qubits, num_qubits)
    for layer in range(4 if num_qubits == 25 else 1):
        circuit.ry(0.3, range(num_qubits))
        for qubit in range(layer % 2, num_qubits - 1, 2 if num_qubits == 25 else 1):
            circuit.cx(qubit, qubit + 1)
    circuit.measure(range(num_qubits), range(num_qubits))
    aer = AerExecutor().fitted(memory_bytes=2**30, threads=1)
    one, many = (aer.offer(sample_task(circuit, shots=shots)) for shots in (1, 1000))
    assert one.method == many.method == method
    # Drawing from the state that is there takes time as well, from that of a product each time.
    assert many.seconds < (1.01 if method == "statevector" else 500) * one.seconds
    on_the_way = circuit.compose(circuit)
    one, many = (aer.offer(sample_task(on_the_way, shots=shots)) for shots in (1, 1000))
    assert many.seconds > 900 * one.seconds
