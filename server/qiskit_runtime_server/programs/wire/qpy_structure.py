"""Walks through a QPY file before Qiskit reads it: counts and lengths are held against the bytes that are there.

Qiskit's reader is written in Rust. It takes the memory that a number in the file announces before it looks for what
should fill it, and where there is none, Rust ends the process; no exception tells the worker. So what a file announces
is added up here first, in circuits inside of circuits (bodies of control flow, definitions of gates) as well.

The layout is that of Qiskit's module `qiskit.qpy` in versions 13 to 18, with the names that are used there. Nothing is
built: a walk takes the time of a pass through the instructions, and no memory.
"""

import struct
from collections.abc import Callable, Mapping
from typing import Any, Final

from qiskit_runtime_server.programs.wire.npy import check_array

MAX_BITS: Final = 100_000
"""Of a kind in a circuit, in a register, of an integer's width; and elements of a vector of parameters."""
VERSION_WITH_ANNOTATIONS: Final = 15
VERSION_WITH_OBSERVABLES: Final = 17
VERSION_WITH_VECTOR_TABLE: Final = 18
"""It also changed registers, and dropped calibrations."""
MAX_NESTED: Final = 400
"""Payloads within payloads: Qiskit's reader goes down to 100 circuits, and each lies within some."""

_HEADER: Final = struct.Struct("!HcHIIQIQI")
_REGISTER: Final = struct.Struct("!c?IH?")
_VARIABLE: Final = struct.Struct("!16scH")
_ANNOTATION_STATE: Final = struct.Struct("!IQ")
_ANNOTATION: Final = struct.Struct("!IQ")
_VECTOR: Final = struct.Struct("!HQ16s")
_VECTOR_ELEMENT: Final = struct.Struct("!HQ16sQ")
_CUSTOM: Final = struct.Struct("!HcII?QIIQ")
_INSTRUCTION: Final = struct.Struct("!HHHIIBHqII")
_VALUE: Final = struct.Struct("!cQ")
_MODIFIER: Final = struct.Struct("!cIId")
MAP_ITEM: Final = struct.Struct("!HcH")
_EVOLUTION: Final = struct.Struct("!Q?cQQ")
_OBSERVABLE: Final = struct.Struct("!IQQQQ")
EXPRESSION: Final = struct.Struct("!QQ")
SYMBOL: Final = struct.Struct("!ccQ")
OPERATION: Final = struct.Struct("!Bc16sc16s")
_LAYOUT: Final = struct.Struct("!?iiiIi")
_BYTE: Final = struct.Struct("!B")
_SHORT: Final = struct.Struct("!H")
_INT: Final = struct.Struct("!I")
_SIGNED: Final = struct.Struct("!i")
_LONG: Final = struct.Struct("!Q")

_HAS_ANNOTATIONS: Final = 0x80
_CONDITION: Final = 0b11
_CONDITION_IS_EXPRESSION: Final = 2
# Values without any length in them.
_PLAIN: Final = frozenset(b"ifcdRszr")
# What follows the type of an operation before its operands, and how many of these there are.
_OPERANDS: Final = {b"c": (1, 1), b"u": (1, 1), b"b": (1, 2), b"i": (0, 2)}


def check_structure(
    data: bytes,
    version: int,
    start: int,
    charge: Callable[[int], None],
    expressions: list[tuple[int, int]] | None = None,
) -> int:
    """Walk through the circuit at `start`.

    Args:
        data: The whole file.
        version: Of QPY, 13 to 18.
        start: Where the circuit begins.
        charge: Is told of bits (and parameters of vectors) that the file announces without a byte for each; raises
            ValueError if they become too many.
        expressions: Where each expression of parameters begins and ends is added to it.

    Returns:
        Where the circuit ends.

    Raises:
        ValueError: If something in the circuit is longer than the data, or larger than the limits above.
    """
    walk = _Walk(data, version, charge, [] if expressions is None else expressions)
    walk.place = start
    walk.circuit()
    return walk.place


class _Walk:
    """A place in a file, and where the payload ends that it is in.

    Attributes:
        place: The next byte.
    """

    def __init__(
        self, data: bytes, version: int, charge: Callable[[int], None], expressions: list[tuple[int, int]]
    ) -> None:
        self.place = 0
        self._expressions = expressions
        self._data = data
        self._end = len(data)
        self._version = version
        self._charge = charge
        self._depth = 0
        self._known: set[tuple[int, int]] = set()

    def circuit(self) -> None:
        """Pass a circuit."""
        name, _, phase, num_qubits, num_clbits, metadata, registers, instructions, variables = self._unpack(_HEADER)
        if max(num_qubits, num_clbits) > MAX_BITS:
            raise ValueError(f"{num_qubits} qubits and {num_clbits} classical bits; at most {MAX_BITS} are accepted.")
        self._charge(num_qubits + num_clbits)
        self._skip(name + phase)
        self._skip(metadata)
        for _ in self._times(registers, _REGISTER.size):
            self._register()
        for _ in self._times(variables, _VARIABLE.size):
            self._variable()
        if self._version >= VERSION_WITH_ANNOTATIONS:
            self._annotation_states()
        if self._version >= VERSION_WITH_VECTOR_TABLE:
            self._vectors()
        for _ in self._times(self._number(_LONG), _CUSTOM.size):
            self._custom_instruction()
        for _ in self._times(instructions, _INSTRUCTION.size):
            self._instruction()
        if self._version < VERSION_WITH_VECTOR_TABLE and self._number(_SHORT):
            raise ValueError("calibrations of pulses are not supported.")
        self._layout()

    def _register(self) -> None:
        _, _, size, name, _ = self._unpack(_REGISTER)
        self._announced(size)
        if self._version < VERSION_WITH_VECTOR_TABLE:
            self._skip(name + 8 * size)
        else:
            # Of a register whose bits follow each other in the circuit, only the first one's place is given.
            follow = self._number(_BYTE) == 1
            self._skip(name + 4 * (1 if follow else size))

    def _variable(self) -> None:
        _, _, name = self._unpack(_VARIABLE)
        self._type()
        self._skip(name)

    def _annotation_states(self) -> None:
        for _ in self._times(self._number(_INT), _ANNOTATION_STATE.size):
            namespace, state = self._unpack(_ANNOTATION_STATE)
            self._skip(namespace)
            self._skip(state)

    def _vectors(self) -> None:
        for _ in self._times(self._number(_SHORT), _VECTOR.size):
            name, size, _ = self._unpack(_VECTOR)
            self._announced(size)
            self._skip(name)

    def _custom_instruction(self) -> None:
        name, _, num_qubits, num_clbits, defined, size, num_controls, _, base = self._unpack(_CUSTOM)
        self._announced(num_qubits + num_clbits + num_controls)
        is_evolution = self._data[self.place : self.place + name].startswith(b"###PauliEvolutionGate_")
        self._skip(name)
        if defined:
            self._within(size, self._evolution if is_evolution else self.circuit)
        else:
            self._skip(size)
        if base:
            # What a controlled gate controls is an instruction without the list of its bits.
            self._within(base, lambda: self._instruction(argument_bytes=0))

    def _instruction(self, argument_bytes: int = 5) -> None:
        name, label, values, num_qubits, num_clbits, extras, register, _, num_controls, _ = self._unpack(_INSTRUCTION)
        self._announced(num_controls)
        self._skip(name + label + register)
        if extras & _CONDITION == _CONDITION_IS_EXPRESSION:
            self._value()
        self._skip(argument_bytes * (num_qubits + num_clbits))
        for _ in range(values):
            self._value()
        if extras & _HAS_ANNOTATIONS:
            for _ in self._times(self._number(_INT), _ANNOTATION.size):
                _, size = self._unpack(_ANNOTATION)
                self._skip(size)

    def _value(self) -> None:
        kind, size = self._unpack(_VALUE)
        self._typed(kind, size)

    def _typed(self, kind: bytes, size: int) -> None:
        """Pass the `size` bytes of a value of that kind."""
        if kind[0] in _PLAIN:
            self._skip(size)
        elif kind in _READERS:
            self._within(size, lambda: _READERS[kind](self))
        else:
            raise ValueError(f"a value of the unknown kind {kind!r}.")

    def _sequence(self) -> None:
        for _ in self._times(self._number(_LONG), _VALUE.size):
            self._value()

    def _modifier(self) -> None:
        _, num_controls, _, _ = self._unpack(_MODIFIER)
        self._announced(num_controls)

    def _parameter(self) -> None:
        name = self._number(_SHORT)
        self._skip(16 + name)

    def _vector_element(self) -> None:
        if self._version >= VERSION_WITH_VECTOR_TABLE:
            self._skip(_SHORT.size + _LONG.size)
            return
        name, size, uuid, index = self._unpack(_VECTOR_ELEMENT)
        # Elements repeat what their vector is; the first one has the vector's own id, the next one the next.
        vector = (int.from_bytes(uuid, "big") - index, size)
        if vector not in self._known:
            self._known.add(vector)
            self._announced(size)
        self._skip(name)

    def _array(self) -> None:
        check_array(self._data[self.place : self._end])
        self.place = self._end

    def _parameter_expression(self) -> None:
        start = self.place
        symbols, size = self._unpack(EXPRESSION)
        self._within(size, self._operations)
        for _ in self._times(symbols, SYMBOL.size):
            key, kind, value = self._unpack(SYMBOL)
            _SYMBOLS[key](self)
            if value:
                self._typed(kind, value)
        self._expressions.append((start, self.place))

    def _operations(self) -> None:
        while self.place < self._end:
            _, kind, operand, _, _ = self._unpack(OPERATION)
            if kind == b"u":
                # The operand is the size of the table of what is substituted.
                self._within(_LONG.unpack(operand[:8])[0], self._mapping)

    def _mapping(self) -> None:
        for _ in self._times(self._number(_LONG), MAP_ITEM.size):
            key, kind, size = self._unpack(MAP_ITEM)
            self._skip(key)
            self._typed(kind, size)

    def _evolution(self) -> None:
        operators, _, _, time, synthesis = self._unpack(_EVOLUTION)
        for _ in self._times(operators, _LONG.size):
            if self._version >= VERSION_WITH_OBSERVABLES and self._number(_BYTE):
                self._observable()
            else:
                self._within(self._number(_LONG), self._array)
        self._skip(time)
        self._skip(synthesis)

    def _observable(self) -> None:
        num_qubits, coefficients, terms, indices, boundaries = self._unpack(_OBSERVABLE)
        self._announced(num_qubits)
        # These are bytes, whatever the description of the format says.
        self._skip(coefficients + terms + indices + boundaries)

    def _expression(self) -> None:
        """Pass a classical expression."""
        kind = self._character()
        self._type()
        if kind == b"x":
            self._variable_of_expression()
        elif kind == b"v":
            self._literal()
        elif kind == b"s":
            self._skip(_SHORT.size)
        elif kind in _OPERANDS:
            extra, operands = _OPERANDS[kind]
            self._skip(extra)
            for _ in range(operands):
                self._deeper(self._expression)
        else:
            raise ValueError(f"an expression of the unknown kind {kind!r}.")

    def _variable_of_expression(self) -> None:
        kind = self._character()
        if kind == b"R":
            self._skip(self._number(_SHORT))
        else:
            self._skip(_SHORT.size if kind == b"U" else _INT.size)

    def _literal(self) -> None:
        kind = self._character()
        if kind == b"i":
            self._skip(self._number(_BYTE))
        else:
            # A duration has its unit in front.
            self._skip({b"b": 1, b"f": 8, b"t": 9}.get(kind, 0))

    def _type(self) -> None:
        if self._character() == b"u":
            self._announced(self._number(_INT))

    def _layout(self) -> None:
        exists, initial, mapped, final, registers, _ = self._unpack(_LAYOUT)
        if not exists:
            return
        for _ in self._times(registers, _REGISTER.size):
            self._register()
        for _ in self._times(max(initial, 0), _INT.size):
            index = self._number(_SIGNED)
            if index >= 0 or self._version < VERSION_WITH_VECTOR_TABLE:
                self._skip(max(self._number(_SIGNED), 0))
        self._skip(_INT.size * max(mapped, 0))
        self._skip(_INT.size * max(final, 0))

    def _announced(self, bits: int) -> None:
        if bits > MAX_BITS:
            raise ValueError(f"{bits} bits are announced at one place; at most {MAX_BITS} are accepted.")
        self._charge(bits)

    def _times(self, number: int, least: int) -> range:
        """Return a range of `number` things if there is room for them, which take `least` bytes each."""
        if number * least > self._end - self.place:
            raise ValueError(f"{number} entries are announced, and {self._end - self.place} bytes follow.")
        return range(number)

    def _skip(self, size: int) -> None:
        self.place += size
        if self.place > self._end:
            raise ValueError("a part of it is announced to be longer than the data that follows.")

    def _unpack(self, form: struct.Struct) -> tuple[Any, ...]:
        place = self.place
        self._skip(form.size)
        return form.unpack_from(self._data, place)

    def _character(self) -> bytes:
        place = self.place
        self._skip(1)
        return self._data[place : place + 1]

    def _number(self, form: struct.Struct) -> int:
        number: int = self._unpack(form)[0]
        return number

    def _within(self, size: int, read: Callable[[], None]) -> None:
        """Pass a payload of `size` bytes."""
        outer, start = self._end, self.place
        self._skip(size)
        self._end, self.place = self.place, start
        self._deeper(read)
        self.place, self._end = self._end, outer

    def _deeper(self, read: Callable[[], None]) -> None:
        self._depth += 1
        if self._depth > MAX_NESTED:
            raise ValueError(f"it is nested deeper than {MAX_NESTED} levels.")
        read()
        self._depth -= 1


_READERS: Final[Mapping[bytes, Callable[[_Walk], None]]] = {
    b"e": _Walk._parameter_expression,
    b"m": _Walk._modifier,
    b"n": _Walk._array,
    b"p": _Walk._parameter,
    b"q": _Walk.circuit,
    b"t": _Walk._sequence,
    b"v": _Walk._vector_element,
    b"x": _Walk._expression,
}
# The keys in a table of symbols.
_SYMBOLS: Final[Mapping[bytes, Callable[[_Walk], None]]] = {
    b"e": _Walk._parameter_expression,
    b"p": _Walk._parameter,
    b"v": _Walk._vector_element,
}
