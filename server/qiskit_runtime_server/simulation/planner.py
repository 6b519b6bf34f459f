"""Chooses how each part of a circuit is simulated: exactly, as cheaply as that can be done, else by what is left.

There is no method for all circuits: a state vector takes 2^n numbers, a matrix product state as many as there is
entanglement (Vidal, 2003, https://doi.org/10.1103/PhysRevLett.91.147902), and Clifford circuits take n^2 bits, however
entangled they are (Aaronson, Gottesman, 2004, https://doi.org/10.1103/PhysRevA.70.052328). In this order:

    one qubit                                          product, exact
    Clifford gates, Pauli errors, 12 qubits or more    Clifford frames, exact, if they take less time
    what the executor can hold                         whatever it takes, exact
    Clifford gates, other errors                       Clifford frames, the errors twirled over the Pauli operators
    parities only, gates of up to 3 qubits             Pauli propagation, exact if it fits, else truncated if the
                                                       options ask for that
    few gates other than Clifford gates                near-Clifford, if clifft is installed, the errors twirled unless
                                                       they are Pauli errors
    anything else, if truncation is asked for          truncated states, if the executor has them

What each of them takes, `methods` says. What is approximate says so in `Plan.noise` or `Plan.truncation_error`; nothing
is approximate that some method above does exactly, unless the options ask for it.
"""

import math
from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from qiskit.circuit import Instruction, QuantumCircuit

from qiskit_runtime_server.errors import CircuitTooLargeError, UnsupportedOptionError
from qiskit_runtime_server.simulation import advice
from qiskit_runtime_server.simulation.clifford.feed_forward import is_carried
from qiskit_runtime_server.simulation.clifford.recognition import clifford_rows
from qiskit_runtime_server.simulation.contract import SampleTask, Simulator
from qiskit_runtime_server.simulation.methods import Methods, Rows
from qiskit_runtime_server.simulation.near_clifford.library import is_installed
from qiskit_runtime_server.simulation.parts import Part, PropagatedPart
from qiskit_runtime_server.simulation.plan import Plan
from qiskit_runtime_server.simulation.wish import Approximation, Method, Wish

# For fewer qubits, exact probabilities cost less.
_LEAST_QUBITS: Final = 12

Parts = Sequence[Part | PropagatedPart]


def planned(  # noqa: PLR0913, PLR0917 - what is planned, and within what
    task: SampleTask,
    qubits: Sequence[int],
    executor: Simulator,
    wish: Wish,
    limit_seconds: float = math.inf,
    report: Callable[[Plan], None] = lambda _plan: None,
) -> Parts:
    """Return how a task of several qubits is run, its rows in parts.

    Args:
        task: One component of a circuit.
        qubits: Its qubits' numbers on the device.
        executor: Runs what is not done here.
        wish: What the options say.
        limit_seconds: How long the job may run. A method that takes `PATIENCE` times longer counts as none; one whose
            time is not known does not.
        report: Told of a plan that has to be tried before it is known how much it truncates, before it is; that it
            truncates is told later.

    Raises:
        CircuitTooLargeError: If there is no method; the message says what would run.
        UnsupportedOptionError: If the options want one that cannot run the circuit.
    """
    methods = Methods(
        task=task, qubits=qubits, executor=executor, wish=wish, limit_seconds=limit_seconds, report=report
    )
    everything = np.arange(len(task.seeds))
    if wish.method is Method.PROPAGATION:
        return [_propagated(methods, everything)]
    if wish.method is Method.NEAR_CLIFFORD:
        return [_near_clifford(methods, everything)] if len(everything) else []
    if wish.method is Method.EXECUTOR:
        looked_at = _is_looked_at(task, wish)
        return [(_without_frames if looked_at else _by_executor)(methods, everything)]
    if not _is_looked_at(task, wish):
        return [_exact_or_propagated(methods, everything)]
    clifford = clifford_rows(_gates(task.circuit), task.circuit, task.parameter_values)
    if wish.method is Method.CLIFFORD and not clifford.all():
        raise UnsupportedOptionError(
            f"Option simulator.method: clifford cannot run {len(qubits)} entangled qubits of the circuit, which have"
            " gates other than Clifford gates."
        )
    found: list[Part | PropagatedPart] = []
    if clifford.any():
        found.append(_of_clifford(methods, np.flatnonzero(clifford)))
    if not clifford.all():
        found.append(_exact_or_propagated(methods, np.flatnonzero(~clifford)))
    return found


def _is_looked_at(task: SampleTask, wish: Wish) -> bool:
    """Return whether frames are worth a look."""
    parts = task.circuit.data
    if any(part.name == "store" or (part.is_control_flow() and not is_carried(part.operation)) for part in parts):
        return False
    asked = wish.method is Method.CLIFFORD or wish.approximation is Approximation.TWIRLED_NOISE
    return asked or task.circuit.num_qubits >= _LEAST_QUBITS


def _gates(circuit: QuantumCircuit) -> Sequence[Instruction]:
    """Return the gates of a circuit, and those under conditions."""
    found: list[Instruction] = []
    for part in circuit.data:
        blocks = part.operation.blocks if part.is_control_flow() else ()
        found += [inner.operation for block in blocks for inner in block.data] if blocks else [part.operation]
    return found


def _of_clifford(methods: Methods, rows: Rows) -> Part | PropagatedPart:
    """Return how rows with Clifford gates only are run."""
    wish, frames = methods.wish, methods.frames(rows)
    if frames.plan.approximates and wish.approximation is Approximation.NONE:
        return _without_frames(methods, rows)
    if wish.method is Method.CLIFFORD or (
        frames.plan.approximates and wish.approximation is Approximation.TWIRLED_NOISE
    ):
        return frames
    try:
        exact = methods.exactly(rows)
    except CircuitTooLargeError as error:
        # Whoever asks for truncation wants the errors as they are.
        truncated = frames.plan.approximates and wish.approximation is Approximation.TRUNCATED
        return (methods.propagated(rows, error) if truncated else None) or frames
    if frames.plan.approximates or exact.plan.seconds <= frames.plan.seconds:
        return exact
    return frames


def _without_frames(methods: Methods, rows: Rows) -> Part | PropagatedPart:
    """Return how the executor runs rows that frames might, or say that they would."""
    task, wish = methods.task, methods.wish
    if wish.method is Method.CLIFFORD:
        raise UnsupportedOptionError(
            "Option simulator.method: clifford is exact for Pauli errors only, and simulator.approximation is none:"
            " twirled-noise would run the circuit."
        )
    try:
        return _by_executor(methods, rows)
    except CircuitTooLargeError as error:
        if not clifford_rows(_gates(task.circuit), task.circuit, task.parameter_values).all():
            raise
        option = "simulator.method: automatic" if wish.method is Method.EXECUTOR else advice.TWIRLED
        refusal = type(error)(f"{error} Its gates are Clifford gates: it would run with {option}.")
        found = None if wish.method is Method.EXECUTOR else methods.propagated(rows, refusal)
        if found is None:
            raise refusal from error
        return found


def _by_executor(methods: Methods, rows: Rows) -> Part:
    """Return how the executor runs rows: exactly, or truncated where it cannot and the options allow that.

    Raises:
        CircuitTooLargeError: If it cannot; the message says what would run.
    """
    try:
        return methods.exactly(rows)
    except CircuitTooLargeError as error:
        if methods.wish.approximation is not Approximation.TRUNCATED:
            hints = advice.other_ways(methods.task, methods.executor)
            raise type(error)(" ".join([str(error), *hints])) from error
        try:
            return methods.truncated(rows)
        except CircuitTooLargeError as other:
            raise methods.refused(rows, type(other)(f"{error} {other}")) from other


def _exact_or_propagated(methods: Methods, rows: Rows) -> Part | PropagatedPart:
    """Return how rows are run exactly, or by propagation, or otherwise; errors as in `_by_executor`."""
    try:
        return methods.exactly(rows)
    except CircuitTooLargeError as error:
        return methods.propagated(rows, error) or _near_clifford_or_truncated(methods, rows)


def _near_clifford_or_truncated(methods: Methods, rows: Rows) -> Part:
    """Return how rows are run that do not fit exactly; errors as in `_by_executor`."""
    near, advised = None, ""
    try:
        near = methods.near_clifford(rows)
    except CircuitTooLargeError as error:
        advised = str(error)
    # Whoever asks for truncation wants the errors as they are.
    if near and not (near.plan.approximates and methods.wish.approximation is Approximation.TRUNCATED):
        return near
    try:
        return _by_executor(methods, rows)
    except CircuitTooLargeError as error:
        if near is None:
            raise type(error)(f"{error} {advised}".rstrip()) from error
        return near


def _near_clifford(methods: Methods, rows: Rows) -> Part:
    if not is_installed():
        raise UnsupportedOptionError(
            "Option simulator.method: near-clifford needs an executor on Python 3.12 or later that has the extra"
            " near-clifford."
        )
    try:
        return methods.near_clifford(rows)
    except CircuitTooLargeError as error:
        what = (
            f"{methods.task.circuit.num_qubits} entangled qubits of the circuit cannot run as a near-Clifford circuit."
        )
        raise type(error)(f"{what} {error}".rstrip()) from error


def _propagated(methods: Methods, rows: Rows) -> PropagatedPart:
    found = methods.propagated(rows, None)
    if found is None:
        raise UnsupportedOptionError(
            "Option simulator.method: pauli-propagation is for expectation values, of circuits whose gates have at most"
            " 3 qubits each and whose measurements all come last."
        )
    return found
