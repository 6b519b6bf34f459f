"""Runs random cases on the executors and compares them with the exact reference."""

import io
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import qpy
from qiskit.circuit import Delay, QuantumCircuit
from qiskit.primitives import DataBin
from qiskit.primitives.containers.sampler_pub import SamplerPub

from kit.quantum.circuit_shrinking import Path, smaller
from kit.quantum.goodness_of_fit import impossible, p_value, too_often
from kit.quantum.qsim_alone import TESTED, QsimAlone
from kit.quantum.random_circuits import RandomCase, random_case
from qiskit_runtime_server.errors import InternalError, JobError
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.executors.aer.circuits import obstacle
from qiskit_runtime_server.executors.base import BaseExecutor, SampleTask
from qiskit_runtime_server.executors.custatevec.executor import CuStateVecExecutor
from qiskit_runtime_server.simulation.statevector.numpy_states import NumPyStates

EXECUTORS = ("aer", "custatevec", "aer-alone", *(("qsim-alone",) if TESTED else ()))
FALSE_ALARM = 1e-6


class AerAlone(AerExecutor):
    """Has Aer take the shots of small circuits too, as of large ones, wherever it knows all that they ask for."""

    def _is_interpreted(self, task: SampleTask) -> bool:
        return obstacle(task.circuit) is not None


@dataclass(frozen=True, kw_only=True)
class Report:
    """What came out of one case on one executor.

    Attributes:
        p_values: One for each row where there is more than one bin.
        wrong: Why the shots cannot come from the exact distribution; None if they can.
        refused: The message of the error that the executor refuses the case with; None if it runs.
    """

    p_values: tuple[float, ...] = ()
    wrong: str | None = None
    refused: str | None = None


def executor(name: str) -> BaseExecutor:
    """Return one of `EXECUTORS`, small enough for a test."""
    if name == "custatevec":
        return CuStateVecExecutor(states=NumPyStates(memory_bytes=2**28), precision="double")
    if name == "qsim-alone":
        return QsimAlone(threads=1, memory_bytes=2**30)
    kind = AerExecutor if name == "aer" else AerAlone
    return kind(threads=1, memory_bytes=2**30)


def sampled(seed: int, name: str, shots: int, removed: Sequence[Path] = ()) -> Report:
    """Return what comes out of the case of a seed on an executor; for a `CaseProcess`.

    Args:
        seed: Of the case; an odd one's circuit goes through QPY, as circuits of clients do.
        name: Of the executor.
        shots: For every row.
        removed: Instructions that are taken out before, one after the other; see `circuit_shrinking`.
    """
    case = _drawn(seed)
    for path in removed:
        case = smaller(case, path)
    return compared(case, name, shots)


@lru_cache(maxsize=1)
def _drawn(seed: int) -> RandomCase:
    return random_case(seed)


def compared(case: RandomCase, name: str, shots: int) -> Report:
    """Return what comes out of a case on an executor.

    Raises:
        ServerError: If it fails with anything but a refusal.
    """
    try:
        rows = counts(case, name, shots)
    except InternalError:
        raise
    except JobError as error:
        return Report(refused=f"{type(error).__name__}: {error}")
    p_values = []
    for row, (seen, chances) in enumerate(zip(rows, case.exact, strict=True)):
        visible = _visible(case.circuit, chances)
        never = impossible(seen, visible)
        if never:
            return Report(wrong=f"row {row}: impossible outcomes {_spelled(never)} of {_spelled(visible)}")
        if too_often(seen, visible) < FALSE_ALARM:
            return Report(wrong=f"row {row}: rare outcomes too often; seen {_spelled(seen)}, exact {_spelled(visible)}")
        value = p_value(seen, visible)
        if value is not None:
            p_values.append(value)
            if value < FALSE_ALARM:
                return Report(wrong=f"row {row}: p = {value:.1e}; seen {_spelled(seen)}, exact {_spelled(visible)}")
    return Report(p_values=tuple(p_values))


def counts(case: RandomCase, name: str, shots: int) -> list[dict[int, int]]:
    """Return how often each outcome comes in each row; bits that no register has are 0."""
    options: dict[str, Any] = {"simulator": {"seed_simulator": case.seed}}
    if case.noise.model is not None:
        options["simulator"]["noise_model"] = case.noise.model
    circuit = sent(case.circuit) if case.seed % 2 and _travels(case.circuit) else case.circuit
    names = tuple(parameter.name for parameter in circuit.parameters)
    values = {names: case.values} if names else None
    pub = SamplerPub.coerce((circuit, values, shots))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        (result,) = executor(name).execute_sampler([pub], options, case.device)
    return _outcomes(case.circuit, result.data, len(case.values), shots)


def sent(circuit: QuantumCircuit) -> QuantumCircuit:
    """Return `circuit` as it arrives from a client: blocks have bits of their own then."""
    file = io.BytesIO()
    qpy.dump(circuit, file)
    file.seek(0)
    return qpy.load(file)[0]


def _travels(circuit: QuantumCircuit) -> bool:
    """Whether nothing is lost on the way: QPY takes every delay for one in dt, see Qiskit's issue 8293."""
    for instruction in circuit.data:
        operation = instruction.operation
        if isinstance(operation, Delay) and operation.unit != "dt":
            return False
        if not all(_travels(block) for block in getattr(operation, "blocks", ())):
            return False
    return True


def _outcomes(circuit: QuantumCircuit, data: DataBin, rows: int, shots: int) -> list[dict[int, int]]:
    bits = np.zeros((rows, shots, circuit.num_clbits), dtype=bool)
    known: set[int] = set()
    for register in circuit.cregs:
        places = [circuit.find_bit(clbit).index for clbit in register]
        table: NDArray[np.bool_] = getattr(data, register.name).to_bool_array(order="little")
        table = table.reshape(rows, shots, len(places))
        for column, place in enumerate(places):
            if place in known and not np.array_equal(bits[..., place], table[..., column]):
                message = f"Registers do not agree on the bit {place} that they share."
                raise AssertionError(message)
            bits[..., place] = table[..., column]
            known.add(place)
    numbers = bits @ (1 << np.arange(circuit.num_clbits))
    return [dict(zip(*(part.tolist() for part in np.unique(row, return_counts=True)), strict=True)) for row in numbers]


def _visible(circuit: QuantumCircuit, chances: Mapping[int, float]) -> dict[int, float]:
    """Return the distribution of the bits that a register has; the others are 0."""
    mask = sum(1 << place for place in {circuit.find_bit(clbit).index for r in circuit.cregs for clbit in r})
    found: dict[int, float] = {}
    for outcome, chance in chances.items():
        found[outcome & mask] = found.get(outcome & mask, 0.0) + chance
    return found


def _spelled(table: Mapping[int, float]) -> str:
    largest = sorted(table.items(), key=lambda pair: -pair[1])[:8]
    return ", ".join(f"{outcome:b}: {number:.4g}" for outcome, number in largest)
