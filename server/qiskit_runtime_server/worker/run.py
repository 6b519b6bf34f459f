"""Runs one job inside a worker process: params in, result out."""

import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec
import qiskit
from qiskit.circuit import QuantumCircuit
from qiskit.primitives import PrimitiveResult
from qiskit_aer.noise import NoiseModel

from qiskit_runtime_server.backends.names import VirtualBackend, is_dry_run, metadata_of
from qiskit_runtime_server.errors import BackendNotFoundError, CalibrationMissingError, InvalidInputError
from qiskit_runtime_server.executors.base import BaseExecutor, replaces
from qiskit_runtime_server.messages.messages import (
    DRAWING,
    OUTCOMES,
    PREDICTION,
    SELF_TEST,
    Completed,
    Metrics,
    Progress,
    Stage,
    StageName,
    Task,
)
from qiskit_runtime_server.messages.programs import ProgramName
from qiskit_runtime_server.programs import calibrate, estimator, executor_program, noise_learner, sampler
from qiskit_runtime_server.programs.device.dry_run import DryRun
from qiskit_runtime_server.programs.device.predictor import Predictor
from qiskit_runtime_server.programs.device.progress import ProgressMeter
from qiskit_runtime_server.programs.device.shots import Journal, ShotSource, SimulatedShots
from qiskit_runtime_server.programs.device.size import check_size
from qiskit_runtime_server.programs.options.mitigation import Methods
from qiskit_runtime_server.programs.options.options import (
    Options,
    estimator_methods,
    estimator_options,
    idle,
    sampler_methods,
    sampler_options,
    with_seed,
)
from qiskit_runtime_server.programs.wire.params import decode_params, estimator_pub, sampler_pub
from qiskit_runtime_server.programs.wire.plain import encode_plain
from qiskit_runtime_server.programs.wire.quantum_program import decode_program
from qiskit_runtime_server.programs.wire.results import encode_result
from qiskit_runtime_server.simulation.contract import Simulator
from qiskit_runtime_server.worker import selftest, views
from qiskit_runtime_server.worker.outcomes import outcomes
from qiskit_runtime_server.worker.predictions import predictions


def run_program(  # noqa: PLR0913 - a job, where it runs, and who hears of it
    task: Task,
    executor: BaseExecutor,
    log: Callable[[str], None],
    *,
    expect: Callable[[float], None] = lambda _seconds: None,
    tell: Callable[[Progress], None] = lambda _progress: None,
    enter: Callable[[Stage], None] = lambda _stage: None,
) -> Completed:
    """Decode the job's params, run its program on `executor`, encode the result.

    The task's seed is used where the job has none, so that every attempt at a job gives the same bits. A dry run
    simulates nothing, and its seconds are those that a device would need.

    Args:
        task: What to run.
        executor: What runs it.
        log: Takes lines for the job's log: warnings, unless the job's level is above them, and more from INFO down.
        expect: Told of how many seconds a simulation is estimated to take, before it begins.
        tell: Told how far it has come, as by `ProgressMeter`.
        enter: Told of each stage after the first: the params have been decoded, or the result is about to be encoded.

    Raises:
        JobError: If the job cannot be run as it is.
    """
    level = logging.getLevelNamesMapping().get(task.log_level.upper(), logging.WARNING)
    if level > logging.WARNING:
        log = _silently
    if task.program_id == SELF_TEST:
        begin = time.monotonic()
        passed = selftest.examine(executor, seed=task.seed)
        return Completed(metrics=Metrics(seconds=time.monotonic() - begin), result=msgspec.json.encode(passed))
    view = _view(task)
    if view is not None:
        return Completed(metrics=Metrics(), result=view)
    kind, _, asked_for = task.program_id.partition(":")
    program = _PROGRAMS.get(asked_for if kind == PREDICTION else task.program_id)
    if program is None:
        raise InvalidInputError(f"Program {task.program_id!r} not found: there are {', '.join(sorted(_PROGRAMS))}.")
    check_calibration(task, executor)

    def decoded() -> None:
        enter(Stage(name=StageName.SIMULATE, began=time.time()))

    if kind == PREDICTION:
        found = predictions(task, executor, partial(_predicted, program, task, decoded))
        return Completed(metrics=Metrics(), result=found)
    journal = Journal(lambda grave, line: log(line) if grave >= level else None, task.seconds, expect)
    simulated = not is_dry_run(task.backend_name)
    source: ShotSource = (
        SimulatedShots(executor, journal, ProgressMeter(tell, journal.warn), ideal_qubits=task.ideal_qubits)
        if simulated
        else DryRun(executor, journal, ideal_qubits=task.ideal_qubits)
    )
    job = _Job(
        task=task,
        executor=executor,
        source=source,
        simulated=simulated,
        log=log,
        announce=journal.announce,
        decoded=decoded,
        simulated_all=lambda: enter(Stage(name=StageName.ENCODE, began=time.time(), methods=journal.methods)),
    )
    outcome = program(job)
    metrics = Metrics(
        seconds=source.seconds,
        num_circuits=len(outcome.num_qubits),
        executions=outcome.executions,
        num_qubits=outcome.num_qubits,
        qiskit_version=qiskit.__version__,
    )
    if level <= logging.INFO:
        log(f"{task.program_id} on {task.backend_name}: {metrics.executions} shots in {metrics.seconds:.3f} s.")
    return Completed(metrics=metrics, result=outcome.document)


def _view(task: Task) -> bytes | None:
    """Return what people are to be shown of a job; None if the task is to run one."""
    if task.program_id == OUTCOMES:
        return outcomes(task.params)
    kind, _, program = task.program_id.partition(":")
    return views.drawing(program, task.params) if kind == DRAWING else None


def _silently(_line: str) -> None:
    """Drop what is less than an error."""


def _predicted(
    program: "Callable[[_Job], _Outcome]",
    task: Task,
    decoded: Callable[[], None],
    executor: BaseExecutor,
    source: Predictor,
) -> bool:
    """Run a job up to where its predictor knows enough; return whether it asks for shots at all."""
    if isinstance(program, _Primitive) and replaces(executor, program.method):
        return False
    program(
        _Job(
            task=task,
            executor=executor,
            source=source,
            simulated=False,
            log=_silently,
            announce=_silently,
            decoded=decoded,
        )
    )
    return True


def check_calibration(task: Task, executor: Simulator) -> None:
    """Check that this executor's description of the device is the one that the job was accepted with.

    Raises:
        CalibrationMissingError: If it is another one, or there is none.
    """
    try:
        metadata = metadata_of(task.backend_name)
        known = executor.catalog.get(metadata, ideal_qubits=executor.capabilities().num_qubits).digest
    except BackendNotFoundError as error:
        raise CalibrationMissingError(f"This executor does not have the job's device: {error}") from error
    if known != task.calibration_digest:
        raise CalibrationMissingError(
            f"The job was accepted with calibration {task.calibration_digest[:12]} of {metadata}; this executor has"
            f" {known[:12]}."
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What a program runs.

    Attributes:
        executor: That of the task.
        source: Takes the shots on it, or pretends to.
        simulated: Whether the executor is to run it.
        log: Takes lines for the job's log.
        announce: Takes one that says what will be run.
        decoded: To be called when the params have been decoded.
        simulated_all: To be called when there is nothing left to do but to encode a result that may be large.
    """

    task: Task
    executor: BaseExecutor
    source: ShotSource
    simulated: bool
    log: Callable[[str], None]
    announce: Callable[[str], None]
    decoded: Callable[[], None]
    simulated_all: Callable[[], None] = lambda: None

    @property
    def routing(self) -> dict[str, object]:
        """What the metadata of its result says of where it was made, and why; nothing if its client said where."""
        routing = self.task.routing
        if routing is None:
            return {}
        known = {name: each.seconds for name, each in routing.predictions.items() if not each.refusal}
        executor = VirtualBackend.parse(self.task.backend_name).executor
        return {"routing": {"executor": executor, "predicted_seconds": known}}


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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Primitive:
    """A program that runs pubs.

    Attributes:
        method: The name of the executor's method by which a plug-in may replace it.
        goal: What of the params pubs have in common: `shots` or `precision`.
        pub: Makes a pub of what the client sent, what to call it, and the goal.
        options: Reads the options; the seed is for jobs that have none.
        methods: What is done for pubs at these options.
        execute: Runs pubs with options on a backend.
        executions: How many shots a pub took, from its result's metadata.
        runs: How many circuits with values for their parameters a pub is, variants of mitigation left out.
    """

    method: str
    goal: str
    pub: Callable[[Any, str, Any], Any]
    options: Callable[[Mapping[str, Any], int], Options]
    methods: Callable[[Options], Methods]
    execute: Callable[[ShotSource, Sequence[Any], Options, str], PrimitiveResult[Any]]
    executions: Callable[[Any, Mapping[str, Any]], int]
    runs: Callable[[Any], int]

    def __call__(self, job: _Job) -> _Outcome:
        params = decode_params(job.task.params, self.goal)
        pubs = [self.pub(pub, f"pubs[{index}]", params.goal) for index, pub in enumerate(params.pubs)]
        check_size((pub.circuit for pub in pubs), job.task.max_qubits)
        job.decoded()
        if params.transpilation:
            job.log("Option transpilation has no effect: circuits are run as they are.")
        if job.simulated and replaces(job.executor, self.method):
            options = with_seed(params.options, job.task.seed)
            result = getattr(job.executor, self.method)(pubs, options, job.task.backend_name)
        else:
            result = self._run(job, pubs, self.options(params.options, job.task.seed))
        if isinstance(result, PrimitiveResult):
            result.metadata.update(job.routing)
        job.simulated_all()
        return _Outcome(
            document=encode_plain(result) if params.plain else encode_result(result, params.qpy_version),
            executions=sum(map(self.executions, pubs, _metadata(result, len(pubs)))),
            num_qubits=tuple(pub.circuit.num_qubits for pub in pubs),
        )

    def _run(self, job: _Job, pubs: Sequence[Any], options: Options) -> PrimitiveResult[Any]:
        for option in idle(options, self.methods(options)):
            job.log(f"Option {option} has no effect, as what it belongs to is switched off.")
        job.announce(self._outlook(pubs, self.methods(options)))
        if _loses_relaxation(options.noise_model, [pub.circuit for pub in pubs]):
            job.log(
                "Delays are ideal: simulator.noise_model has no errors for them, and clients do not send relaxation."
            )
        return self.execute(job.source, pubs, options, job.task.backend_name)

    def _outlook(self, pubs: Sequence[Any], methods: Methods) -> str:
        """Return what is to be run, for people: how many circuits, and what varies them."""
        runs, count = sum(map(self.runs, pubs)), len(pubs)
        varied = f"; each is varied or repeated by {methods.names()}" if methods.names() else ""
        return f"Runs {runs} circuit{'s' * (runs != 1)} of {count} pub{'s' * (count != 1)}{varied}."


def _loses_relaxation(model: NoiseModel | None, circuits: Iterable[QuantumCircuit]) -> bool:
    """Return whether delays are ideal in spite of a noise model, which Aer's encoding of such passes leaves out."""
    return model is not None and "delay" not in model.noise_instructions and any(map(_has_delay, circuits))


def _has_delay(circuit: QuantumCircuit) -> bool:
    """Return whether there is a delay in `circuit`, or in a block of it."""
    return any(
        instruction.name == "delay" or any(map(_has_delay, getattr(instruction.operation, "blocks", ())))
        for instruction in circuit.data
    )


def _metadata(result: object, length: int) -> list[Mapping[str, Any]]:
    """Return the metadata of each pub's result; empty where an executor gave none."""
    if not isinstance(result, PrimitiveResult):
        return [{}] * length
    return [pub_result.metadata for pub_result in result]


def _run_quantum_program(job: _Job) -> _Outcome:
    program = decode_program(job.task.params)
    check_size((item.circuit for item in program.items), job.task.max_qubits)
    job.decoded()
    document = executor_program.execute(
        job.source, program, job.task.backend_name, job.task.seed, job.simulated_all, metadata=job.routing
    )
    return _Outcome(
        document=document,
        executions=executor_program.executions(program),
        num_qubits=tuple(item.circuit.num_qubits for item in program.items),
    )


def _learn_noise(job: _Job) -> _Outcome:
    result = noise_learner.execute(
        job.source, job.task.params, job.task.backend_name, job.task.seed, job.decoded, metadata=job.routing
    )
    return _Outcome(document=result.document, executions=result.executions, num_qubits=result.num_qubits)


def _calibrate(job: _Job) -> _Outcome:
    return _Outcome(document=calibrate.execute(job.task.params), executions=0, num_qubits=())


_PROGRAMS: Final[Mapping[str, Callable[[_Job], _Outcome]]] = {
    ProgramName.SAMPLER: _Primitive(
        method="execute_sampler",
        goal="shots",
        pub=sampler_pub,
        options=sampler_options,
        methods=sampler_methods,
        execute=sampler.execute,
        executions=lambda pub, metadata: int(metadata.get("shots") or pub.shots or 0) * pub.size,
        runs=lambda pub: int(pub.size),
    ),
    ProgramName.ESTIMATOR: _Primitive(
        method="execute_estimator",
        goal="precision",
        pub=estimator_pub,
        options=estimator_options,
        methods=estimator_methods,
        execute=estimator.execute,
        executions=lambda pub, metadata: int(metadata.get("shots") or 0) * estimator.num_configurations(pub),
        runs=estimator.num_configurations,
    ),
    ProgramName.EXECUTOR: _run_quantum_program,
    ProgramName.NOISE_LEARNER: _learn_noise,
    ProgramName.CALIBRATE: _calibrate,
}
