"""Has every slot show that its executor simulates rightly, before it gets a job; `worker.selftest` knows how."""

import logging
import time
from typing import Final

import msgspec

from qiskit_runtime_server.backends.ideal import IDEAL_NAMES
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.messages.messages import SELF_TEST, Completed, Failed, Log, Task
from qiskit_runtime_server.worker.slots import Slot, Slots, all_or_none

_SECONDS: Final = 60.0

logger = logging.getLogger(__name__)


class Passed(msgspec.Struct, frozen=True, kw_only=True):
    """A self-test that was passed.

    Attributes:
        seconds: How long the slowest slot took.
        methods: What was done rightly: `sampler`, and those of `estimator` and `expectation_values` that there are.
    """

    seconds: float
    methods: list[str]


async def run_selftest(executor: str, slots: Slots) -> Passed:
    """Have each slot of the executor of this name run the test.

    Raises:
        StartupError: If one of them does not pass; the message says why, and the log has the traceback at level debug.
    """
    task = Task(
        job_id=SELF_TEST,
        fence=1,
        program_id=SELF_TEST,
        backend_name=f"{IDEAL_NAMES[0]}@{executor}",
        calibration_digest="",
        seed=1,
        seconds=_SECONDS,
        params=b"",
    )
    passed = await all_or_none(_run(executor, slots, task) for _ in range(slots.size))
    return Passed(seconds=max(each.seconds for each in passed), methods=passed[0].methods)


async def _run(executor: str, slots: Slots, task: Task) -> Passed:
    slot: Slot = await slots.reserve()
    start = time.monotonic()
    try:
        events = [event async for event in slot.run(task)]
    finally:
        slot.release()
    last = events[-1]
    if isinstance(last, Completed):
        return Passed(seconds=time.monotonic() - start, methods=msgspec.json.decode(last.result, type=list[str]))
    for event in events:
        if isinstance(event, Log):
            logger.debug("The self-test of executor %s: %s", executor, event.text)
    reason = last.reason if isinstance(last, Failed) else "it gave no result"
    raise StartupError(f"Executor {executor!r} failed its self-test: {reason}")
