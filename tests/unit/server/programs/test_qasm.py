"""Circuits as OpenQASM 3, also from those who mean no good."""

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit import QuantumCircuit, qasm3
from qiskit.circuit import Parameter
from qiskit.quantum_info import Operator

from qiskit_runtime_server.errors import InvalidInputError, NotIsaError
from qiskit_runtime_server.executors import AerExecutor
from qiskit_runtime_server.programs import executor_program
from qiskit_runtime_server.programs.device.shots import SimulatedShots
from qiskit_runtime_server.programs.wire import reading
from qiskit_runtime_server.programs.wire.params import decode_params, estimator_pub, sampler_pub
from qiskit_runtime_server.programs.wire.qasm import MAX_CHARACTERS, read_circuit
from qiskit_runtime_server.programs.wire.quantum_program import decode_program

HEAD = 'OPENQASM 3.0; include "stdgates.inc";'
FLIP = f"{HEAD} bit[2] c; x $0; c[0] = measure $0; c[1] = measure $1;"
BOMB = "".join(f"gate g{i} a {{ g{i - 1} a; g{i - 1} a; }} " for i in range(1, 60))


def mixed() -> QuantumCircuit:
    circuit = QuantumCircuit(3, 2)
    circuit.ecr(0, 1)
    circuit.rzz(2 * Parameter("a"), 1, 2)
    circuit.rzz(0.4, 1, 2)
    circuit.sxdg(0)
    circuit.measure([0, 1], [0, 1])
    with circuit.if_test((circuit.clbits[0], 1)):
        circuit.ecr(1, 2)
    return circuit


def test_what_qiskit_writes_comes_back_with_the_gates_that_it_had() -> None:
    circuit = mixed()
    read = read_circuit(qasm3.dumps(circuit), 100)
    assert read.count_ops() == circuit.count_ops()
    assert all(one.is_standard_gate() == other.is_standard_gate() for one, other in zip(read, circuit, strict=True))
    (block,) = read.data[-1].operation.blocks
    assert block.data[0].is_standard_gate()
    start, other = (
        QuantumCircuit.from_instructions(whole.data[:4], qubits=whole.qubits).assign_parameters([0.7])
        for whole in (circuit, read)
    )
    assert Operator(start).equiv(Operator(other))


@pytest.mark.parametrize(
    "definition",
    [
        "gate ecr a, b { cx a, b; }",
        "gate ecr a, b { }",
        "gate ecr a { }",
        "gate ecr(p) a, b { rz(p) a; }",
    ],
)
def test_a_gate_that_only_has_a_known_name_is_none_of_the_devices(definition: str) -> None:
    arguments = "$0" if " a {" in definition.rsplit("ecr", 1)[1] else "$1, $0"
    call = "ecr(0.1)" if "(p)" in definition else "ecr"
    circuit = read_circuit(f"{HEAD} {definition} bit[1] c; {call} {arguments}; c[0] = measure $0;", 100)
    with pytest.raises(NotIsaError, match="only has the name of one of fake_sherbrooke"):
        AerExecutor(threads=1).execute_sampler([circuit], {}, "fake_sherbrooke")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("(", "not valid"),
        ("OPENQASM 3.0; x", "not valid"),
        ('OPENQASM 3.0; include "/etc/passwd";', "non-stdgates imports"),
        ('OPENQASM 3.0; include "../stdgates.inc";', "non-stdgates imports"),
        ("OPENQASM 3.0; qubit[1000000000] q;", "too many qubits"),
        ("OPENQASM 3.0; qubit[90] q; qubit[11] r;", "too many qubits"),
        (f"{HEAD} x $100;", "too many qubits"),
        ("OPENQASM 3.0; bit[101] c;", "too many classical bits"),
        (f"{HEAD} ctrl(1000) @ x $0, $1;", "modifier ctrl"),
        (f"{HEAD} pow(0.5) @ x $0;", "modifier pow"),
        ("OPENQASM 3.0; gate ecr a, b { ecr a, b; } qubit[2] q;", "line 1,30: gate 'ecr' is not defined"),
        ("OPENQASM 3.0; int i = 3;", "not supported"),
        (f"{HEAD} gate g0 a {{ x a; }} {BOMB} g59 $0;", "gate 'g9' has more than 1000 instructions"),
        ("OPENQASM 3.0;" + " " * MAX_CHARACTERS, f"at most {MAX_CHARACTERS}"),
        ("OPENQASM 3.0; " + "(" * 5000, "recursion"),
        (f"{HEAD} bit c; c = measure $0;", r"declare bit\[1\]"),
    ],
)
def test_text_that_cannot_be_read_is_refused_with_a_reason(text: str, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words), reading.damage("circuit"):
        read_circuit(text, 100)


FRAGMENTS = [
    "OPENQASM 3.0;",
    'include "stdgates.inc";',
    "qubit[2] q;",
    "x q[0];",
    "gate g a {",
    "}",
    "if (",
    "c[0]",
    "]",
]


@given(st.lists(st.sampled_from(FRAGMENTS) | st.text(max_size=5), max_size=8))
def test_any_text_is_read_or_refused(parts: list[str]) -> None:
    try:
        with reading.damage("circuit"):
            read_circuit(" ".join(parts), 100)
    except InvalidInputError:
        pass


def test_pubs_take_text_in_place_of_a_circuit() -> None:
    angled = f"{HEAD} input float a; bit[1] c; rz(a) $0; c[0] = measure $0;"
    params = decode_params(json.dumps({"pubs": [[FLIP, [], 100], [angled, [[0.1], [0.2]]]]}).encode())
    pubs = [sampler_pub(pub, "pub") for pub in params.pubs]
    assert pubs[1].shape == (2,)
    first, second = AerExecutor(threads=1).execute_sampler(pubs, {}, "fake_quantum_sim")
    assert first.data.c.get_counts() == {"01": 100}
    assert second.data.c.shape == (2,)
    pub = estimator_pub([f"{HEAD} qubit[2] q; x q[0];", [{"IZ": 1.0}, {"ZI": 1.0}]], "pub")
    (result,) = AerExecutor(threads=1).execute_estimator([pub], {"resilience_level": 0}, "fake_quantum_sim")
    np.testing.assert_array_equal(result.data.evs, [-1, 1])


@pytest.mark.parametrize(
    ("text", "observable", "value"),
    [
        ("x $0; x $1;", "IIIZZ", 1),
        ("x $0; id $1;", "IIIZZ", -1),
        ("x $3; id $4;", "ZZIII", -1),
        ("x $0; id $1;", "ZZ", -1),
        ("qubit[5] q; x q[0];", "IIIZZ", -1),
        ("bit[1] c; x $0; c[0] = measure $0; if (c[0]) { x $1; }", "IIIZI", -1),
    ],
)
def test_observables_of_the_devices_width_are_of_the_qubits_that_a_text_names(
    text: str, observable: str, value: int
) -> None:
    pub = estimator_pub([f"{HEAD} {text}", {observable: 1.0}], "pub")
    options = {"resilience_level": 0, "simulator": {"seed_simulator": 1}}
    (result,) = AerExecutor(threads=1).execute_estimator([pub], options, "fake_manila")
    # The device errs by a few per cent.
    assert float(result.data.evs) == pytest.approx(value, abs=0.2)


def test_observables_that_no_qubit_of_the_text_can_have_are_refused() -> None:
    for text, observable in (("x $3; id $4;", "ZZ"), ("qubit[2] q; x q[0];", "IIIZZ")):
        with pytest.raises(InvalidInputError, match="number of qubits"):
            estimator_pub([f"{HEAD} {text}", {observable: 1.0}], "pub")


def program(texts: object) -> bytes:
    arguments = {"data": "eJwDAAAAAAE=", "shape": [0], "dtype": "f64"}
    item: dict[str, Any] = {"item_type": "circuit", "circuit_arguments": arguments, "shape": [], "chunk_size": "auto"}
    document = {"shots": 10, "circuits": {"data": texts}, "items": [item], "meas_level": "classified"}
    return json.dumps({"schema_version": "v2.0", "quantum_program": document, "options": {}}).encode()


def test_quantum_programs_take_texts_in_place_of_circuits() -> None:
    read = decode_program(program([FLIP]))
    executor_program.execute(SimulatedShots(AerExecutor(threads=1)), read, "fake_quantum_sim", 1)
    assert read.items[0].circuit.count_ops()["measure"] == 2


@pytest.mark.parametrize("texts", [[], [FLIP, FLIP], [3], FLIP, None])
def test_texts_that_are_not_one_for_each_item_are_refused(texts: object) -> None:
    with pytest.raises(InvalidInputError, match="one for each of 1 items"):
        decode_program(program(texts))
