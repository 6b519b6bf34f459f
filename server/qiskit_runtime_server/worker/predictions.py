"""Has it said what a job would take on each of some executors; their offers are made here, in one worker process.

Of executors whose code is not here, or that were given as objects elsewhere, nothing is said: their own workers know.
"""

from collections.abc import Callable

import msgspec

from qiskit_runtime_server.errors import JobError, StartupError
from qiskit_runtime_server.executors.base import BaseExecutor
from qiskit_runtime_server.executors.ready import stand_in
from qiskit_runtime_server.messages.messages import Candidate, Prediction, Task
from qiskit_runtime_server.programs.device.predictor import PredictedError, Predictor

Program = Callable[[BaseExecutor, Predictor], bool]
"""Runs a job on an executor with such shots; returns whether it has asked for these, and not run in its own way."""


def predictions(task: Task, executor: BaseExecutor, program: Program) -> bytes:
    """Return what the job of a task would take on its candidates, as a JSON object by their names.

    Args:
        task: Has candidates.
        executor: That of this worker.
        program: The job's.
    """
    found = {}
    for candidate in task.candidates:
        simulator = executor if candidate.asked else _stand_in(candidate, executor)
        if simulator is not None:
            found[candidate.executor] = _prediction(task, simulator, program)
    return msgspec.json.encode(found)


def _stand_in(candidate: Candidate, own: BaseExecutor) -> BaseExecutor | None:
    try:
        found = stand_in(candidate.capabilities)
    except StartupError:
        return None
    if found is not None:
        found.catalog = own.catalog
    return found


def _prediction(task: Task, simulator: BaseExecutor, program: Program) -> Prediction:
    source = Predictor(simulator, limit_seconds=task.run_seconds, ideal_qubits=task.ideal_qubits)
    try:
        asked = program(simulator, source)
    except PredictedError:
        asked = True
    except JobError as error:
        return Prediction.refused(str(error))
    return Prediction(seconds=source.predicted_seconds if asked else None)
