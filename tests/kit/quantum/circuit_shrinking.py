"""Makes a failing circuit small: takes out one instruction after the other as long as it fails in the same way."""

from collections.abc import Callable, Iterator
from dataclasses import replace

from qiskit.circuit import CircuitError, QuantumCircuit

from kit.quantum.random_circuits import RandomCase

Path = tuple[int, ...]
"""An instruction: its number, or the number of one that has blocks, that of the block, and a path in it."""


def shrunk(case: RandomCase, fails: Callable[[list[Path]], bool]) -> list[Path]:
    """Return what can be taken out of `case`, one after the other.

    Args:
        case: Fails.
        fails: Whether the case still fails without some instructions.
    """
    removed: list[Path] = []
    while True:
        for path in list(paths(case.circuit)):
            try:
                candidate = smaller(case, path)
            except CircuitError:
                continue
            if fails([*removed, path]):
                case = candidate
                removed.append(path)
                break
        else:
            return removed


def smaller(case: RandomCase, path: Path) -> RandomCase:
    """Return `case` without an instruction, and without the values of parameters that are gone with it."""
    circuit = _without(case.circuit, path)
    names = list(case.circuit.parameters)
    kept = [names.index(parameter) for parameter in circuit.parameters]
    return replace(case, circuit=circuit, values=case.values[: None if kept else 1, kept])


def paths(circuit: QuantumCircuit) -> Iterator[Path]:
    """Yield all instructions, the last one first, those with blocks before what is in them."""
    for number in reversed(range(len(circuit.data))):
        yield (number,)
        for place, block in enumerate(getattr(circuit.data[number].operation, "blocks", ())):
            yield from ((number, place, *path) for path in paths(block))


def _without(circuit: QuantumCircuit, path: Path) -> QuantumCircuit:
    number, inner = path[0], path[1:]
    rest = circuit.copy_empty_like()
    for place, instruction in enumerate(circuit.data):
        if place != number:
            rest._append(instruction)
        elif inner:
            blocks = list(instruction.operation.blocks)
            blocks[inner[0]] = _without(blocks[inner[0]], inner[1:])
            rest._append(instruction.replace(operation=instruction.operation.replace_blocks(blocks)))
    return rest
