"""Random programs whose outcome is certain once some first bits are: as circuits, and worked out without any of them.

Every program begins with coins, which are measured into bits of their own that nothing writes to later. All gates are
permutations of basis states, so what happens after the coins can be followed in a list of bits.
"""

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from qiskit import ClassicalRegister, QuantumCircuit, QuantumRegister
from qiskit.circuit import Clbit, Parameter
from qiskit.circuit.classical import expr, types

COINS = 2
QUBITS = 3
"""Without those of the coins, which come first."""
WIDTHS = (3, 2)
"""Of the registers after that of the coins; a bit without a register comes last."""
MOST_STEPS = 300
BITS = COINS + sum(WIDTHS) + 1
REGISTERS = ((0, 2), (2, 3), (5, 2))
"""Where each register begins, and its width."""


class Undefined(Exception):  # noqa: N818 - no mistake, but a property of programs
    """A value that there is none of: a division by zero, or a bit that an integer does not have."""


class TooLong(Exception):  # noqa: N818 - as above
    """The program takes more steps than one wants to wait for; it may never end."""


Bits = list[bool]
Write = Callable[..., expr.Expr]
"""Makes an expression of its operands."""


@dataclass(frozen=True)
class Value:
    """An expression.

    Attributes:
        width: Of an unsigned integer; 0 for a truth value.
        of: Works it out for classical bits.
        written: Writes it for a circuit.
    """

    width: int
    of: Callable[[Bits], int]
    written: Callable[[QuantumCircuit], Any]


class Values:
    """Draws expressions."""

    def __init__(self, random_: random.Random, widths: Sequence[int] = (1, 2, 3, 5)) -> None:
        self._random = random_
        self._widths = widths

    def truth(self, depth: int = 2) -> Value:
        kinds: list[Callable[[int], Value]] = [self._bit]
        if depth:
            kinds += [self._bit, self._logic, self._not, self._compared, self._indexed, self._cast_to_truth]
        return self._random.choice(kinds)(depth - 1)

    def integer(self, width: int, depth: int = 2) -> Value:
        kinds = [self._literal, self._cast]
        if any(size == width for _, size in REGISTERS):
            kinds += [self._register] * 3
        if depth:
            kinds += [self._arithmetic, self._arithmetic, self._shifted, self._inverted, self._cast]
        return self._random.choice(kinds)(width, depth - 1)

    def any_integer(self, depth: int = 2) -> Value:
        return self.integer(self._random.choice(self._widths), depth)

    def _bit(self, _depth: int) -> Value:
        place = self._random.randrange(BITS)
        return Value(0, lambda bits: bits[place], lambda circuit: expr.lift(circuit.clbits[place]))

    def _logic(self, depth: int) -> Value:
        left, right = self.truth(depth), self.truth(depth)
        write, of = self._random.choice(
            [
                (expr.logic_and, lambda bits: left.of(bits) and right.of(bits)),
                (expr.logic_or, lambda bits: left.of(bits) or right.of(bits)),
                (expr.bit_and, lambda bits: left.of(bits) & right.of(bits)),
                (expr.bit_or, lambda bits: left.of(bits) | right.of(bits)),
                (expr.bit_xor, lambda bits: left.of(bits) ^ right.of(bits)),
                (expr.equal, lambda bits: left.of(bits) == right.of(bits)),
                (expr.not_equal, lambda bits: left.of(bits) != right.of(bits)),
            ]
        )
        return Value(0, of, lambda circuit: write(left.written(circuit), right.written(circuit)))

    def _not(self, depth: int) -> Value:
        inner = self.truth(depth)
        write = self._random.choice([expr.logic_not, expr.bit_not])
        return Value(0, lambda bits: not inner.of(bits), lambda circuit: write(inner.written(circuit)))

    def _compared(self, depth: int) -> Value:
        left, right = self.any_integer(depth), self.any_integer(depth)
        comparisons: list[tuple[Write, Callable[[int, int], bool]]] = [
            (expr.equal, lambda x, y: x == y),
            (expr.not_equal, lambda x, y: x != y),
            (expr.less, lambda x, y: x < y),
            (expr.less_equal, lambda x, y: x <= y),
            (expr.greater, lambda x, y: x > y),
            (expr.greater_equal, lambda x, y: x >= y),
        ]
        write, compare = self._random.choice(comparisons)
        return Value(
            0,
            lambda bits: compare(left.of(bits), right.of(bits)),
            lambda circuit: write(left.written(circuit), right.written(circuit)),
        )

    def _indexed(self, depth: int) -> Value:
        target, index = self.any_integer(depth), self.any_integer(depth)

        def of(bits: Bits) -> int:
            number, place = target.of(bits), index.of(bits)
            if place >= target.width:
                raise Undefined
            return bool(number >> place & 1)

        return Value(0, of, lambda circuit: expr.index(target.written(circuit), index.written(circuit)))

    def _cast_to_truth(self, depth: int) -> Value:
        inner = self.any_integer(depth)
        return Value(
            0, lambda bits: inner.of(bits) > 0, lambda circuit: expr.cast(inner.written(circuit), types.Bool())
        )

    def _literal(self, width: int, _depth: int) -> Value:
        number = self._random.randrange(1 << min(width, 62)) << max(0, self._random.randrange(width) - 61)
        return Value(width, lambda _: number, lambda _: expr.lift(number, types.Uint(width)))

    def _register(self, width: int, _depth: int) -> Value:
        number = self._random.choice([number for number, (_, size) in enumerate(REGISTERS) if size == width])
        start = REGISTERS[number][0]
        return Value(
            width,
            lambda bits: sum(bits[start + place] << place for place in range(width)),
            lambda circuit: expr.lift(circuit.cregs[number]),
        )

    def _cast(self, width: int, depth: int) -> Value:
        if self._random.random() < 0.3:
            truth = self.truth(max(depth, 0))
            return Value(
                width,
                lambda bits: int(truth.of(bits)),
                lambda circuit: expr.cast(truth.written(circuit), types.Uint(width)),
            )
        _, size = self._random.choice(REGISTERS)
        inner = self._register(size, 0) if depth <= 0 else self.any_integer(depth)
        return Value(
            width,
            lambda bits: inner.of(bits) % (1 << width),
            lambda circuit: expr.cast(inner.written(circuit), types.Uint(width)),
        )

    def _arithmetic(self, width: int, depth: int) -> Value:
        left, right = self.integer(width, depth), self.integer(width, depth)

        def divided(x: int, y: int) -> int:
            if y == 0:
                raise Undefined
            return x // y

        operations: list[tuple[Write, Callable[[int, int], int]]] = [
            (expr.add, lambda x, y: x + y),
            (expr.sub, lambda x, y: x - y),
            (expr.mul, lambda x, y: x * y),
            (expr.div, divided),
            (expr.bit_and, lambda x, y: x & y),
            (expr.bit_or, lambda x, y: x | y),
            (expr.bit_xor, lambda x, y: x ^ y),
        ]
        write, compute = self._random.choice(operations)
        return Value(
            width,
            lambda bits: compute(left.of(bits), right.of(bits)) % (1 << width),
            lambda circuit: write(left.written(circuit), right.written(circuit)),
        )

    def _shifted(self, width: int, depth: int) -> Value:
        left, right = self.integer(width, depth), self.any_integer(depth)

        def of(bits: Bits) -> int:
            number, places = left.of(bits), right.of(bits)
            if places >= width:
                return 0
            return (number << places) % (1 << width) if leftwards else number >> places

        leftwards = self._random.random() < 0.5
        write = expr.shift_left if leftwards else expr.shift_right
        return Value(width, of, lambda circuit: write(left.written(circuit), right.written(circuit)))

    def _inverted(self, width: int, depth: int) -> Value:
        inner = self.integer(width, depth)
        return Value(
            width, lambda bits: ~inner.of(bits) % (1 << width), lambda circuit: expr.bit_not(inner.written(circuit))
        )


class Jump(Exception):  # noqa: N818 - how Python leaves a loop from the inside of calls
    """The end of a round."""


class Leave(Jump):
    """The end of a loop."""


@dataclass
class Run:
    """What a program does, followed bit by bit."""

    qubits: Bits
    bits: Bits
    left: int = MOST_STEPS

    def count(self) -> None:
        self.left -= 1
        if self.left < 0:
            raise TooLong


@dataclass(frozen=True)
class Statement:
    """Something that a program does: on a circuit, and followed; `index` is that of the loop around it."""

    written: Callable[[QuantumCircuit, Any], None]
    run: Callable[[Run, int], None]


Block = Sequence[Statement]


def write(block: Block, circuit: QuantumCircuit, index: Any = 0) -> None:  # noqa: ANN401 - a number or a parameter
    for statement in block:
        statement.written(circuit, index)


def follow(block: Block, run: Run, index: int = 0) -> None:
    for statement in block:
        run.count()
        statement.run(run, index)


@dataclass
class Programs:
    """Draws programs."""

    random: random.Random
    values: Values = field(init=False)

    def __post_init__(self) -> None:
        self.values = Values(self.random)

    def block(self, depth: int, *, loop: bool, least: int = 0) -> Block:
        return [self.statement(depth, loop=loop) for _ in range(self.random.randint(least, 4))]

    def statement(self, depth: int, *, loop: bool) -> Statement:
        kinds: list[Callable[[], Statement]] = [self.gate, self.measurement, self.gate, self.measurement, self.store]
        if loop:
            kinds += [self.jump] * 3
        if depth:
            nested = (self.choice, self.choice, self.switch, self.while_loop, self.for_loop, self.box)
            kinds += [partial(make, depth - 1, loop=loop) for make in (*nested, *nested)]
        return self.random.choice(kinds)()

    def _qubit(self) -> int:
        return COINS + self.random.randrange(QUBITS)

    def gate(self) -> Statement:
        one, other = self.random.sample(range(COINS + QUBITS), 2)
        qubit = self._qubit()
        other = other if other >= COINS else qubit
        kind = self.random.choice(["x", "cx", "reset", "index"])
        if kind == "cx" and one == other:
            kind = "x"

        def written(circuit: QuantumCircuit, index: int | Parameter) -> None:
            if kind == "x":
                circuit.x(qubit)
            elif kind == "cx":
                circuit.cx(one, other)
            elif kind == "reset":
                circuit.reset(qubit)
            else:
                circuit.rx(index * np.pi, qubit)

        def run(state: Run, index: int) -> None:
            if kind == "x":
                state.qubits[qubit] ^= True
            elif kind == "cx":
                state.qubits[other] ^= state.qubits[one]
            elif kind == "reset":
                state.qubits[qubit] = False
            else:
                state.qubits[qubit] ^= bool(index % 2)

        return Statement(written, run)

    def measurement(self) -> Statement:
        qubit, place = self.random.randrange(COINS + QUBITS), self.random.randrange(COINS, BITS)

        def run(state: Run, _: int) -> None:
            state.bits[place] = state.qubits[qubit]

        return Statement(lambda circuit, _: circuit.measure(qubit, place), run)

    def store(self) -> Statement:
        kind = self.random.choice(["bit", "register", "index"])
        number = self.random.randrange(1, len(REGISTERS))
        start, width = REGISTERS[number]
        place = self.random.randrange(COINS, BITS)
        value = self.values.integer(width) if kind == "register" else self.values.truth()
        index = self.values.any_integer(1)

        def written(circuit: QuantumCircuit, _: object) -> None:
            target: Any = circuit.clbits[place]
            if kind == "register":
                target = circuit.cregs[number]
            elif kind == "index":
                target = expr.index(circuit.cregs[number], index.written(circuit))
            circuit.store(target, value.written(circuit))

        def run(state: Run, _: int) -> None:
            if kind == "bit":
                state.bits[place] = bool(value.of(state.bits))
            elif kind == "register":
                new = value.of(state.bits)
                state.bits[start : start + width] = [bool(new >> i & 1) for i in range(width)]
            else:
                which = index.of(state.bits)
                if which >= width:
                    raise Undefined
                state.bits[start + which] = bool(value.of(state.bits))

        return Statement(written, run)

    def jump(self) -> Statement:
        leaves = self.random.random() < 0.5

        def run(_state: Run, _index: int) -> None:
            raise Leave if leaves else Jump

        return Statement(lambda circuit, _: circuit.break_loop() if leaves else circuit.continue_loop(), run)

    def condition(self) -> Value:
        """Draw a condition in one of the three forms that circuits have for it."""
        form = self.random.choice(["bit", "register", "expression", "expression"])
        if form == "bit":
            place, wanted = self.random.randrange(BITS), self.random.random() < 0.5
            return Value(0, lambda bits: bits[place] == wanted, lambda circuit: (circuit.clbits[place], wanted))
        if form == "register":
            number, (start, width) = self.random.choice(list(enumerate(REGISTERS)))
            value = self.random.randrange(1 << width)
            return Value(
                0,
                lambda bits: sum(bits[start + i] << i for i in range(width)) == value,
                lambda circuit: (circuit.cregs[number], value),
            )
        return self.values.truth()

    def choice(self, depth: int, *, loop: bool) -> Statement:
        condition, first = self.condition(), self.block(depth, loop=loop)
        second = self.block(depth, loop=loop) if self.random.random() < 0.5 else None

        def written(circuit: QuantumCircuit, index: object) -> None:
            with circuit.if_test(condition.written(circuit)) as otherwise:
                write(first, circuit, index)
            if second is not None:
                with otherwise:
                    write(second, circuit, index)

        def run(state: Run, index: int) -> None:
            follow(first if condition.of(state.bits) else second or (), state, index)

        return Statement(written, run)

    def switch(self, depth: int, *, loop: bool) -> Statement:
        width = self.random.choice((1, 2, 3))
        target = self.values.integer(width)
        numbers = list(range(1 << width))
        self.random.shuffle(numbers)
        sizes = [self.random.randint(1, 2) for _ in range(self.random.randint(1, 2))]
        cases = [
            ([numbers.pop() for _ in range(size) if numbers], self.block(depth, loop=loop)) for size in sizes if numbers
        ]
        cases = [case for case in cases if case[0]]
        default = self.block(depth, loop=loop) if self.random.random() < 0.5 else None

        def written(circuit: QuantumCircuit, index: object) -> None:
            with circuit.switch(target.written(circuit)) as case:
                for values, body in cases:
                    with case(*values):
                        write(body, circuit, index)
                if default is not None:
                    with case(case.DEFAULT):
                        write(default, circuit, index)

        def run(state: Run, index: int) -> None:
            value = target.of(state.bits)
            chosen = next((body for values, body in cases if value in values), default)
            follow(chosen or (), state, index)

        return Statement(written, run)

    def while_loop(self, depth: int, *, loop: bool) -> Statement:
        condition, body = self.condition(), self.block(depth, loop=True, least=1)

        def written(circuit: QuantumCircuit, index: object) -> None:
            with circuit.while_loop(condition.written(circuit)):
                write(body, circuit, index)

        def run(state: Run, index: int) -> None:
            while condition.of(state.bits):
                state.count()
                try:
                    follow(body, state, index)
                except Leave:
                    break
                except Jump:
                    continue

        return Statement(written, run)

    def for_loop(self, depth: int, *, loop: bool) -> Statement:
        indices = [self.random.randrange(4) for _ in range(self.random.randrange(4))]
        body = self.block(depth, loop=True)
        named = self.random.random() < 0.5

        def written(circuit: QuantumCircuit, index: object) -> None:
            parameter = Parameter(f"i{self.random.getrandbits(60)}") if named else None
            with circuit.for_loop(indices, parameter):
                write(body, circuit, parameter if named else index)

        def run(state: Run, index: int) -> None:
            for number in indices:
                state.count()
                try:
                    follow(body, state, number if named else index)
                except Leave:
                    break
                except Jump:
                    continue

        return Statement(written, run)

    def box(self, depth: int, *, loop: bool) -> Statement:
        body = self.block(depth, loop=False)

        def written(circuit: QuantumCircuit, index: object) -> None:
            with circuit.box():
                write(body, circuit, index)

        return Statement(written, lambda state, index: follow(body, state, index))


def circuit_of(program: Block) -> QuantumCircuit:
    """Return the coins, the program, and measurements of all qubits but the coins' that leave their results in bits."""
    registers = [ClassicalRegister(width, f"c{number}") for number, (_, width) in enumerate(REGISTERS)]
    circuit = QuantumCircuit(QuantumRegister(COINS + QUBITS, "q"), *registers, [Clbit()])
    circuit.h(range(COINS))
    circuit.measure(range(COINS), range(COINS))
    write(program, circuit)
    return circuit


def outcome(program: Block, coins: Sequence[bool]) -> Bits:
    """Return the classical bits at the end.

    Raises:
        Undefined, TooLong: See there.
    """
    state = Run([*coins, *(False,) * QUBITS], [*coins, *(False,) * (BITS - COINS)])
    follow(program, state)
    return state.bits
