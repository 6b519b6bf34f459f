"""Where a job runs that may run on any of several executors: where it is done first, as far as that is known.

That is a list scheduler's rule, earliest completion (Graham, 1966, https://doi.org/10.1002/j.1538-7305.1966.tb01709.x):

    aer    free at once, 13 s there        13 s
    qsim   free in 2 s, 1 s there           3 s     chosen; with 13 s to wait it would be aer

Estimates are rough, so what differs by little counts as equal, and then the executor is chosen that is named first.
"""

from collections.abc import Mapping
from typing import Final

from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.messages.messages import Prediction

_EQUAL_SECONDS: Final = 0.25
_EQUAL_SHARE: Final = 0.1
# What a job is moved for: to wait anew costs its place among those that are as old.
_GAIN_SECONDS: Final = 1.0
_GAIN_SHARE: Final = 0.25
# Of jobs with loops it is not known on any executor how long they take, so only what they wait for counts.
_UNKNOWN_SECONDS: Final = 60.0

Waits = Mapping[ExecutorName, float | None]
"""For how many seconds a job would wait on each executor; None where nobody knows when that would end."""

Predictions = Mapping[str, Prediction]


def choose(predictions: Predictions, waits: Waits, sizes: Mapping[ExecutorName, int]) -> ExecutorName:
    """Return the executor for a job.

    Where none can run it, that is the largest one, which says what would run. Where it is not known of any that it can,
    or all that can are away, the first one that may.

    Args:
        predictions: What is known of the job.
        waits: Of all executors, at least one, the preferred ones first.
        sizes: How many qubits fit into each.
    """
    ends = _ends(predictions, waits)
    if ends:
        best = min(ends.values())
        within = max(best + _EQUAL_SECONDS, best * (1 + _EQUAL_SHARE))
        return next(name for name, seconds in ends.items() if seconds <= within)
    able = [name for name in waits if name in predictions and not predictions[name].refusal]
    unknown = [name for name in waits if name not in predictions]
    here = [name for name in unknown if waits[name] is not None]
    if able or unknown:
        return [*here, *able, *unknown][0]
    return max(waits, key=lambda name: sizes.get(name, 0))


def better(job_on: ExecutorName, predictions: Predictions, waits: Waits) -> ExecutorName | None:
    """Return on which executor a waiting job would be done so much sooner that it is moved; None if on none.

    Args:
        job_on: Where it waits.
        predictions: What is known of the job.
        waits: Of all executors; that of `job_on` is without the job itself.
    """
    ends = _ends(predictions, waits)
    here = ends.pop(job_on, None)
    if not ends:
        return None
    best = min(ends, key=lambda name: ends[name])
    if here is None:
        return best if waits[job_on] is None else None
    return best if here - ends[best] > max(_GAIN_SECONDS, _GAIN_SHARE * here) else None


def _ends(predictions: Predictions, waits: Waits) -> dict[ExecutorName, float]:
    """Return after how many seconds a job would be done, on each executor that can run it and is not away."""
    ends = {}
    for name, wait in waits.items():
        prediction = predictions.get(name)
        if wait is not None and prediction is not None and not prediction.refusal:
            ends[name] = wait + (_UNKNOWN_SECONDS if prediction.seconds is None else prediction.seconds)
    return ends
