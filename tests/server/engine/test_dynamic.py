"""Circuits that measure and decide on their way, against what one can work out by hand."""

import io
from collections.abc import Callable

import numpy as np
import pytest
from dynamic_circuits import CASES, Case
from qiskit import QuantumCircuit, qpy
from qiskit.circuit import Parameter

from qiskit_runtime_server.errors import InvalidInputError


def sent(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return `circuit` as it arrives: blocks have bits of their own then."""
    file = io.BytesIO()
    qpy.dump(circuit, file)
    file.seek(0)
    return qpy.load(file)[0]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
@pytest.mark.parametrize("through", [QuantumCircuit.copy, sent], ids=["built", "sent"])
def test_control_flow_gives_what_it_says(
    shots_of: Callable[..., np.ndarray],
    expect: Callable[..., None],
    case: Callable[[], Case],
    through: Callable[[QuantumCircuit], QuantumCircuit],
) -> None:
    circuit, distribution = case()
    expect(shots_of(through(circuit)), distribution)


def test_a_parameter_of_the_circuit_and_one_of_a_loop_can_meet(
    shots_of: Callable[..., np.ndarray], expect: Callable[..., None]
) -> None:
    index, angle = Parameter("index"), Parameter("angle")
    circuit = QuantumCircuit(2, 2)
    with circuit.for_loop((0, 1, 2), index):
        circuit.rx(index * angle, 0)
        circuit.measure(0, 0)
        with circuit.if_test((circuit.clbits[0], 1)):
            circuit.break_loop()
        circuit.rx(angle, 1)
    circuit.measure(1, 1)
    expect(shots_of(circuit, values=(np.pi,)), {0b11: 1})
    with circuit.for_loop((1, 3), index):
        circuit.rx(index * angle, 1)
    circuit.measure(1, 1)
    expect(shots_of(circuit, values=(np.pi,)), {0b11: 1})


@pytest.mark.parametrize("body", ["empty", "gate", "jump", "parameter"])
def test_a_loop_that_never_seems_to_end_is_refused(shots_of: Callable[..., np.ndarray], body: str) -> None:
    index = Parameter("index")
    circuit = QuantumCircuit(1, 1)
    with circuit.for_loop(range(10**9), index if body == "parameter" else None):
        if body == "parameter":
            circuit.rx(index, 0)
        elif body != "empty":
            circuit.x(0)
        if body == "jump":
            with circuit.if_test((circuit.clbits[0], 1)):
                circuit.break_loop()
    circuit.measure(0, 0)
    with pytest.raises(InvalidInputError, match="1000000 instructions"):
        shots_of(circuit)


def test_stretches_and_parametric_delays_are_refused(shots_of: Callable[..., np.ndarray]) -> None:
    stretched = QuantumCircuit(1, 1)
    stretched.delay(stretched.add_stretch("long"), 0)
    stretched.measure(0, 0)
    with pytest.raises(InvalidInputError, match="stretches"):
        shots_of(stretched)
    delayed = QuantumCircuit(1, 1)
    delayed.delay(Parameter("t"), 0)
    delayed.measure(0, 0)
    with pytest.raises(InvalidInputError, match="delay"):
        shots_of(delayed, values=(1.0,))
