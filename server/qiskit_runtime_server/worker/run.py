"""Runs one job inside a worker process: params in, result out."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import qiskit
from qiskit.primitives import PrimitiveResult
from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.backends.names import VirtualBackend, is_dry_run
from qiskit_runtime_server.errors import BackendNotFoundError, CalibrationMissingError, InvalidInputError
from qiskit_runtime_server.executors.base import BaseExecutor
from qiskit_runtime_server.messages.messages import Completed, Metrics, Task
from qiskit_runtime_server.programs import calibrate, estimator, executor_program, noise_learner, sampler
from qiskit_runtime_server.programs.device.dry_run import DryRun
from qiskit_runtime_server.programs.device.size import check_size
from qiskit_runtime_server.programs.options.options import idle, with_seed
from qiskit_runtime_server.programs.wire import codec
from qiskit_runtime_server.programs.wire.quantum_program import decode_program
from qiskit_runtime_server.simulation.contract import Simulator


def run_program(task: Task, executor: BaseExecutor, log: Callable[[str], None]) -> Completed:
    """Decode the job's params, run its program on `executor`, encode the result.

    The task's seed is used where the job has none, so that every attempt at a job gives the same bits. A dry run
    simulates nothing, and its seconds are those that a device would need.

    Args:
        task: What to run.
        executor: What runs it.
        log: Takes lines for the job's log: warnings, unless the job's level is above them, and more from INFO down.

    Raises:
        JobError: If the job cannot be run as it is.
    """
    level = logging.getLevelNamesMapping().get(task.log_level, logging.WARNING)
    if level > logging.WARNING:
        log = _silently
    begin = time.monotonic()
    program = _PROGRAMS.get(task.program_id)
    if program is None:
        raise InvalidInputError(f"Program {task.program_id!r} not found: there are {', '.join(sorted(_PROGRAMS))}.")
    check_calibration(task, executor)
    runner: Simulator = DryRun(executor) if is_dry_run(task.backend_name) else executor
    outcome = program(task, runner, log)
    metrics = Metrics(
        seconds=runner.seconds if isinstance(runner, DryRun) else time.monotonic() - begin,
        num_circuits=len(outcome.num_qubits),
        executions=outcome.executions,
        num_qubits=outcome.num_qubits,
        qiskit_version=qiskit.__version__,
    )
    if level <= logging.INFO:
        log(f"{task.program_id} on {task.backend_name}: {metrics.executions} shots in {metrics.seconds:.3f} s.")
    return Completed(metrics=metrics, result=outcome.document)


def _silently(_line: str) -> None:
    """Drop what is less than an error."""


def check_calibration(task: Task, executor: Simulator) -> None:
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
class _Outcome:
    """What a program made of a task.

    Attributes:
        document: The result as clients read it.
        executions: Shots over all circuits and parameter sets.
        num_qubits: Of every circuit.
    """

    document: bytes
    executions: int
    num_qubits: tuple[int, ...]


_Log = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Primitive:
    """A program that runs pubs.

    Attributes:
        read: Makes a pub of what the client sent and what to call it.
        execute: Runs pubs with options on a backend.
        executions: How many shots a pub took, from its result's metadata.
    """

    read: Callable[[Any, str], Any]
    execute: Callable[[Simulator, Sequence[Any], Mapping[str, Any], str], PrimitiveResult[Any]]
    executions: Callable[[Any, Mapping[str, Any]], int]

    def __call__(self, task: Task, executor: Simulator, log: _Log) -> _Outcome:
        params = codec.decode_params(task.params)
        pubs = [self.read(pub, f"pubs[{index}]") for index, pub in enumerate(params.pubs)]
        check_size((pub.circuit for pub in pubs), task.max_qubits)
        for option in idle(params.options, task.program_id):
            log(f"Option {option} has no effect, as what it belongs to is switched off.")
        if _loses_relaxation(params.options, pubs):
            log("Delays are ideal: simulator.noise_model has no errors for them, and clients do not send relaxation.")
        result = self.execute(executor, pubs, with_seed(params.options, task.seed), task.backend_name)
        return _Outcome(
            document=codec.encode_result(result),
            executions=sum(map(self.executions, pubs, _metadata(result, len(pubs)))),
            num_qubits=tuple(pub.circuit.num_qubits for pub in pubs),
        )


def _loses_relaxation(options: Mapping[str, Any], pubs: Sequence[Any]) -> bool:
    """Return whether delays are ideal in spite of a noise model, which Aer's encoding of such passes leaves out."""
    simulator = options.get("simulator")
    # Whatever else it is, the program refuses it.
    model = simulator.get("noise_model") if isinstance(simulator, Mapping) else None
    delays = any("delay" in pub.circuit.count_ops() for pub in pubs)
    return delays and isinstance(model, NoiseModel) and "delay" not in model.noise_instructions


def _metadata(result: object, length: int) -> list[Mapping[str, Any]]:
    """Return the metadata of each pub's result; empty where an executor gave none."""
    if not isinstance(result, PrimitiveResult):
        return [{}] * length
    return [pub_result.metadata for pub_result in result]


def _sample(
    simulator: Simulator, pubs: Sequence[Any], options: Mapping[str, Any], backend_name: str
) -> PrimitiveResult[Any]:
    """Run sampler pubs; an executor may do that in a way of its own."""
    if isinstance(simulator, BaseExecutor):
        return simulator.execute_sampler(pubs, options, backend_name)
    return sampler.execute(simulator, pubs, options, backend_name)


def _estimate(
    simulator: Simulator, pubs: Sequence[Any], options: Mapping[str, Any], backend_name: str
) -> PrimitiveResult[Any]:
    """Run estimator pubs; an executor may do that in a way of its own."""
    if isinstance(simulator, BaseExecutor):
        return simulator.execute_estimator(pubs, options, backend_name)
    return estimator.execute(simulator, pubs, options, backend_name)


def _run_quantum_program(task: Task, executor: Simulator, _log: _Log) -> _Outcome:
    program = decode_program(task.params)
    check_size((item.circuit for item in program.items), task.max_qubits)
    return _Outcome(
        document=executor_program.execute(executor, program, task.backend_name, task.seed),
        executions=executor_program.executions(program),
        num_qubits=tuple(item.circuit.num_qubits for item in program.items),
    )


def _learn_noise(task: Task, executor: Simulator, _log: _Log) -> _Outcome:
    result = noise_learner.execute(executor, task.params, task.backend_name, task.seed)
    return _Outcome(document=result.document, executions=result.executions, num_qubits=result.num_qubits)


_PROGRAMS: Final[Mapping[str, Callable[[Task, Simulator, _Log], _Outcome]]] = {
    "sampler": _Primitive(
        read=codec.sampler_pub,
        execute=_sample,
        executions=lambda pub, metadata: int(metadata.get("shots") or pub.shots or 0) * pub.size,
    ),
    "estimator": _Primitive(
        read=codec.estimator_pub,
        execute=_estimate,
        executions=lambda pub, metadata: int(metadata.get("shots") or 0) * estimator.num_configurations(pub),
    ),
    "executor": _run_quantum_program,
    "noise-learner": _learn_noise,
    "calibrate": lambda task, _executor, _log: _Outcome(
        document=calibrate.execute(task.params), executions=0, num_qubits=()
    ),
}
