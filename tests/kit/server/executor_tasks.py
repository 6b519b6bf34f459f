"""Tasks as an api sends them to the executor `counted`."""

import json
from itertools import count

from kit.server.http_jobs import circuit_of, params_of
from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.messages.messages import Task

_NUMBERS = count()


def task_of(name: str, *, job_id: str | None = None, fence: int = 1) -> Task:
    """Return a task whose circuit has a name that says what happens."""
    return Task(
        job_id=job_id or f"job-{next(_NUMBERS)}",
        fence=fence,
        program_id="sampler",
        backend_name="fake_manila@counted",
        calibration_digest=Catalog().get("fake_manila", ideal_qubits=5).digest,
        seed=1,
        seconds=60,
        params=json.dumps(params_of(circuit_of(name))).encode(),
    )
