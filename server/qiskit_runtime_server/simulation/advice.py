"""What would run instead of a circuit that is refused, with figures: fewer shots, an option, another executor.

Shots of trajectories take a time that grows with their number, and a state vector of n qubits has 2^n amplitudes of 16
bytes (De Raedt et al., 2007, https://doi.org/10.1016/j.cpc.2006.08.007).
"""

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from qiskit_runtime_server.errors import CircuitTooLargeError
from qiskit_runtime_server.machine import in_words
from qiskit_runtime_server.simulation.contract import Offer, SampleTask, Simulator

TWIRLED: Final = "simulator.approximation: twirled-noise"
TRUNCATED: Final = "simulator.approximation: truncated"

_AMPLITUDE_BYTES: Final = 16
# The largest state that one GPU of today holds, with 141 GB.
_QUBITS_OF_A_GPU: Final = 33


def fewer_shots(task: SampleTask, offer: Offer, executor: Simulator, most_seconds: float) -> str:
    """Return how many shots a task may have to be run in time, as a sentence.

    Args:
        task: What takes too long.
        offer: How the executor would run it.
        executor: As above.
        most_seconds: For all rows of the task.
    """
    shots = int(task.shots * most_seconds / (offer.seconds * len(task.seeds)))
    # Round numbers, as estimates are rough.
    shots = int(float(f"{shots:.1g}")) if shots else 0
    while shots:
        try:
            seconds = executor.offer(replace(task, shots=shots)).seconds * len(task.seeds)
        except CircuitTooLargeError:
            break
        if seconds <= most_seconds:
            return f"With {shots} shots it would run; fewer qubits or gates, or a GPU, would make it shorter, too."
        shots //= 2
    return "Fewer shots are not enough: fewer qubits or gates, or a GPU, would make it shorter."


def other_ways(task: SampleTask, executor: Simulator) -> Iterator[str]:
    """Yield sentences on what may run a task that the executor cannot run exactly."""
    size, most = task.circuit.num_qubits, executor.capabilities().num_qubits
    if executor.truncates:
        yield f"Truncated states may run it, if it is little entangled: {TRUNCATED}."
    if most < size <= _QUBITS_OF_A_GPU:
        yield (
            f"An executor with a GPU would run it, if {in_words(_AMPLITUDE_BYTES << size)} fit into the GPU's memory."
        )
