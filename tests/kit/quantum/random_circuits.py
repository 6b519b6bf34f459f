"""Random circuits with everything that a user may write, on random devices, with random errors; a seed fixes all of it.

Each kind of thing that may be in a circuit is a `Feature`, so that a failing case can be drawn again with fewer of
them. Circuits are ISA circuits of their device as drawn, on up to six of its qubits; loops end with probability 1.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from enum import StrEnum, auto
from functools import cache, cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import (
    ClassicalRegister,
    Clbit,
    Delay,
    Instruction,
    Measure,
    Parameter,
    ParameterExpression,
    QuantumCircuit,
    QuantumRegister,
    Reset,
)
from qiskit.circuit.classical import expr, types
from qiskit.circuit.library import get_standard_gate_name_mapping
from qiskit.providers import BackendV2
from qiskit_ibm_runtime.fake_provider import (
    FakeFractionalBackend,
    FakeGuadalupeV2,
    FakeJakartaV2,
    FakeLondonV2,
    FakeManilaV2,
    FakeSherbrooke,
    FakeTorino,
)

from kit.quantum.exact_noise import Errors
from kit.quantum.exact_reference import distribution
from kit.quantum.random_noise import RandomNoise, user_noise

T = TypeVar("T")

IDEAL = "statevector_simulator"
MAX_QUBITS = 6
MAX_BITS = 7

# With cx, ecr, cz, rzz and rx, and u1, u2, u3 that the server turns into rz, sx, x.
_DEVICES: Mapping[str, Callable[[], BackendV2]] = {
    "fake_manila": FakeManilaV2,
    "fake_jakarta": FakeJakartaV2,
    "fake_fractional": FakeFractionalBackend,
    "fake_london": FakeLondonV2,
    "fake_guadalupe": FakeGuadalupeV2,
    "fake_torino": FakeTorino,
    "fake_sherbrooke": FakeSherbrooke,
}
_IDEAL_GATES = (
    "id", "x", "y", "z", "h", "s", "sdg", "t", "tdg", "sx", "sxdg", "rz", "cx", "cy", "cz", "swap", "rx", "cp", "crx",
    "cry", "crz",
)  # fmt: skip
_IDEAL_CONTROL_FLOW = frozenset({"if_else", "for_loop", "while_loop", "switch_case"})
_STANDARD = get_standard_gate_name_mapping()
_UNITS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9, "ps": 1e12}


class Feature(StrEnum):
    """What may be in a circuit beside gates and final measurements."""

    DELAYS = auto()
    RESETS = auto()
    MIDDLE = auto()
    REPEATED_BITS = auto()
    REGISTERS = auto()
    IFS = auto()
    SWITCHES = auto()
    WHILES = auto()
    FORS = auto()
    JUMPS = auto()
    VARIABLES = auto()
    EXPRESSIONS = auto()
    ARITHMETIC = auto()
    STORES = auto()
    LABELS = auto()
    BOXES = auto()
    BARRIERS = auto()
    PARAMETERS = auto()


class NoiseKind(StrEnum):
    """Where a case's errors come from."""

    NONE = auto()
    DEVICE = auto()
    USER = auto()


@dataclass(frozen=True, kw_only=True)
class RandomCase:
    """A circuit, a device and errors.

    Attributes:
        device: Its name, as executors take it.
        circuit: Of the device; its qubits are the first ones of the device.
        values: Shape ``(rows, k)``, columns in the order of ``circuit.parameters``.
        noise: A model of a user's own, if there is one, and what the reference makes of it or of the device.
        qubits: Those that something happens to.
    """

    seed: int
    features: frozenset[Feature]
    kind: NoiseKind
    device: str
    circuit: QuantumCircuit
    values: NDArray[np.float64]
    noise: RandomNoise
    qubits: tuple[int, ...]

    def bound(self, row: int) -> QuantumCircuit:
        """Return the circuit with a row's values."""
        if not self.circuit.parameters:
            return self.circuit
        return self.circuit.assign_parameters(dict(zip(self.circuit.parameters, self.values[row], strict=True)))

    @cached_property
    def exact(self) -> Sequence[Mapping[int, float]]:
        """The probability of each content of the classical bits, for each row."""
        return [distribution(self.bound(row), self.noise.errors) for row in range(len(self.values))]

    def described(self) -> str:
        """Return all that is needed to look into the case."""
        features = ", ".join(sorted(self.features)) or "nothing but gates"
        return (
            f"seed {self.seed} on {self.device}, errors: {self.kind} {self.noise.description}\nfeatures: {features}\n"
            f"values: {self.values.tolist()}\n{drawn(self.circuit)}"
        )


def drawn(circuit: QuantumCircuit, indent: str = "") -> str:
    """Return the instructions of a circuit, blocks indented."""
    lines = []
    for instruction in circuit.data:
        operation = instruction.operation
        qubits = [circuit.find_bit(qubit).index for qubit in instruction.qubits]
        clbits = [circuit.find_bit(clbit).index for clbit in instruction.clbits]
        blocks: Sequence[QuantumCircuit] = getattr(operation, "blocks", ())
        params = [param for param in operation.params if not isinstance(param, QuantumCircuit | None)]
        label = f" label={operation.label}" if operation.label else ""
        condition = getattr(operation, "condition", getattr(operation, "target", ""))
        unit = operation.unit if isinstance(operation, Delay) else ""
        lines.append(f"{indent}{operation.name} {params or ''}{unit} {qubits} {clbits or ''}{label} {condition or ''}")
        for block in blocks:
            lines.append(f"{indent}  block:")
            lines.append(drawn(block, indent + "    "))
    return "\n".join(lines)


@cache
def backend(device: str) -> BackendV2:
    """Return the client library's copy of a device."""
    return _DEVICES[device]()


@cache
def device_errors(device: str, qubits: tuple[int, ...]) -> Errors:
    """Return the errors of some of a device's qubits, as its calibration has them."""
    return Errors.of_backend(backend(device), qubits)


def random_case(
    seed: int, features: frozenset[Feature] | None = None, kind: NoiseKind | None = None, *, measured: bool = True
) -> RandomCase:
    """Return the case of a seed.

    Args:
        seed: Fixes everything.
        features: What there may be; by default a random choice. A device that cannot do something has none of it.
        kind: By default a random one.
        measured: Whether qubits are measured at the end; if not, gates end the circuit and no measurement is final.
    """
    rng = np.random.default_rng([seed, int(measured)])
    if features is None:
        features = frozenset(feature for feature in Feature if rng.random() < _SHARES.get(feature, 0.5))
    kind = kind or NoiseKind(rng.choice(list(NoiseKind), p=[0.2, 0.35, 0.45]))
    device = _device(rng, kind)
    place = _place(rng, device)
    features = features & _possible(place)
    noise = RandomNoise()
    if kind is NoiseKind.DEVICE:
        noise = RandomNoise(errors=device_errors(device, place.qubits))
    elif kind is NoiseKind.USER:
        noise = user_noise(rng, place.gates, place.qubits, labels=Feature.LABELS in features)
    builder = _Builder(rng, features, place)
    circuit = builder.circuit_of(int(rng.integers(4, 13)), measured=measured)
    return RandomCase(
        seed=seed,
        features=features,
        kind=kind,
        device=device,
        circuit=circuit,
        values=builder.values(int(rng.integers(1, 4)) if circuit.parameters else 1),
        noise=noise,
        qubits=place.qubits,
    )


_SHARES = {Feature.ARITHMETIC: 0.12, Feature.WHILES: 0.35, Feature.BOXES: 0.3, Feature.SWITCHES: 0.4}


@dataclass(frozen=True, kw_only=True)
class _Place:
    """Where on a device a circuit is.

    Attributes:
        qubits: Connected ones, of the device.
        gates: The device's, by the qubits they act on.
        operations: All that the device can do.
        width: Of the circuit.
        has_dt: Whether delays may be in dt.
        ideal: Whether angles of rzz have no limits.
    """

    qubits: tuple[int, ...]
    gates: dict[str, tuple[tuple[int, ...], ...]]
    operations: frozenset[str]
    width: int
    has_dt: bool


def _device(rng: np.random.Generator, kind: NoiseKind) -> str:
    if kind is NoiseKind.NONE or (kind is NoiseKind.USER and rng.random() < 0.7):
        return IDEAL
    return str(rng.choice(list(_DEVICES)))


def _place(rng: np.random.Generator, device: str) -> _Place:
    if device == IDEAL:
        size = int(rng.integers(1, MAX_QUBITS + 1))
        qubits = tuple(range(size))
        pairs = tuple((i, j) for i in qubits for j in qubits if i != j)
        gates: dict[str, tuple[tuple[int, ...], ...]] = {
            n: pairs if _STANDARD[n].num_qubits == 2 else tuple((q,) for q in qubits) for n in _IDEAL_GATES
        }
        operations = frozenset({*_IDEAL_GATES, "measure", "reset", "delay"}) | _IDEAL_CONTROL_FLOW
        return _Place(qubits=qubits, gates=_usable(gates), operations=operations, width=size, has_dt=True)
    target = backend(device).target
    qubits = _connected(rng, backend(device))
    gates = {}
    # Some targets come out of sets.
    for name in sorted(target.operation_names):
        found = tuple(group for group in target[name] or () if group and set(group) <= set(qubits))
        gates[name] = tuple(sorted(found))
    # The server offers what these do as rz, sx and x.
    legacy = {"u1": "rz", "u2": "sx", "u3": "x"}
    renamed = {legacy.get(name, name): groups for name, groups in gates.items() if legacy.get(name, name) in _STANDARD}
    gates = {n: groups for n, groups in renamed.items() if n not in {"measure", "reset", "delay"}}
    operations = frozenset({*target.operation_names, *gates})
    width = int(rng.integers(max(qubits) + 1, min(target.num_qubits, max(qubits) + 3) + 1))
    return _Place(
        qubits=qubits, gates=_usable(gates), operations=operations, width=width, has_dt=backend(device).dt is not None
    )


def _usable(gates: dict[str, tuple[tuple[int, ...], ...]]) -> dict[str, tuple[tuple[int, ...], ...]]:
    return {name: groups for name, groups in gates.items() if groups}


def _connected(rng: np.random.Generator, device: BackendV2) -> tuple[int, ...]:
    """Return some qubits that the device connects, one after the other."""
    size = int(rng.integers(1, min(5, device.num_qubits) + 1))
    found = [int(rng.integers(device.num_qubits))]
    pairs = {frozenset(edge) for edge in device.coupling_map.get_edges()}
    while len(found) < size:
        near = sorted({q for pair in pairs if pair & set(found) for q in pair} - set(found))
        found.append(int(rng.choice(near)))
    return tuple(sorted(found))


def _possible(place: _Place) -> frozenset[Feature]:
    needs = {
        Feature.RESETS: "reset",
        Feature.DELAYS: "delay",
        Feature.IFS: "if_else",
        Feature.SWITCHES: "switch_case",
        Feature.WHILES: "while_loop",
        Feature.FORS: "for_loop",
    }
    return frozenset(f for f in Feature if f not in needs or needs[f] in place.operations)


@dataclass
class _Scope:
    """What the part that is being drawn may use.

    Attributes:
        depth: Of blocks around it.
        loop: The parameter of the loop around it, if it has one.
        breakable: Whether a loop is around it that may be left.
        kept_bits: Must not be written, for a loop's end hangs on them.
        in_while: Whether a while loop is around it.
    """

    depth: int = 0
    loop: Parameter | None = None
    breakable: bool = False
    kept_bits: frozenset[Clbit] = field(default_factory=frozenset)
    in_while: bool = False


class _Builder:
    """Draws one circuit."""

    def __init__(self, rng: np.random.Generator, features: frozenset[Feature], place: _Place) -> None:
        self._rng = rng
        self._features = features
        self._place = place
        self._scope = _Scope()
        self._variables: list[expr.Var] = []
        self._angles = [Parameter(f"angle_{i}") for i in range(3)]
        self._small_angle = Parameter("small")
        self._names = 0
        self._circuit = QuantumCircuit()

    def circuit_of(self, size: int, *, measured: bool) -> QuantumCircuit:
        self._circuit = self._empty()
        if self._has(Feature.VARIABLES):
            for _ in range(self._upto(3)):
                self._declare()
        for qubit in self._place.qubits:
            if self._chance(0.5):
                self._turn(qubit)
        self._part(size)
        if measured:
            self._measure_at_the_end()
        else:
            for qubit in self._place.qubits:
                self._turn(qubit)
        return self._circuit

    def values(self, rows: int) -> NDArray[np.float64]:
        """Return values for the parameters of the circuit, shape ``(rows, k)``."""
        small = [parameter == self._small_angle for parameter in self._circuit.parameters]
        table = self._rng.uniform(-4, 4, (rows, len(small)))
        table[:, small] = self._rng.uniform(0, np.pi / 2, (rows, sum(small)))
        return table

    # --- choices

    def _has(self, feature: Feature) -> bool:
        return feature in self._features

    def _chance(self, share: float) -> bool:
        return bool(self._rng.random() < share)

    def _upto(self, most: int) -> int:
        return int(self._rng.integers(1, most + 1))

    def _one(self, things: Sequence[T]) -> T:
        return things[int(self._rng.integers(len(things)))]

    # --- registers and variables

    def _empty(self) -> QuantumCircuit:
        """Return a circuit with qubits and classical bits: one register, or several, or some bits in none or in two."""
        circuit = QuantumCircuit(QuantumRegister(self._place.width, "q"))
        size = int(self._rng.integers(2, MAX_BITS + 1))
        if not self._has(Feature.REGISTERS):
            circuit.add_register(ClassicalRegister(size, "c"))
            return circuit
        first = self._upto(size - 1)
        circuit.add_register(ClassicalRegister(first, "a"))
        if self._chance(0.5):
            circuit.add_register(ClassicalRegister(size - first, "b"))
        else:
            circuit.add_bits([Clbit() for _ in range(size - first)])
        if self._chance(0.7):
            bits = [circuit.clbits[place] for place in self._rng.permutation(size)[: self._upto(size)]]
            circuit.add_register(ClassicalRegister(name="both", bits=bits))
        return circuit

    def _declare(self) -> None:
        self._names += 1
        name = f"v{self._names}"
        if self._chance(0.4):
            initial: expr.Expr = expr.Value(self._chance(0.5), types.Bool())
        else:
            width = self._upto(5)
            initial = expr.Value(int(self._rng.integers(2**width)), types.Uint(width))
        self._variables.append(self._circuit.add_var(name, initial))

    def _writable(self) -> list[Clbit]:
        return [clbit for clbit in self._circuit.clbits if clbit not in self._scope.kept_bits]

    # --- instructions

    def _part(self, size: int) -> None:
        for _ in range(size):
            self._one(self._steps())()

    def _steps(self) -> list[Callable[[], None]]:
        steps: list[Callable[[], None]] = [self._gate] * 5
        plain = {
            Feature.DELAYS: self._delay,
            Feature.RESETS: self._reset,
            Feature.MIDDLE: self._measure,
            Feature.BARRIERS: self._barrier,
            Feature.STORES: self._store,
            Feature.VARIABLES: self._assign,
        }
        blocks = {
            Feature.IFS: self._if,
            Feature.SWITCHES: self._switch,
            Feature.FORS: self._for,
            Feature.WHILES: self._while,
            Feature.BOXES: self._box,
        }
        steps += [step for feature, step in plain.items() if self._has(feature)]
        if self._scope.depth < 2:
            steps += [step for feature, step in blocks.items() if self._has(feature)]
        if self._has(Feature.MIDDLE) and self._has(Feature.IFS):
            steps.append(self._measure)
        return steps

    def _gate(self) -> None:
        pairs = [name for name, groups in self._place.gates.items() if len(groups[0]) == 2]
        singles = [name for name, groups in self._place.gates.items() if len(groups[0]) == 1]
        name = self._one(pairs if pairs and self._chance(0.45) else singles)
        self._append(self._named(name), self._one(self._place.gates[name]))

    def _turn(self, qubit: int) -> None:
        self._append(self._named("sx"), (qubit,))

    def _named(self, name: str) -> Instruction:
        gate = _STANDARD[name]
        return type(gate)(*(self._angle(name) for _ in gate.params)) if gate.params else gate.to_mutable()

    def _angle(self, name: str) -> float | ParameterExpression:
        if name == "rzz":
            # Devices take them from 0 to pi/2.
            bare = self._has(Feature.PARAMETERS) and self._chance(0.4)
            return self._small_angle if bare else float(self._rng.uniform(0, np.pi / 2))
        if self._scope.loop is not None and self._chance(0.6):
            angle = self._scope.loop * float(self._rng.uniform(0.2, 1.2))
            return angle + self._one(self._angles) if self._has(Feature.PARAMETERS) and self._chance(0.3) else angle
        if self._has(Feature.PARAMETERS) and self._chance(0.6):
            return self._expression()
        if self._chance(0.3):
            return float(self._rng.integers(-4, 5) * np.pi / 2)
        return float(self._rng.uniform(-2 * np.pi, 2 * np.pi))

    def _expression(self) -> ParameterExpression:
        one, other = self._one(self._angles), self._one(self._angles)
        return self._one([one, one, one + np.pi / 2, -one / 2, one + other, one * other, 2 * one - other, one.sin()])

    def _append(self, operation: Instruction, qubits: Sequence[int], clbits: Sequence[Clbit] = ()) -> None:
        if self._has(Feature.LABELS) and self._chance(0.4):
            operation = operation.to_mutable()
            # "mine" is what random models may name; nothing names the other.
            # Qiskit drops the label of a delay when values are put in.
            meant = [] if isinstance(operation, Delay) else ["mine" if len(qubits) == 1 else "mine_of_two"]
            operation.label = self._one(["drawn", *meant])
        self._circuit.append(operation, list(qubits), list(clbits))

    def _delay(self) -> None:
        seconds = float(self._rng.uniform(5e-6, 8e-5))
        unit = self._one([*_UNITS, "dt"] if self._place.has_dt else list(_UNITS))
        delay = Delay(int(seconds / 2.2e-10), "dt") if unit == "dt" else Delay(seconds * _UNITS[unit], unit)
        self._append(delay, (self._one(self._place.qubits),))

    def _reset(self) -> None:
        self._append(Reset(), (self._one(self._place.qubits),))

    def _barrier(self) -> None:
        self._circuit.barrier(*self._place.qubits)

    def _measure(self) -> None:
        bits = self._writable()
        if not self._has(Feature.REPEATED_BITS):
            bits = [bit for bit in bits if bit not in self._written_bits()] or bits[:1]
        if bits:
            self._append(Measure(), (self._one(self._place.qubits),), (self._one(bits),))

    def _written_bits(self) -> set[Clbit]:
        return {clbit for instruction in self._circuit.data for clbit in instruction.clbits}

    def _measure_at_the_end(self) -> None:
        """Measure most qubits, into different bits as long as there are any."""
        order = self._rng.permutation(self._place.qubits).tolist()
        bits = [self._circuit.clbits[place] for place in self._rng.permutation(self._circuit.num_clbits)]
        for qubit, bit in zip(order, bits, strict=False):
            if self._chance(0.85):
                self._append(Measure(), (qubit,), (bit,))

    # --- classical values

    def _store(self) -> None:
        bits, registers = self._writable(), self._registers(written=True)
        if registers and self._chance(0.3):
            register = self._one(registers)
            self._circuit.store(register, self._number(types.Uint(len(register))))
        elif bits:
            self._circuit.store(self._one(bits), self._flag())

    def _assign(self) -> None:
        if self._scope.depth and self._chance(0.15):
            self._declare()
            self._scope = replace(self._scope)
            return
        if not self._variables:
            return
        variable = self._one(self._variables)
        if isinstance(variable.type, types.Bool):
            self._circuit.store(variable, self._flag())
        elif self._has(Feature.ARITHMETIC) and self._chance(0.3):
            self._circuit.store(expr.index(variable, int(self._rng.integers(variable.type.width))), self._flag())
        else:
            self._circuit.store(variable, self._number(variable.type))

    def _registers(self, *, written: bool = False) -> list[ClassicalRegister]:
        kept = self._scope.kept_bits if written else frozenset()
        return [register for register in self._circuit.cregs if kept.isdisjoint(register)]

    def _flag(self, depth: int = 2) -> expr.Expr:
        """Return an expression of the type Bool."""
        flags = [variable for variable in self._variables if isinstance(variable.type, types.Bool)]
        leaf = self._one([*flags, *map(expr.lift, self._circuit.clbits), expr.Value(self._chance(0.5), types.Bool())])
        if not self._has(Feature.EXPRESSIONS) or depth == 0 or self._chance(0.3):
            return leaf
        kind = int(self._rng.integers(5))
        if kind == 0:
            return self._one([expr.logic_not, expr.bit_not])(self._flag(depth - 1))
        if kind in {1, 2}:
            pair = self._one([expr.logic_and, expr.logic_or, expr.bit_and, expr.bit_or, expr.bit_xor])
            return pair(self._flag(depth - 1), self._flag(depth - 1))
        if kind == 3 and self._registers():
            return expr.cast(self._number(None, depth - 1), types.Bool())
        return self._compared(depth - 1) if self._registers() else leaf

    def _compared(self, depth: int) -> expr.Expr:
        compare = self._one([expr.equal, expr.not_equal, expr.less, expr.less_equal, expr.greater, expr.greater_equal])
        number = self._number(None, depth)
        other = self._number(number.type, depth)
        return compare(number, other)

    def _number(self, kind: types.Type | None, depth: int = 1) -> expr.Expr:
        """Return an expression of the type Uint: of `kind`, or of any width."""
        kind = kind or self._one([types.Uint(len(register)) for register in self._registers()])
        fitting = [v for v in self._variables if v.type == kind]
        fitting += [expr.lift(register) for register in self._registers() if len(register) == kind.width]
        fitting.append(expr.Value(int(self._rng.integers(2**kind.width)), kind))
        leaf = self._one(fitting)
        if not self._has(Feature.EXPRESSIONS) or depth == 0 or self._chance(0.4):
            return leaf
        if self._has(Feature.ARITHMETIC):
            return self._calculated(kind, depth - 1)
        if self._chance(0.2):
            return expr.bit_not(leaf)
        return self._one([expr.bit_and, expr.bit_or, expr.bit_xor])(leaf, self._number(kind, depth - 1))

    def _calculated(self, kind: types.Type, depth: int) -> expr.Expr:
        left = self._number(kind, depth)
        places = int(self._rng.integers(kind.width + 1))
        choice = int(self._rng.integers(6))
        if choice == 0:
            return self._one([expr.shift_left, expr.shift_right])(left, expr.lift(places, types.Uint(3)))
        if choice == 1:
            return expr.div(left, expr.Value(int(self._rng.integers(1, 2**kind.width)), kind))
        if choice == 2:
            wide = self._one([v for v in self._variables if isinstance(v.type, types.Uint)] or [left])
            return expr.cast(wide, kind)
        return self._one([expr.add, expr.sub, expr.mul])(left, self._number(kind, depth))

    def _condition(self) -> expr.Expr | tuple[Clbit | ClassicalRegister, int]:
        registers = self._registers()
        if self._has(Feature.EXPRESSIONS) and self._chance(0.6):
            return self._flag()
        flags = [variable for variable in self._variables if isinstance(variable.type, types.Bool)]
        if flags and self._chance(0.3):
            return self._one(flags)
        if registers and self._chance(0.3):
            register = self._one(registers)
            return register, int(self._rng.integers(2 ** len(register)))
        return self._one(self._circuit.clbits), int(self._rng.integers(2))

    # --- blocks

    @contextmanager
    def _inside(self, **changes: Any) -> Iterator[None]:
        """Draw what is in a block; its variables end with it."""
        outer, variables = self._scope, list(self._variables)
        self._scope = replace(outer, depth=outer.depth + 1, **changes)
        yield
        self._scope, self._variables = outer, variables

    def _label(self) -> str | None:
        return "drawn" if self._has(Feature.LABELS) and self._chance(0.3) else None

    def _body(self, most: int = 3) -> None:
        self._part(self._upto(most))

    def _if(self) -> None:
        with self._circuit.if_test(self._condition(), label=self._label()) as otherwise, self._inside():
            self._body()
        if self._chance(0.5):
            with otherwise, self._inside():
                self._body()

    def _switch(self) -> None:
        registers = self._registers()
        target: Clbit | ClassicalRegister | expr.Expr = self._one(self._circuit.clbits)
        size = 1
        if registers and self._chance(0.7):
            register = self._one(registers)
            size = len(register)
            target = self._number(types.Uint(size)) if self._has(Feature.EXPRESSIONS) else register
        values = self._rng.permutation(2**size)[:4].tolist()
        with self._circuit.switch(target) as case:
            while values:
                taken, values = values[: self._upto(2)], values[2:]
                with case(*taken), self._inside():
                    self._body(2)
            if self._chance(0.5):
                with case(case.DEFAULT), self._inside():
                    self._body(2)

    def _for(self) -> None:
        self._names += 1
        parameter = Parameter(f"index_{self._names}") if self._chance(0.6) else None
        rounds = self._upto(3)
        indices = range(rounds) if self._chance(0.6) else tuple(self._rng.integers(-2, 4, rounds).tolist())
        with self._circuit.for_loop(indices, parameter), self._inside(loop=parameter, breakable=True):
            self._body()
            if self._has(Feature.JUMPS) and self._chance(0.6):
                self._jump()
                self._body(2)

    def _jump(self) -> None:
        with self._circuit.if_test(self._condition()), self._inside():
            self._gate()
            if self._chance(0.5):
                self._circuit.break_loop()
            else:
                self._circuit.continue_loop()

    def _while(self) -> None:
        """Draw a loop whose condition hangs on a bit that is drawn anew in each round, about half ones."""
        bits = self._writable()
        if self._scope.in_while or not bits:
            return self._gate()
        bit, qubit = self._one(bits), self._one(self._place.qubits)
        wanted = int(self._rng.integers(2))
        condition: expr.Expr | tuple[Clbit, int] = (bit, wanted)
        if self._has(Feature.EXPRESSIONS) and self._chance(0.5):
            own = expr.lift(bit) if wanted else expr.logic_not(bit)
            condition = expr.logic_and(own, self._flag(1)) if self._chance(0.5) else own
        with (
            self._circuit.while_loop(condition),
            self._inside(breakable=True, loop=None, kept_bits=self._scope.kept_bits | {bit}, in_while=True),
        ):
            self._append(Reset(), (qubit,))
            self._append(self._named("sx"), (qubit,))
            self._append(Measure(), (qubit,), (bit,))
            self._body(2)
            if self._has(Feature.JUMPS) and self._has(Feature.IFS) and self._chance(0.5):
                self._jump()
                self._body(2)
        return None

    def _box(self) -> None:
        with self._circuit.box(label=self._label()), self._inside(breakable=False):
            self._body()
