"""Multiplies what acts on the same one or two qubits, before qsim is given it.

To hand qsim a gate, and to have it fuse that with others, takes as long as to apply it to some 2^12 amplitudes. With
errors it is worse: they stand between gates, and most of them do nothing. So what a program does is put into blocks,
each of which becomes one matrix. Items change places only with items on other qubits:

    rz q0; error q0; sx q1; cz q0, q1; error q0, q1; rz q1       one block, on q0 and q1
    the same with cz q1, q2 before the last rz                   two; the last rz is in the second one
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from qiskit_runtime_server.executors.qsim.sites import Site
from qiskit_runtime_server.simulation.statevector.program import Gate, Measure, Noise, Program, Reset, Run
from qiskit_runtime_server.simulation.statevector.state_port import Matrices

Item = Gate | Site | Measure | Reset

_WIDTH: Final = 2
_ONE: Final = np.eye(2, dtype=np.complex128)


@dataclass(slots=True)
class Block:
    """Items that follow each other on the same qubits; what has more of these than two is alone in its block."""

    qubits: tuple[int, ...]
    items: list[Item]


def blocks(program: Program) -> list[Block]:
    """Return a program without decisions as blocks: one after the other they do what it does.

    A measurement and a reset have blocks of their own, and no item goes from one side of them to the other.
    """
    made: list[Block] = []
    last: dict[int, Block] = {}
    for item in _items(program):
        if isinstance(item, Measure | Reset):
            made.append(Block((item.qubit,), [item]))
            last.clear()
            continue
        known = {id(last[qubit]): last[qubit] for qubit in item.qubits if qubit in last}
        if len(known) == 1 and all(qubit in last for qubit in item.qubits):
            (block,) = known.values()
            if len(block.qubits) <= _WIDTH:
                block.items.append(item)
                continue
        narrow = len(item.qubits) <= _WIDTH
        block = Block(tuple(sorted(item.qubits)) if narrow else item.qubits, [])
        for before in known.values() if narrow else ():
            if len(before.qubits) == 1:
                block.items += before.items
                before.items = []
        block.items.append(item)
        made.append(block)
        last.update(dict.fromkeys(item.qubits, block))
    return [block for block in made if block.items]


def product(qubits: tuple[int, ...], parts: Iterable[tuple[tuple[int, ...], Matrices]]) -> Matrices | None:
    """Return a block's matrix on its `qubits`, the first of which is the lowest bit; None is the identity.

    Args:
        qubits: Of the block.
        parts: Each the qubits and the matrix of an item, the one that acts first before the others. Some may have an
            axis of rows in front; what is returned has it then, too.
    """
    singles: dict[int, Matrices] = {}
    whole: Matrices | None = None
    for own, matrix in parts:
        if len(own) == 1:
            singles[own[0]] = matrix @ singles[own[0]] if own[0] in singles else matrix
            continue
        turned = matrix if own == qubits else _swapped(matrix)
        before = _joined(qubits, singles, whole)
        whole = turned if before is None else turned @ before
        singles.clear()
    return _joined(qubits, singles, whole)


def _joined(qubits: tuple[int, ...], singles: dict[int, Matrices], whole: Matrices | None) -> Matrices | None:
    """Return what a matrix on all qubits becomes by some on single ones."""
    if not singles:
        return whole
    if len(qubits) == 1:
        return singles[qubits[0]]
    low, high = (singles.get(qubit, _ONE) for qubit in qubits)
    both: Matrices = high[..., :, None, :, None] * low[..., None, :, None, :]
    both = both.reshape(*both.shape[:-4], 4, 4)
    return both if whole is None else both @ whole


def _swapped(matrix: Matrices) -> Matrices:
    """Return a matrix of two qubits with these in the other order."""
    turned = matrix.reshape(*matrix.shape[:-2], 2, 2, 2, 2).swapaxes(-4, -3).swapaxes(-2, -1)
    return turned.reshape(matrix.shape)


def _items(program: Program) -> Iterator[Item]:
    """Yield what a program does, one after the other; equal errors of the same qubits are one site."""
    known: dict[tuple[int, tuple[int, ...]], Site] = {}
    for step in program.steps:
        if isinstance(step, Measure | Reset):
            yield step
            continue
        assert isinstance(step, Run)  # noqa: S101 - the caller has looked for decisions
        for part in step.steps:
            if isinstance(part, Noise):
                key = (id(part.channel), part.qubits)
                if key not in known:
                    known[key] = Site.of(part.channel, part.qubits)
                yield known[key]
            else:
                yield part
