"""A job that every slot of an executor service must get right before the executor is ready."""

import json
import time
from typing import Final

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.backends.ideal import IDEAL_NAMES
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.messages.messages import Completed, Failed, Task
from qiskit_runtime_server.worker.slots import Slots, all_or_none

_SECONDS: Final = 60.0

# An X gate and a measurement, as the client encodes them; made once, as the service does not import qiskit.
_CIRCUIT: Final = (
    "eJwL9Az29gzhZWJjYoAAxoJCBo40Bg4QE4pBgAmKYWyG4tSctJLU4hKoGEN1bSFEPSNjIUwsGSaSzIAOWGHWMWAHEe6JJakQg9iRlGJT7puaWFxa"
    "BFEMs+g/EoCpAwC67RtS"
)


def task(executor: str, ideal_qubits: int) -> Task:
    """Return the job for the executor of this name, whose slots hold `ideal_qubits`."""
    circuit = {"__type__": "QuantumCircuit", "__value__": _CIRCUIT}
    params = {"pubs": [[circuit, [], 16]], "options": {}, "version": 2, "support_qiskit": True}
    return Task(
        job_id="self-test",
        fence=1,
        program_id="sampler",
        backend_name=f"{IDEAL_NAMES[0]}@{executor}",
        calibration_digest=Catalog().get(IDEAL_NAMES[0], ideal_qubits=ideal_qubits).digest,
        seed=1,
        seconds=_SECONDS,
        params=json.dumps(params).encode(),
    )


async def passed(executor: str, slots: Slots) -> float:
    """Have each slot of the executor of this name run the job, and return how many seconds the slowest took.

    Raises:
        StartupError: If one of them cannot; the message says why.
    """
    job = task(executor, (await slots.capabilities()).num_qubits)

    async def run() -> float:
        slot = await slots.reserve()
        start = time.monotonic()
        try:
            *_, last = [event async for event in slot.run(job)]
        finally:
            slot.release()
        if not isinstance(last, Completed):
            reason = last.reason if isinstance(last, Failed) else "it gave no result"
            raise StartupError(f"The executor failed its own test: {reason}")
        return time.monotonic() - start

    return max(await all_or_none(run() for _ in range(slots.size)))
