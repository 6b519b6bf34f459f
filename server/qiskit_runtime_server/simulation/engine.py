"""Runs circuits as wide as a device on an executor that sees only their small, independent parts.

The state of independent parts is a product, and so is the distribution of their outcomes: each part is sampled alone,
from a seed of its own (Nielsen, Chuang, Quantum Computation and Quantum Information, section 2.2.8,
https://doi.org/10.1017/CBO9780511976667).

    h q0; cx q0, q1; x q2; measure all      (q0, q1) by the executor, with seed number 1
                                            q2 as a coin that shows 1 with the probability that `single_qubits` gives
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit

from qiskit_runtime_server.simulation import single_qubits
from qiskit_runtime_server.simulation.angles import evaluated
from qiskit_runtime_server.simulation.components import Component, split
from qiskit_runtime_server.simulation.components.last_circuits import MOST_KEPT, LastCircuits
from qiskit_runtime_server.simulation.contract import BitTensor, Parities, SampleTask, Simulator
from qiskit_runtime_server.simulation.noise import DeviceNoise
from qiskit_runtime_server.simulation.parts import Part, PropagatedPart
from qiskit_runtime_server.simulation.plan import PRODUCT, Noise, Plan
from qiskit_runtime_server.simulation.planner import planned
from qiskit_runtime_server.simulation.seeds import SeedPath
from qiskit_runtime_server.simulation.wish import AUTOMATIC, Wish

PIECE_SECONDS: Final = 4.0
"""About how long a simulator is given rows for at a time, so that it can be told how far it has come."""

# Where plans are far too long, pieces must not cost more than the work.
_MOST_PIECES: Final = 100


def sample(  # noqa: PLR0913 - all of them are needed to fix the bits
    executor: Simulator,
    circuit: QuantumCircuit,
    parameter_values: NDArray[np.float64],
    shots: int,
    *,
    noise: DeviceNoise | None,
    seeds: SeedPath,
    first: int = 0,
    wish: Wish = AUTOMATIC,
    parities: Sequence[Parities] | None = None,
    report: Callable[[Plan], None] = lambda _plan: None,
    limit_seconds: float = math.inf,
    expect: Callable[[float], None] = lambda _seconds: None,
    advance: Callable[[float], None] = lambda _share: None,
) -> BitTensor:
    """Take `shots` of `circuit` for every row of `parameter_values`.

    Args:
        executor: Simulates the parts that are larger than one qubit.
        circuit: Its qubits are the first ones of the device.
        parameter_values: Shape ``(n, k)``, columns in the order of ``circuit.parameters``.
        shots: For every row.
        noise: Of the device, or None if nothing goes wrong.
        seeds: Of the circuit; they and the numbers of the rows fix all bits.
        first: The number of the first row: rows give the same bits in whatever batches they come.
        wish: What the options say of the methods.
        parities: For each row, if they are all that is made of its bits; then these alone are sure to be right.
        report: Told of each part's plan before it is run, and once more with its truncation error if there is one.
        limit_seconds: How long the job may run; see `planned`.
        expect: Told how long each part's plans say that it takes, before it is run.
        advance: Told which share of the work is done, as often as a piece is; all parts count as equally long.

    Returns:
        Bits of shape ``(n, shots, circuit.num_clbits)``; the last axis is little-endian. Unwritten bits are False.

    Raises:
        InvalidInputError: If the circuit, or a value in it, makes no sense.
        CircuitTooLargeError: If there is no method for a part of it.
        UnsupportedOptionError: If the options want a method that cannot run it.
    """
    rows = slice(first, first + len(parameter_values))
    bits = np.zeros((len(parameter_values), shots, circuit.num_clbits), dtype=np.bool_)
    single: dict[int, NDArray[np.float64]] = {}
    alone: list[int] = []
    components = _components(circuit, noise)
    done, rest = 0, max(1, len(parameter_values) * sum(component.circuit.num_qubits > 1 for component in components))
    for component, work in _works(components, circuit, parameter_values, shots, noise, seeds, rows, parities):
        clbits = component.clbits
        if not isinstance(work, SampleTask):
            single[clbits[0]] = work
            alone += component.qubits
            continue
        with wish.told_in_refusals():
            parts = planned(work, component.qubits, executor, wish, limit_seconds, report)
            expect(sum(part.plan.seconds for part in parts))
            for part in parts:
                for piece, told in _pieces(part, report):
                    number = len(piece.rows)
                    task = replace(work, advance=partial(_advance, advance, done / rest, number / rest))
                    for row, found in zip(piece.rows.tolist(), piece.sample(task, executor, told), strict=True):
                        bits[row][:, clbits] = found[:, : len(clbits)]
                    done += number
                    advance(min(1.0, done / rest))
    if single:
        report(_product(alone, noise))
        table = np.stack(list(single.values()), axis=1)
        for row, coins in enumerate(_coins(table, shots, seeds.single_qubits.rows(rows))):
            bits[row][:, list(single)] = coins
    return bits


def _advance(advance: Callable[[float], None], before: float, part: float, share: float) -> None:
    advance(min(1.0, before + share * part))


def plans(  # noqa: PLR0913 - as in `sample`
    executor: Simulator,
    circuit: QuantumCircuit,
    parameter_values: NDArray[np.float64],
    shots: int,
    *,
    noise: DeviceNoise | None,
    wish: Wish = AUTOMATIC,
    parities: Sequence[Parities] | None = None,
    limit_seconds: float = math.inf,
    report: Callable[[Plan], None] = lambda _plan: None,
) -> Iterator[Plan]:
    """Yield the plans that `sample` would report first; arguments and errors as there.

    `report` is told of those that have to be tried before they are known, before they are.
    """
    alone: list[int] = []
    rows = slice(0, len(parameter_values))
    components = _components(circuit, noise)
    for component, work in _works(components, circuit, parameter_values, shots, noise, SeedPath((0,)), rows, parities):
        if isinstance(work, SampleTask):
            with wish.told_in_refusals():
                parts = planned(work, component.qubits, executor, wish, limit_seconds, report)
            yield from (part.plan for part in parts)
        else:
            alone += component.qubits
    if alone:
        yield _product(alone, noise)


def _pieces(
    part: Part | PropagatedPart, report: Callable[[Plan], None]
) -> Iterator[tuple[Part | PropagatedPart, Callable[[Plan], None]]]:
    """Yield the part's rows in pieces, with who is told of the plan: once, before the first.

    What may turn to another method while it runs is one piece, so that all of its rows are run alike.
    """
    if not isinstance(part, Part) or math.isinf(part.plan.seconds):
        yield part, report
        return
    number = max(1, min(len(part.rows), _MOST_PIECES, round(part.plan.seconds / PIECE_SECONDS)))
    for rows in np.array_split(part.rows, number):
        yield replace(part, rows=rows), report
        report = _silently


def _silently(_plan: Plan) -> None:
    """Tell nobody."""


def _components(circuit: QuantumCircuit, noise: DeviceNoise | None) -> list[Component]:
    # Only models that users bring along have labels, each job its own.
    labels = frozenset() if noise is None else noise.labels
    return split(circuit, labels) if labels else _last_components.of(circuit, None, lambda: split(circuit))


# Of circuits with many values, and of those that are kept for later jobs of the same worker.
_last_components: Final = LastCircuits[list[Component]](MOST_KEPT)


def _works(  # noqa: PLR0913, PLR0917 - as in `sample`
    components: Sequence[Component],
    circuit: QuantumCircuit,
    parameter_values: NDArray[np.float64],
    shots: int,
    noise: DeviceNoise | None,
    seeds: SeedPath,
    rows: slice,
    parities: Sequence[Parities] | None,
) -> Iterator[tuple[Component, SampleTask | NDArray[np.float64]]]:
    """Yield each component, and what to sample of it: for a single qubit only how likely its bit is 1 in each row."""
    for number, component in enumerate(components):
        values = evaluated(component.angles, circuit.parameters, parameter_values)
        model = None if noise is None else noise.restricted_to(component.qubits, component.uses)
        chances = single_qubits.chance_of_one(component.circuit, values, model)
        yield (
            component,
            SampleTask(
                circuit=component.circuit,
                parameter_values=values,
                shots=shots,
                noise=model,
                seeds=seeds.component(number).rows(rows),
                parities=parities and _within(component, parities),
            )
            if chances is None
            else chances,
        )


def _within(component: Component, parities: Sequence[Parities]) -> list[Parities]:
    """Return what each parity is within a component; components are independent of each other."""
    places = {clbit: place for place, clbit in enumerate(component.clbits)}
    known: dict[int, Parities] = {}
    for each in parities:
        if id(each) not in known:
            known[id(each)] = [tuple(places[bit] for bit in parity if bit in places) for parity in each]
    return [known[id(each)] for each in parities]


def _product(qubits: Sequence[int], noise: DeviceNoise | None) -> Plan:
    return Plan(qubits=tuple(qubits), method=PRODUCT, noise=Noise.NONE if noise is None else Noise.DEVICE)


def _coins(chances: NDArray[np.float64], shots: int, seeds: NDArray[np.uint64]) -> Iterator[BitTensor]:
    """Yield independent bits of shape ``(shots, bits)`` for each row of `chances`, which are those of True."""
    for row, seed in zip(chances, seeds.tolist(), strict=True):
        yield np.random.default_rng(seed).random((shots, len(row))) < row
