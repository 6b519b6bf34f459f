"""Whatever is sent, a worker lives on and says what is wrong with it, soon and without much memory."""

import struct
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister, transpile
from qiskit.circuit import CircuitInstruction, Duration, Instruction, Parameter, ParameterVector
from qiskit.circuit.classical import expr, types
from qiskit.circuit.controlflow import BreakLoopOp, IfElseOp, WhileLoopOp
from qiskit.circuit.library import CXGate, Measure, PauliEvolutionGate, QFTGate, RXGate, XGate
from qiskit.qpy.exceptions import UnsupportedFeatureForVersion
from qiskit.quantum_info import SparseObservable
from qiskit_ibm_runtime.fake_provider import FakeSherbrooke

from kit.faults.damaged_documents import CIRCUITS, VERSIONS, intact, versions_of
from kit.faults.damaged_jobs import read_with_counts, run_jobs
from kit.quantum.circuits import in_qpy
from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.programs.wire import qasm, qpy, qpy_structure, reading
from qiskit_runtime_server.programs.wire.qpy_structure import check_structure
from qiskit_runtime_server.programs.wire.well_formed import check_instructions

JOBS = 1000


@pytest.mark.slow
def test_damaged_jobs_end_with_a_reason_and_do_not_end_their_worker() -> None:
    """`python -m kit.faults.damaged_jobs` goes on where this ends."""
    ended = list(run_jobs(range(JOBS)))
    assert [job for job in ended if not job.is_right] == []
    assert len(ended) == JOBS
    how = Counter(job.how for job in ended)
    assert how["refused"] > JOBS / 2
    assert how["completed"] > JOBS / 20
    assert all(job.reason for job in ended if job.how == "refused")


@pytest.mark.slow
@pytest.mark.parametrize(("name", "version"), [("variables", 13), ("parametrised", 17), ("boxes", 18)])
def test_no_number_anywhere_in_a_circuit_takes_memory_that_is_not_there(name: str, version: int) -> None:
    assert read_with_counts(name, version) == ""


def begin_of(data: bytes) -> int:
    """Return where the only circuit of a QPY file begins."""
    start = struct.calcsize("!6sBBBBQcc")
    return start if data[6] < 16 else int(struct.unpack_from("!Q", data, start)[0])


@pytest.mark.parametrize("name", CIRCUITS)
def test_circuits_inside_of_circuits_may_be_no_larger_than_those_around_them(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    places: list[int] = []
    walk = qpy_structure._Walk.circuit

    def noted(self: qpy_structure._Walk) -> None:
        places.append(self.place)
        walk(self)

    monkeypatch.setitem(qpy_structure._READERS, b"q", noted)
    monkeypatch.setattr(qpy_structure._Walk, "circuit", noted)
    for version in versions_of(name):
        data = intact(name, version)
        places.clear()
        check_structure(data, version, begin_of(data), lambda _: None)
        assert places
        for place in [*places]:
            for offset in (5, 9):
                damaged = bytearray(data)
                damaged[place + offset : place + offset + 4] = (2**31).to_bytes(4, "big")
                with pytest.raises(ValueError, match="at most 100000 are accepted"):
                    qpy.check_qpy(bytes(damaged), 1, reading.Reader().announce)


def observable() -> QuantumCircuit:
    circuit = QuantumCircuit(3)
    circuit.append(PauliEvolutionGate([SparseObservable("X0r"), SparseObservable("ZII")], time=0.2), [0, 1, 2])
    return circuit


def vectors() -> QuantumCircuit:
    vector = ParameterVector("w", 3000)
    circuit = QuantumCircuit(1)
    for element in vector:
        circuit.rx(element * 2 + vector[0], 0)
    circuit.ry(sum(vector[:20]), 0)
    return circuit


def registers_that_share_bits() -> QuantumCircuit:
    qubits, clbits = QuantumRegister(3, "a"), ClassicalRegister(2, "k")
    others = QuantumRegister(name="b", bits=[qubits[2], qubits[0]])
    last = ClassicalRegister(name="l", bits=[clbits[1]])
    circuit = QuantumCircuit(qubits, others, clbits, last)
    with circuit.if_test((last, 1)):
        circuit.x(qubits[0])
    return circuit


def bits_of_a_register_that_is_not_there() -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(5, "a")[1:3])
    circuit.h(0)
    return circuit


def stretches_and_durations() -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    stretch = circuit.add_stretch("s")
    circuit.delay(expr.add(stretch, Duration.ns(4)), 0)
    with circuit.if_test(expr.less(Duration.ps(3), Duration.dt(4))):
        circuit.x(0)
    return circuit


def wide_integers_and_floats() -> QuantumCircuit:
    circuit = QuantumCircuit(1, 1)
    number = circuit.add_var("number", expr.lift(2**199 + 5, types.Uint(200)))
    fraction = circuit.add_var("fraction", expr.lift(0.5))
    circuit.store(fraction, expr.add(fraction, 1.5))
    with circuit.if_test(expr.less(number, 3)):
        inner = circuit.add_var("inner", expr.lift(False))  # noqa: FBT003 - positional only
        circuit.store(inner, expr.less(fraction, 7.5))
    return circuit


def substituted() -> QuantumCircuit:
    a, b = Parameter("a"), Parameter("b")
    circuit = QuantumCircuit(1)
    circuit.rx((a * 2 + b).subs({a: b.sin() + Parameter("z")}), 0)
    circuit.ry(a.log() / b**2, 0)
    return circuit


def from_the_library() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    circuit.unitary(np.eye(4), [0, 1])
    circuit.prepare_state([0.6, 0.8], 0)
    circuit.append(QFTGate(2), [0, 1])
    circuit.append(XGate(label="name").control(1, ctrl_state=0), [0, 1])
    return circuit


def transpiled() -> QuantumCircuit:
    circuit = QuantumCircuit(QuantumRegister(3, "x"), ClassicalRegister(2, "y"))
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.cx(0, 2)
    circuit.measure([0, 1], [0, 1])
    return transpile(circuit, FakeSherbrooke(), seed_transpiler=1, optimization_level=3)


def loops() -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    with circuit.for_loop(range(0, 6, 2)) as index:
        circuit.rx(index, 0)
        with circuit.for_loop((1, 5)):
            circuit.continue_loop()
    return circuit


FURTHER = [
    observable,
    vectors,
    registers_that_share_bits,
    bits_of_a_register_that_is_not_there,
    stretches_and_durations,
    wide_integers_and_floats,
    substituted,
    from_the_library,
    transpiled,
    loops,
]
# The client writes circuits with observables in versions that it cannot read them in again itself.
OLDEST = {"observable": 17}


@pytest.mark.parametrize("make", [*CIRCUITS.values(), *FURTHER], ids=lambda make: make.__name__)
def test_a_walk_through_a_circuit_ends_where_the_circuit_does(make: Callable[[], QuantumCircuit]) -> None:
    versions = range(OLDEST.get(make.__name__, VERSIONS[0]), VERSIONS[-1] + 1)
    written = 0
    for version in versions:
        try:
            data = in_qpy(make(), version=version)
        except UnsupportedFeatureForVersion:
            continue
        assert check_structure(data, version, begin_of(data), lambda _: None) == len(data)
        qpy.read_circuits(data, 1, reading.Reader().announce)
        written += 1
    assert written >= 2


def test_what_all_circuits_of_a_job_announce_is_counted_together() -> None:
    data = in_qpy(QuantumCircuit(50_000, 40_000), version=18)
    reader = reading.Reader()
    for _ in range(reading.MAX_ANNOUNCED // 180_000):
        qpy.check_qpy(data, 1, reader.announce)
    with pytest.raises(ValueError, match="more than 4000000 bits in all"):
        qpy.check_qpy(data, 1, reader.announce)


def test_circuits_that_overlap_are_refused() -> None:
    one = bytearray(in_qpy(QuantumCircuit(1), version=18))
    one[10:18] = (2).to_bytes(8, "big")
    (start,) = struct.unpack_from("!Q", one, struct.calcsize("!6sBBBBQcc"))
    twice = one[:28] + struct.pack("!Q", start + 8) + one[28:]
    twice[20:28] = struct.pack("!Q", start + 8)
    with pytest.raises(ValueError, match="overlap"):
        qpy.check_qpy(bytes(twice), 2, reading.Reader().announce)


def containing(operation: Instruction, *bits: int, clbits: tuple[int, ...] = ()) -> QuantumCircuit:
    """Return a circuit with an instruction that Qiskit's methods would not let in."""
    circuit = QuantumCircuit(2, 2)
    circuit.add_register(ClassicalRegister(2, "more"))
    circuit._append(
        CircuitInstruction(operation, [circuit.qubits[bit] for bit in bits], [circuit.clbits[bit] for bit in clbits])
    )
    return circuit


def with_condition(condition: expr.Expr) -> QuantumCircuit:
    return containing(IfElseOp(condition, QuantumCircuit(1, 0)), 0)


THREE, TRUE = expr.lift(3, types.Uint(2)), expr.lift(True)  # noqa: FBT003 - positional only


@pytest.mark.parametrize(
    ("circuit", "reason"),
    [
        (containing(CXGate(), 0, 0), "cx has a bit twice"),
        (containing(CXGate(), 0), "cx has 1 qubits"),
        (containing(RXGate(float("nan")), 0), "rx has the angle nan"),
        (containing(Measure(), 0), "measure is for 1 qubits and 1 classical bits, and has 1 and 0"),
        (containing(BreakLoopOp(1, 0), 0), "break_loop stands outside of any loop"),
        (containing(WhileLoopOp(TRUE, QuantumCircuit(1, 0)), 0, 1), "while_loop is for 1 qubits"),
        (with_condition(expr.Var(QuantumCircuit(0, 1).clbits[0], types.Bool())), "Could not locate provided bit"),
        (with_condition(expr.Var.new("nowhere", types.Bool())), "is invalid"),
        (with_condition(expr.Value(2, types.Bool())), "is invalid"),
        (with_condition(expr.Index(THREE, TRUE, types.Bool())), "is invalid"),
        (with_condition(expr.Unary(expr.Unary.Op.NEGATE, TRUE, types.Bool())), "is invalid"),
        (with_condition(expr.Binary(expr.Binary.Op.ADD, TRUE, TRUE, types.Bool())), "is invalid"),
        (with_condition(expr.Binary(expr.Binary.Op.LESS, THREE, TRUE, types.Bool())), "is invalid"),
        (with_condition(expr.Binary(expr.Binary.Op.LOGIC_AND, THREE, THREE, types.Bool())), "is invalid"),
        (with_condition(expr.Binary(expr.Binary.Op.SHIFT_LEFT, TRUE, THREE, types.Bool())), "is invalid"),
    ],
)
def test_instructions_that_do_not_fit_their_operations_are_refused(circuit: QuantumCircuit, reason: str) -> None:
    with pytest.raises(InvalidInputError, match=f"pub: (.* )?{reason}"), reading.damage("pub"):
        check_instructions(circuit)


def test_a_loop_of_more_rounds_than_can_be_counted_is_refused() -> None:
    circuit = QuantumCircuit(1)
    with circuit.for_loop(range(0x1234, 0x5678)):
        circuit.x(0)
    for version in VERSIONS:
        limits, longer = struct.pack("!qq", 0x1234, 0x5678), struct.pack("!qq", -(2**63), 2**63 - 1)
        data = in_qpy(circuit, version=version)
        assert limits in data
        with pytest.raises(InvalidInputError, match=r"pub: .*too large"), reading.damage("pub"):
            qpy.read_circuits(data.replace(limits, longer), 1, reading.Reader().announce)


@pytest.mark.parametrize("duration", [100, 0.5])
def test_a_delay_whose_unit_was_lost_is_refused_with_advice(duration: float) -> None:
    circuit = QuantumCircuit(1, 1)
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.delay(duration, 0, "us")
    for version in VERSIONS:
        with (
            pytest.raises(
                InvalidInputError, match=f"a delay of {float(duration)} has lost its unit, as QPY keeps none"
            ),
            reading.damage("pub"),
        ):
            qpy.read_circuits(in_qpy(circuit, version=version), 1, reading.Reader().announce)


def test_delays_in_dt_are_read_as_they_were() -> None:
    circuit = QuantumCircuit(1)
    circuit.delay(100, 0, "dt")
    circuit.delay(16.0, 0, "dt")
    for version in VERSIONS:
        (read,) = qpy.read_circuits(in_qpy(circuit, version=version), 1, reading.Reader().announce)
        assert [(item.operation.duration, item.operation.unit) for item in read.data] == [(100, "dt"), (16, "dt")]


def test_delays_in_text_keep_their_units() -> None:
    text = 'OPENQASM 3.0; include "stdgates.inc"; qubit[1] q; bit[1] c; delay[0.5us] q[0]; c[0] = measure q[0];'
    delay = qasm.read_circuit(text, 10).data[0].operation
    assert (delay.duration, delay.unit) == (0.5, "us")
