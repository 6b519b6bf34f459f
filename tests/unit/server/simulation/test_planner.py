"""Which method the planner chooses for each kind of circuit, and that no plan approximates without saying so."""

import math
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_aer.noise import NoiseModel, amplitude_damping_error, depolarizing_error

from kit.quantum.clifford_circuits import clifford_case
from qiskit_runtime_server.errors import CircuitTooLargeError, CircuitTooLongError, UnsupportedOptionError
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.messages.messages import PATIENCE
from qiskit_runtime_server.simulation import engine
from qiskit_runtime_server.simulation.contract import BitTensor, Offer, SampleTask, Simulator, Truncation
from qiskit_runtime_server.simulation.noise import DeviceNoise
from qiskit_runtime_server.simulation.plan import Noise, Plan
from qiskit_runtime_server.simulation.planner import planned
from qiskit_runtime_server.simulation.seeds import SeedPath
from qiskit_runtime_server.simulation.wish import Approximation, Method, Wish

AER = AerExecutor(memory_bytes=2**30, threads=1)


def damped(strength: float = 0.01) -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(amplitude_damping_error(strength), ["h", "sx", "rz"])
    return model


def depolarized() -> NoiseModel:
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.01, 2), ["cx", "cz"])
    return model


def brickwork(num_qubits: int, depth: int, angle: float | Parameter = math.pi / 2) -> QuantumCircuit:
    """Return layers of gates on a ring: Clifford gates if the angle is a multiple of pi/2."""
    circuit = QuantumCircuit(num_qubits, num_qubits)
    for _ in range(depth):
        for qubit in range(num_qubits):
            circuit.h(qubit)
            circuit.rz(angle, qubit)
        for qubit in range(num_qubits):
            circuit.cx(qubit, (qubit + 1) % num_qubits)
    circuit.measure(range(num_qubits), range(num_qubits))
    return circuit


def plans_of(
    circuit: QuantumCircuit,
    model: NoiseModel | None,
    wish: Wish | None = None,
    values: tuple[tuple[float, ...], ...] = ((),),
    executor: Simulator = AER,
) -> list[Plan]:
    noise = None if model is None else DeviceNoise.from_model(model, circuit.num_qubits)
    table = np.array(values, dtype=np.float64).reshape(len(values), -1)
    return list(engine.plans(executor, circuit, table, 100, noise=noise, wish=wish or Wish()))


@pytest.mark.parametrize(
    ("circuit", "model", "method", "noise"),
    [
        (brickwork(50, 6), None, "clifford-frames", Noise.NONE),
        (brickwork(50, 6), depolarized(), "clifford-frames", Noise.DEVICE),
        (brickwork(50, 6), damped(), "clifford-frames", Noise.TWIRLED),
        (brickwork(14, 6), damped(), "statevector", Noise.DEVICE),
        (brickwork(4, 2), damped(), "density-matrix", Noise.DEVICE),
        (brickwork(4, 2), None, "statevector", Noise.NONE),
        (brickwork(14, 2, 0.3), None, "statevector", Noise.NONE),
        (brickwork(40, 1, 0.3), None, "matrix-product-state", Noise.NONE),
    ],
)
def test_each_kind_of_circuit_has_its_method(
    circuit: QuantumCircuit, model: NoiseModel | None, method: str, noise: Noise
) -> None:
    (plan,) = plans_of(circuit, model)
    assert (plan.method, plan.noise) == (method, noise)
    assert plan.qubits == tuple(range(circuit.num_qubits)) or set(plan.qubits) == set(range(circuit.num_qubits))
    assert plan.seconds > 0
    assert plan.memory_bytes > 0
    assert plan.approximates == (noise is Noise.TWIRLED)


def test_single_qubits_are_a_product() -> None:
    circuit = QuantumCircuit(3, 3)
    circuit.h(0)
    circuit.measure(range(3), range(3))
    (plan,) = plans_of(circuit, damped())
    assert (plan.method, plan.qubits, plan.noise) == ("product", (0, 1, 2), Noise.DEVICE)


def test_rows_of_a_sweep_that_are_clifford_circuits_run_as_such() -> None:
    values = ((0.0,), (math.pi / 2,), (0.3,))
    found = plans_of(brickwork(20, 4, Parameter("a")), None, values=values)
    assert [plan.method for plan in found] == ["clifford-frames", "statevector"]


def test_a_circuit_that_fits_runs_twirled_only_if_the_options_say_so() -> None:
    circuit, model = brickwork(14, 6), damped()
    wish = Wish(approximation=Approximation.TWIRLED_NOISE)
    assert [plan.noise for plan in plans_of(circuit, model)] == [Noise.DEVICE]
    assert [plan.noise for plan in plans_of(circuit, model, wish)] == [Noise.TWIRLED]
    assert [plan.noise for plan in plans_of(brickwork(4, 2), model, wish)] == [Noise.TWIRLED]
    assert [plan.noise for plan in plans_of(circuit, depolarized(), wish)] == [Noise.DEVICE]


def test_without_approximations_the_refusal_says_what_would_run() -> None:
    with pytest.raises(CircuitTooLargeError, match=r"simulator\.approximation: twirled-noise"):
        plans_of(brickwork(50, 6), damped(), Wish(approximation=Approximation.NONE))


def test_the_method_of_clifford_circuits_can_be_asked_for_and_is_refused_for_others() -> None:
    wish = Wish(method=Method.CLIFFORD)
    assert [plan.method for plan in plans_of(brickwork(4, 2), depolarized(), wish)] == ["clifford-frames"]
    with pytest.raises(UnsupportedOptionError, match="other than Clifford gates"):
        plans_of(brickwork(4, 2, 0.3), None, wish)
    with pytest.raises(UnsupportedOptionError, match="exact for Pauli errors only"):
        plans_of(brickwork(4, 2), damped(), Wish(method=Method.CLIFFORD, approximation=Approximation.NONE))


def test_the_executor_alone_can_be_asked_for() -> None:
    wish = Wish(method=Method.EXECUTOR)
    assert [plan.method for plan in plans_of(brickwork(14, 6), None, wish)] == ["stabilizer"]
    with pytest.raises(CircuitTooLargeError):
        plans_of(brickwork(50, 6), damped(), wish)


@pytest.mark.parametrize(("gate", "method"), [("x", "clifford-frames"), ("h", "stabilizer")])
def test_frames_carry_decisions_on_pauli_operators_and_no_others(gate: str, method: str) -> None:
    circuit = brickwork(40, 3)
    with circuit.if_test((0, 1)):
        getattr(circuit, gate)(1)
    circuit.measure(1, 1)
    assert [plan.method for plan in plans_of(circuit, None)] == [method]


def test_loops_are_the_executors() -> None:
    circuit = brickwork(14, 3)
    with circuit.while_loop((0, 1)):
        circuit.x(0)
        circuit.measure(0, 0)
    assert [plan.method for plan in plans_of(circuit, None)] == ["stabilizer"]


def test_what_takes_far_too_long_exactly_runs_twirled_or_is_refused() -> None:
    def planned_for(circuit: QuantumCircuit, wish: Wish, limit: float) -> list[Plan]:
        noise = DeviceNoise.from_model(damped(), circuit.num_qubits)
        values = np.empty((1, 0))
        return list(engine.plans(AER, circuit, values, 100, noise=noise, wish=wish, limit_seconds=limit))

    slow = brickwork(14, 6)
    (plan,) = planned_for(slow, Wish(), 1e9)
    assert plan.method == "statevector"
    (plan,) = planned_for(slow, Wish(), plan.seconds / (2 * PATIENCE))
    assert (plan.method, plan.noise) == ("clifford-frames", Noise.TWIRLED)
    with pytest.raises(CircuitTooLargeError, match=r"far longer than the job may run\..* twirled-noise"):
        planned_for(slow, Wish(approximation=Approximation.NONE), 1e-3)
    with pytest.raises(CircuitTooLargeError, match="far longer than the job may run"):
        planned_for(brickwork(14, 6, 0.3), Wish(), 1e-3)


def test_what_takes_too_long_is_refused_with_the_shots_that_would_run() -> None:
    circuit, limit = brickwork(14, 6, 0.3), 0.01
    noise = DeviceNoise.from_model(damped(), 14)

    def planned_with(shots: int) -> list[Plan]:
        return list(engine.plans(AER, circuit, np.empty((1, 0)), shots, noise=noise, limit_seconds=limit))

    with pytest.raises(CircuitTooLargeError, match=r"With \d+ shots it would run") as refusal:
        planned_with(10_000)
    words = str(refusal.value).split()
    shots = int(words[words.index("With") + 1])
    (plan,) = planned_with(shots)
    assert plan.seconds <= PATIENCE * limit
    with pytest.raises(CircuitTooLargeError):
        planned_with(4 * shots)


def test_what_no_number_of_shots_makes_short_enough_is_said_to_be_so() -> None:
    noise = DeviceNoise.from_model(damped(), 20)
    with pytest.raises(CircuitTooLargeError, match="Fewer shots are not enough: fewer qubits or gates, or a GPU"):
        list(engine.plans(AER, brickwork(20, 6, 0.3), np.empty((1, 0)), 100, noise=noise, limit_seconds=1e-6))


@pytest.mark.parametrize("num_qubits", [28, 33, 34, 50])
def test_what_is_too_large_is_advised_to_have_a_gpu_only_where_one_holds_it(num_qubits: int) -> None:
    with pytest.raises(CircuitTooLargeError, match=r"there are .* enough for \d+") as refusal:
        plans_of(brickwork(num_qubits, 8, 0.3), None)
    assert ("An executor with a GPU would run it" in str(refusal.value)) == (num_qubits <= 33)
    assert "simulator.approximation: truncated" in str(refusal.value)
    if num_qubits == 28:
        assert "4.0 GiB fit into the GPU's memory" in str(refusal.value).replace("4 GiB", "4.0 GiB")


def test_truncation_is_advised_and_used_only_where_the_executor_has_it() -> None:
    circuit, wish = brickwork(50, 6, 0.3), Wish(approximation=Approximation.TRUNCATED, max_truncation_error=0.1)
    with pytest.raises(CircuitTooLargeError, match="too large") as refusal:
        plans_of(circuit, None, executor=Recording(0))
    assert "truncated" not in str(refusal.value)
    with pytest.raises(CircuitTooLargeError, match="too large Recording has no method that truncates states"):
        plans_of(circuit, None, wish, executor=Recording(0))
    (plan,) = plans_of(circuit, None, wish, executor=Truncating(0))
    assert (plan.method, plan.truncation_error) == ("truncated", 0.1)
    assert plans_of(circuit, None, wish, executor=Truncating(100))[0].truncation_error == 0


def test_circuits_with_loops_are_said_to_have_no_truncated_states() -> None:
    circuit = brickwork(40, 3, 0.3)
    with circuit.while_loop((0, 1)):
        circuit.measure(0, 0)
    with pytest.raises(CircuitTooLargeError, match="no truncated matrix product states for circuits with loops"):
        plans_of(circuit, None, Wish(approximation=Approximation.TRUNCATED))


def test_a_clifford_circuit_that_the_executor_cannot_run_is_advised_to_leave_the_method_open() -> None:
    with pytest.raises(CircuitTooLargeError, match=r"it would run with simulator\.method: automatic"):
        plans_of(brickwork(50, 6), damped(), Wish(method=Method.EXECUTOR))


class Recording(Simulator):
    """Offers whatever it is told to, and runs nothing."""

    def __init__(self, most: int) -> None:
        self._most = most

    def offer(self, task: SampleTask) -> Offer:
        if task.circuit.num_qubits > self._most:
            message = "too large"
            raise CircuitTooLargeError(message)
        return Offer(method="its own", seconds=1e9, memory_bytes=1)

    def sample(self, task: SampleTask) -> BitTensor:
        return np.zeros((len(task.seeds), task.shots, task.circuit.num_clbits), dtype=np.bool_)


class Truncating(Recording):
    """Runs everything, if it may truncate."""

    truncates = True

    def offer_truncated(self, task: SampleTask, most_error: float) -> Offer:
        assert task.truncation is None
        truncation = Truncation(bond=2, weight=1e-9)
        return Offer(
            method="truncated", seconds=1.0, memory_bytes=1, truncation=truncation, truncation_error=most_error
        )


@given(
    seed=st.integers(0, 2**32 - 1),
    kind=st.sampled_from(["ideal", "pauli", "damped"]),
    method=st.sampled_from(Method),
    approximation=st.sampled_from([None, *Approximation]),
    most=st.sampled_from([0, 100]),
    kind_of_executor=st.sampled_from([Recording, Truncating]),
)
def test_no_plan_approximates_without_saying_so_or_against_the_options(
    seed: int,
    kind: str,
    method: Method,
    approximation: Approximation | None,
    most: int,
    kind_of_executor: type[Recording],
) -> None:
    case = clifford_case(np.random.default_rng(seed), most=14, noisy=kind == "pauli")
    model = damped() if kind == "damped" else case.model
    damaged = kind == "damped" and any(name in case.circuit.count_ops() for name in ("h", "sx", "rz"))
    wish = Wish(method=method, approximation=approximation)
    try:
        found = plans_of(case.circuit, model, wish, (tuple(case.values),), kind_of_executor(most))
    except (CircuitTooLargeError, UnsupportedOptionError):
        # What has an exact method is refused only if the options stand against it.
        assert damaged or method in {Method.EXECUTOR, Method.PROPAGATION, Method.NEAR_CLIFFORD} or most == 0
        return
    for plan in found:
        twirled = damaged and plan.method in {"clifford-frames", "near-clifford"}
        truncated = plan.method == "truncated"
        assert plan.approximates == (twirled or truncated)
        assert (plan.truncation_error > 0) == truncated
        assert not truncated or (most == 0 and approximation is Approximation.TRUNCATED)
        assert (plan.noise is Noise.TWIRLED) == twirled
        if twirled:
            assert approximation is not Approximation.NONE
            asked = approximation is Approximation.TWIRLED_NOISE or method in {Method.CLIFFORD, Method.NEAR_CLIFFORD}
            assert asked or most == 0


class Trying(Truncating):
    """Has to try how much it truncates, and notes that it did."""

    tries: int = 0

    def expected_truncated(self, task: SampleTask, most_error: float) -> Offer:
        return Offer(method="truncated", seconds=300.0, memory_bytes=1, truncation_error=most_error)

    def offer_truncated(self, task: SampleTask, most_error: float) -> Offer:
        self.tries += 1
        return super().offer_truncated(task, most_error)


def test_what_is_tried_before_it_is_planned_is_told_before_and_refused_if_it_takes_too_long() -> None:
    circuit, values = brickwork(20, 2, 0.3), np.empty((1, 0))
    wish = Wish(approximation=Approximation.TRUNCATED)
    for run in ("sample", "plans"):
        executor = Trying(0)
        tries_when_told: list[tuple[int, Plan]] = []

        def report(plan: Plan, executor: Trying = executor, told: list[tuple[int, Plan]] = tries_when_told) -> None:
            told.append((executor.tries, plan))

        if run == "sample":
            engine.sample(executor, circuit, values, 10, noise=None, seeds=SeedPath((5,)), wish=wish, report=report)
        else:
            assert len(list(engine.plans(executor, circuit, values, 10, noise=None, wish=wish, report=report))) == 1
        before, expected = tries_when_told[0]
        assert (before, executor.tries) == (0, 1)
        assert "20 qubits by truncated: about 3e+02 s" in str(expected)
        assert not expected.approximates

        limit = 300.0 / PATIENCE - 1
        with pytest.raises(CircuitTooLongError, match=r"would take about 3e\+02 s with a limit of"):
            list(engine.plans(executor, circuit, values, 10, noise=None, wish=wish, limit_seconds=limit))
        assert executor.tries == 1


def test_shots_of_the_engine_are_those_of_the_plans() -> None:
    circuit = brickwork(50, 4, Parameter("a"))
    values = np.array([[0.0], [math.pi / 2]])
    told: list[Plan] = []
    bits = engine.sample(Recording(0), circuit, values, 300, noise=None, seeds=SeedPath((5,)), report=told.append)
    assert [plan.method for plan in told] == ["clifford-frames"]
    assert bits.shape == (2, 300, 50)
    later = engine.sample(Recording(0), circuit, values[1:], 300, noise=None, seeds=SeedPath((5,)), first=1)
    assert (later[0] == bits[1]).all()


class Timed(AerExecutor):
    """Notes how long its offers take, which are part of running a circuit."""

    offered: float = 0.0

    def offer(self, task: SampleTask) -> Offer:
        begin = time.process_time()
        try:
            return super().offer(task)
        finally:
            self.offered += time.process_time() - begin


@pytest.mark.serial
@pytest.mark.parametrize(
    ("circuit", "model"),
    [
        (brickwork(2, 2, 0.3), damped()),
        (brickwork(8, 10, 0.3), damped()),
        (brickwork(14, 6), damped()),
        (brickwork(14, 6), depolarized()),
        (brickwork(20, 10, 0.3), None),
        (brickwork(24, 4, Parameter("a")), None),
    ],
    ids=["2 noisy", "8 noisy", "14 damped Clifford", "14 depolarized Clifford", "20 ideal", "24 swept"],
)
def test_a_choice_takes_at_most_five_milliseconds_where_an_executor_could_run_the_circuit(
    circuit: QuantumCircuit, model: NoiseModel | None
) -> None:
    values = np.linspace(0, 1, 100)[:, None] if circuit.parameters else np.empty((1, 0))
    seeds = np.arange(len(values), dtype=np.uint64)
    task = SampleTask(circuit=circuit, parameter_values=values, shots=100, noise=model, seeds=seeds)

    def seconds() -> float:
        executor = Timed(memory_bytes=2**30, threads=1)
        begin = time.process_time()
        planned(task, range(circuit.num_qubits), executor, Wish())
        return time.process_time() - begin - executor.offered

    # What all jobs of a process share is made once.
    seconds()
    assert min(seconds() for _ in range(5)) <= 0.005
