"""A job that every slot of an executor service must get right before the executor is ready."""

import json
from typing import Final

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.backends.ideal import IDEAL_NAMES
from qiskit_runtime_server.messages.messages import Task

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
