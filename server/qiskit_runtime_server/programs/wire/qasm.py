"""Circuits as OpenQASM 3, from clients other than Qiskit's: hostile text, read with limits.

Gates that the text defines under the name of one of Qiskit's, as exporters do with those that the standard library of
OpenQASM lacks, become that gate if the definition agrees. Files are never read: only `stdgates.inc` can be included,
and it is part of the reader.
"""

from collections.abc import Callable, Mapping
from functools import cache
from typing import Any, Final

import numpy as np
import openqasm3
from openqasm3 import ast
from openqasm3.parser import QASM3ParsingError
from openqasm3.visitor import QASMVisitor
from qiskit.circuit import CircuitInstruction, Gate, Parameter, ParameterExpression, QuantumCircuit, Qubit
from qiskit.circuit.library import IGate, get_standard_gate_name_mapping
from qiskit.quantum_info import Operator
from qiskit_qasm3_import import ConversionError, convert

from qiskit_runtime_server.programs.wire.well_formed import check_instructions

MAX_CHARACTERS: Final = 256 * 1024
"""For one circuit; the parser takes some ten seconds for that many."""
MAX_DEFINED: Final = 1000
"""Instructions in the definition of a gate, those of gates in it included."""

_MAX_QUBITS: Final = 3


def read_circuit(text: str, max_bits: int) -> QuantumCircuit:
    """Return the circuit that `text` describes.

    Args:
        text: A program in OpenQASM 3.
        max_bits: The most qubits, and the most classical bits.

    Raises:
        ValueError: If it is none, or too large; the message says where.
    """
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"the OpenQASM text has {len(text)} characters; at most {MAX_CHARACTERS} are accepted.")
    try:
        program = openqasm3.parse(text)
        _Limits(max_bits).visit(program)
        circuit = convert(program)
    except QASM3ParsingError as error:
        raise ValueError(f"the OpenQASM text is not valid: {str(error) or 'it ends too early'}") from error
    except ConversionError as error:
        raise ValueError(f"line {error}") from error
    if any(not circuit.find_bit(bit).registers for bit in circuit.clbits):
        raise ValueError("a classical bit outside of an array has no place in results: declare bit[1] in place of bit.")
    check_instructions(circuit)
    return _with_standard_gates(circuit)


def widened(circuit: QuantumCircuit, num_qubits: int) -> QuantumCircuit:
    """Return a circuit of at least `num_qubits` qubits, if `circuit` names those of the device (`$0`).

    Such a text does not say how many qubits the device has: its circuit ends with the last one that is named, while
    observables are of the device's width. Qubits that a text declares are as many as it says.
    """
    missing = num_qubits - circuit.num_qubits
    if circuit.layout is None or circuit.qregs or missing <= 0:
        return circuit
    qubits = [*circuit.qubits, *(Qubit() for _ in range(missing))]
    wide = QuantumCircuit(qubits, circuit.clbits, *circuit.cregs, name=circuit.name)
    wide.compose(circuit, circuit.qubits, circuit.clbits, inplace=True)
    return wide


class _Limits(QASMVisitor[None]):
    """Refuses what would need much memory or time before anything of it is built."""

    def __init__(self, max_bits: int) -> None:
        self._left = {"qubits": max_bits, "classical bits": max_bits}
        self._most = max_bits
        self._sizes: dict[str, int] = {}

    def visit_QubitDeclaration(self, node: ast.QubitDeclaration) -> None:  # noqa: N802 - as the visitor has it
        self._count("qubits", node.size)

    def visit_ClassicalDeclaration(self, node: ast.ClassicalDeclaration) -> None:  # noqa: N802 - as above
        if isinstance(node.type, ast.BitType):
            self._count("classical bits", node.type.size)
        self.generic_visit(node)

    def visit_Identifier(self, node: ast.Identifier) -> None:  # noqa: N802 - as above
        if node.name.startswith("$") and int(node.name[1:]) >= self._most:
            self._refuse("qubits")

    def visit_QuantumGateDefinition(self, node: ast.QuantumGateDefinition) -> None:  # noqa: N802 - as above
        # Gates in gates double with each level, and the reader copies all of them.
        called = (statement for statement in node.body if isinstance(statement, ast.QuantumGate))
        size = 1 + sum(self._sizes.get(statement.name.name, 1) for statement in called)
        if size > MAX_DEFINED:
            raise ValueError(
                f"gate {node.name.name!r} has more than {MAX_DEFINED} instructions, those of gates in it included."
            )
        self._sizes[node.name.name] = size
        self.generic_visit(node)

    def visit_QuantumGateModifier(self, node: ast.QuantumGateModifier) -> None:  # noqa: N802 - as above
        raise ValueError(f"the modifier {node.modifier.name} is not supported: use the gates that the device has.")

    def _count(self, kind: str, size: ast.Expression | None) -> None:
        self._left[kind] -= size.value if isinstance(size, ast.IntegerLiteral) else 1
        if self._left[kind] < 0:
            self._refuse(kind)

    def _refuse(self, kind: str) -> None:
        raise ValueError(f"the OpenQASM text has too many {kind}; at most {self._most} are accepted.")


def _with_standard_gates(circuit: QuantumCircuit) -> QuantumCircuit:
    agreeing: dict[tuple[str, str], bool] = {}

    def agrees(gate: Gate) -> bool:
        # All gates of a program that have the same name have the same definition.
        key = gate.name, str(gate.params)
        if key not in agreeing:
            agreeing[key] = _agrees(gate)
        return agreeing[key]

    return _replaced(circuit, agrees)


def _replaced(circuit: QuantumCircuit, agrees: Callable[[Gate], bool]) -> QuantumCircuit:
    result = circuit.copy_empty_like()
    for instruction in circuit.data:
        operation = instruction.operation
        if instruction.is_control_flow() and operation.blocks:
            operation = operation.replace_blocks([_replaced(block, agrees) for block in operation.blocks])
        elif _is_defined(instruction) and agrees(operation):
            operation = _standard(operation.name, operation.params)
        elif operation.name == "u" and list(operation.params) == [0, 0, 0]:
            # The reader has no other form of `id`, which devices have where they have no `u`.
            operation = IGate()
        result.append(operation, instruction.qubits, instruction.clbits)
    return result


def _is_defined(instruction: CircuitInstruction) -> bool:
    return isinstance(instruction.operation, Gate) and not instruction.is_standard_gate()


def _agrees(gate: Gate) -> bool:
    """Whether a gate does what Qiskit's gate of that name does, up to a phase; unknown angles are tried out."""
    known = _standard_gates().get(gate.name)
    if known is None or (known.num_qubits, len(known.params)) != (gate.num_qubits, len(gate.params)):
        return False
    if gate.num_qubits > _MAX_QUBITS:
        return False
    free = sorted(gate.definition.parameters, key=lambda parameter: str(parameter.name))
    for seed in range(2 if free else 1):
        values = dict(zip(free, np.random.default_rng(seed).uniform(0, np.pi, len(free)).tolist(), strict=True))
        angles = [_bound(angle, values) for angle in gate.params]
        if not Operator(_standard(gate.name, angles)).equiv(Operator(gate.definition.assign_parameters(values))):
            return False
    return True


def _bound(angle: Any, values: Mapping[Parameter, float]) -> float:  # noqa: ANN401 - a number or an expression
    if isinstance(angle, ParameterExpression):
        angle = angle.bind({parameter: values[parameter] for parameter in angle.parameters & values.keys()})
    return float(angle)


def _standard(name: str, angles: list[Any]) -> Gate:
    gate = _standard_gates()[name].to_mutable()
    gate.params = list(angles)
    return gate


@cache
def _standard_gates() -> dict[str, Gate]:
    return {name: gate for name, gate in get_standard_gate_name_mapping().items() if isinstance(gate, Gate)}
