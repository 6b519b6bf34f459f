"""Random circuits of Clifford gates, angles included, with Pauli noise, mid-circuit measurements and resets."""

import math
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.circuit.classical import expr
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error, pauli_error

QUARTER = math.pi / 2

_ONE = ("h", "s", "sdg", "x", "y", "z", "sx", "sxdg", "id")
_TWO = ("cx", "cy", "cz", "swap", "ecr", "iswap", "dcx")
_TURNS = ("rx", "ry", "rz", "p")
_TURNS_OF_TWO = ("rzz", "rxx", "ryy", "rzx")


@dataclass(frozen=True, kw_only=True)
class CliffordCase:
    """A circuit and its noise.

    Attributes:
        circuit: Each bit is written at least once.
        values: Of its parameters, multiples of pi/2, in the order of `circuit.parameters`.
        model: Pauli errors and errors of reading; None for an ideal device.
    """

    circuit: QuantumCircuit
    values: NDArray[np.float64]
    model: NoiseModel | None

    @property
    def bound(self) -> QuantumCircuit:
        """The circuit with its values."""
        return self.circuit.assign_parameters(self.values.tolist())


def clifford_case(
    rng: np.random.Generator,
    *,
    least: int = 2,
    most: int = 6,
    bits: int | None = None,
    noisy: bool = True,
    decided: float = 0.0,
) -> CliffordCase:
    """Return a circuit of `least` to `most` qubits, joined by gates, and at most as many bits, or `bits`.

    Before some of its gates, of a share of `decided`, Pauli operators happen where measured bits say so.
    """
    num_qubits = int(rng.integers(least, most + 1))
    circuit = QuantumCircuit(num_qubits, int(rng.integers(1, min(num_qubits, bits or num_qubits) + 1)))
    values: list[float] = []
    for qubit in range(1, num_qubits):
        circuit.h(qubit - 1)
        circuit.cx(qubit - 1, qubit)
    for _ in range(int(rng.integers(5, 30))):
        if decided and rng.random() < decided:
            _decide(rng, circuit)
        _append(rng, circuit, values)
    for clbit in range(circuit.num_clbits):
        circuit.measure(int(rng.integers(num_qubits)), clbit)
    order = {f"v{number}": value for number, value in enumerate(values)}
    table = np.array([order[parameter.name] for parameter in circuit.parameters], dtype=np.float64)
    return CliffordCase(circuit=circuit, values=table, model=pauli_model(rng) if noisy else None)


def pauli_model(rng: np.random.Generator) -> NoiseModel:
    """Return Pauli errors of some gates, of measurements and resets, and errors of reading."""
    model = NoiseModel()
    for names, size in (((*_ONE, *_TURNS), 1), (("measure", "reset"), 1), ((*_TWO, *_TURNS_OF_TWO), 2)):
        for name in names:
            if rng.random() < 0.6:
                model.add_all_qubit_quantum_error(_error(rng, size), name, warnings=False)
    model.add_quantum_error(_error(rng, 2), "cx", [0, 1], warnings=False)
    zero, one = rng.uniform(0, 0.2, 2).tolist()
    model.add_all_qubit_readout_error(ReadoutError([[1 - zero, zero], [one, 1 - one]]), warnings=False)
    return model


def _error(rng: np.random.Generator, size: int) -> object:
    if rng.random() < 0.3:
        # Up to where nothing is left of the state, as on a broken coupler.
        return depolarizing_error(float(rng.choice([0.01, 0.3, 1.0])), size)
    labels = ["".join(letters) for letters in product("IXYZ", repeat=size)]
    chosen = rng.choice(labels[1:], int(rng.integers(1, len(labels))), replace=False).tolist()
    chances = rng.dirichlet(np.ones(len(chosen))) * rng.uniform(0.001, 0.2)
    return pauli_error([*zip(chosen, chances.tolist(), strict=True), ("I" * size, 1 - float(chances.sum()))])


def _decide(rng: np.random.Generator, circuit: QuantumCircuit) -> None:
    """Measure a bit, and append Pauli operators under a condition on it and others."""
    bit, other = rng.integers(circuit.num_clbits, size=2).tolist()
    circuit.measure(int(rng.integers(circuit.num_qubits)), bit)
    one, two = circuit.clbits[bit], circuit.clbits[other]
    conditions = [
        (one, int(rng.integers(2))),
        (circuit.cregs[0], int(rng.integers(1 << circuit.num_clbits))),
        expr.bit_xor(one, two),
        expr.logic_and(expr.logic_not(one), expr.not_equal(one, two)),
        expr.logic_or(expr.lift(one), expr.bit_not(two)),
    ]
    with circuit.if_test(conditions[int(rng.integers(len(conditions)))]) as otherwise:
        for _ in range(int(rng.integers(1, 3))):
            getattr(circuit, str(rng.choice(["x", "y", "z", "id"])))(int(rng.integers(circuit.num_qubits)))
        circuit.rz(2 * QUARTER, int(rng.integers(circuit.num_qubits)))
    if rng.random() < 0.5:
        with otherwise:
            getattr(circuit, str(rng.choice(["x", "y", "z"])))(int(rng.integers(circuit.num_qubits)))


def _append(rng: np.random.Generator, circuit: QuantumCircuit, values: list[float]) -> None:
    one, other = rng.choice(circuit.num_qubits, 2, replace=False).tolist()
    turn = QUARTER * int(rng.integers(-3, 5))
    match rng.integers(8):
        case 0 | 1:
            getattr(circuit, str(rng.choice(_ONE)))(one)
        case 2 | 3:
            getattr(circuit, str(rng.choice(_TWO)))(one, other)
        case 4:
            angle = turn
            if rng.random() < 0.5:
                angle = Parameter(f"v{len(values)}")
                values.append(turn)
            getattr(circuit, str(rng.choice(_TURNS)))(angle, one)
        case 5:
            getattr(circuit, str(rng.choice(_TURNS_OF_TWO)))(turn, one, other)
        case 6:
            circuit.measure(one, int(rng.integers(circuit.num_clbits)))
        case _:
            circuit.reset(one)
