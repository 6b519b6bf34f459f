"""Runs one job inside a worker process: params in, result out."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import qiskit
from qiskit.primitives import PrimitiveResult

from qiskit_runtime_server.backends.names import VirtualBackend
from qiskit_runtime_server.dispatch.events import Completed, Metrics, Task
from qiskit_runtime_server.errors import BackendNotFoundError, CalibrationMissingError, InvalidInputError
from qiskit_runtime_server.executors.base import BaseExecutor
from qiskit_runtime_server.programs import codec, estimator
from qiskit_runtime_server.programs.options import idle, with_seed


def run_program(task: Task, executor: BaseExecutor, log: Callable[[str], None]) -> Completed:
    """Decode the job's params, run its program on `executor`, encode the result.

    The task's seed is used where the job has none, so that every attempt at a job gives the same bits.

    Args:
        task: What to run.
        executor: What runs it.
        log: Takes lines for the job's log.

    Raises:
        JobError: If the job cannot be run as it is.
    """
    begin = time.monotonic()
    program = _PROGRAMS.get(task.program_id)
    if program is None:
        raise InvalidInputError(f"Program {task.program_id!r} not found: there are {', '.join(sorted(_PROGRAMS))}.")
    check_calibration(task, executor)
    params = codec.decode_params(task.params)
    pubs = [program.read(pub, f"pubs[{index}]") for index, pub in enumerate(params.pubs)]
    for option in idle(params.options):
        log(f"Option {option} has no effect, as what it belongs to is switched off.")
    result = program.execute(executor, pubs, with_seed(params.options, task.seed), task.backend_name)
    document = codec.encode_result(result)
    metrics = Metrics(
        seconds=time.monotonic() - begin,
        num_circuits=len(pubs),
        executions=sum(map(program.executions, pubs, _metadata(result, len(pubs)))),
        num_qubits=tuple(pub.circuit.num_qubits for pub in pubs),
        qiskit_version=qiskit.__version__,
    )
    return Completed(metrics=metrics, result=document)


def check_calibration(task: Task, executor: BaseExecutor) -> None:
    """Check that this executor's description of the device is the one that the job was accepted with.

    Raises:
        CalibrationMissingError: If it is another one, or there is none.
    """
    try:
        metadata = VirtualBackend.parse(task.backend_name).metadata
        known = executor.catalog.get(metadata, ideal_qubits=executor.capabilities().num_qubits).digest
    except BackendNotFoundError as error:
        raise CalibrationMissingError(f"This executor does not have the job's device: {error}") from error
    if known != task.calibration_digest:
        raise CalibrationMissingError(
            f"The job was accepted with calibration {task.calibration_digest[:12]} of {metadata}; this executor has"
            f" {known[:12]}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    """A program.

    Attributes:
        read: Makes a pub of what the client sent and what to call it.
        execute: Runs pubs with options on a backend.
        executions: How many shots a pub took, from its result's metadata.
    """

    read: Callable[[Any, str], Any]
    execute: Callable[[BaseExecutor, Sequence[Any], Mapping[str, Any], str], PrimitiveResult[Any]]
    executions: Callable[[Any, Mapping[str, Any]], int]


def _metadata(result: object, length: int) -> list[Mapping[str, Any]]:
    """Return the metadata of each pub's result; empty where an executor gave none."""
    if not isinstance(result, PrimitiveResult):
        return [{}] * length
    return [pub_result.metadata for pub_result in result]


_PROGRAMS: Final[Mapping[str, _Program]] = {
    "sampler": _Program(
        read=codec.sampler_pub,
        execute=lambda executor, pubs, options, name: executor.execute_sampler(pubs, options, name),
        executions=lambda pub, metadata: int(metadata.get("shots") or pub.shots or 0) * pub.size,
    ),
    "estimator": _Program(
        read=codec.estimator_pub,
        execute=lambda executor, pubs, options, name: executor.execute_estimator(pubs, options, name),
        executions=lambda pub, metadata: int(metadata.get("shots") or 0) * estimator.num_configurations(pub),
    ),
}
