"""Plain HTTP, as clients without Qiskit send it: circuits as OpenQASM 3, results as plain JSON."""

import time
from typing import Any, Final

from qiskit import qasm3

from qiskit_runtime_server.conformance.check import DifferenceError, check, require
from qiskit_runtime_server.conformance.target import Target

_ENDED: Final = {"Completed", "Failed", "Cancelled"}
_PATIENCE: Final = 300.0  # seconds


def _submitted(target: Target, program: str, pubs: list[Any], **changes: object) -> dict[str, Any]:
    body = {"program_id": program, "backend": target.backend.name, "params": {"pubs": pubs, "version": 2}, **changes}
    answer = target.rest("POST", "/jobs", json=body)
    require(answer.ok, f"{answer.status_code} {answer.text}")
    return _end_of(target, answer.json()["id"])


def _end_of(target: Target, job_id: str) -> dict[str, Any]:
    begin = time.monotonic()
    while time.monotonic() - begin < _PATIENCE:
        job: dict[str, Any] = target.rest("GET", f"/jobs/{job_id}").json()
        if job["status"] in _ENDED:
            return job
        time.sleep(0.1)
    raise DifferenceError(f"job {job_id} has not ended in {_PATIENCE:g} s")


@check("rest.sampler")
def sampler(target: Target) -> None:
    """A sampler job with OpenQASM 3 has a hexadecimal string for each shot."""
    job = _submitted(target, "sampler", [[qasm3.dumps(target.measured), None, 100]])
    require(job["status"] == "Completed", job)
    samples = target.rest("GET", f"/jobs/{job['id']}/results").json()["results"][0]["data"]["meas"]["samples"]
    require(len(samples) == 100 and set(samples) <= {"0x0", "0x1", "0x2", "0x3"}, samples[:4])  # noqa: PLR2004 - as above


@check("rest.estimator")
def estimator(target: Target) -> None:
    """An estimator job with OpenQASM 3 has numbers for values."""
    job = _submitted(target, "estimator", [[qasm3.dumps(target.bell), "Z" * target.backend.num_qubits]])
    require(job["status"] == "Completed", job)
    data = target.rest("GET", f"/jobs/{job['id']}/results").json()["results"][0]["data"]
    require(isinstance(data["evs"], float) and isinstance(data["stds"], float), data)


@check("rest.session")
def session(target: Target) -> None:
    """A session is opened, read and closed."""
    opened = target.rest("POST", "/sessions", json={"mode": "dedicated", "backend": target.backend.name})
    require(opened.ok, opened.text)
    path = f"/sessions/{opened.json()['id']}"
    require(target.rest("GET", path).json()["accepting_jobs"], "a new session takes no jobs")
    require(target.rest("DELETE", f"{path}/close").ok, "it cannot be closed")
    closed = target.rest("GET", path).json()
    require(closed["state"] == "closed", closed)


@check("rest.usage")
def usage(target: Target) -> None:
    """The usage of the instance has the seconds that were consumed and the instance's id."""
    said = target.rest("GET", "/instances/usage").json()
    require(said["usage_consumed_seconds"] >= 0 and said["instance_id"], said)


@check("errors.bad-pub")
def bad_pub(target: Target) -> None:
    """A pub that is no circuit is refused, or its job fails and says why."""
    body = {"program_id": "sampler", "backend": target.backend.name, "params": {"pubs": [["nonsense"]], "version": 2}}
    answer = target.rest("POST", "/jobs", json=body)
    if answer.ok:
        job = _end_of(target, answer.json()["id"])
        require(job["status"] == "Failed" and job["state"].get("reason"), job)
    else:
        require(answer.status_code in {400, 422}, f"{answer.status_code} {answer.text}")


@check("errors.bad-backend")
def bad_backend(target: Target) -> None:
    """A job for a backend that there is none of gets 4xx with an error."""
    params = {"pubs": [[qasm3.dumps(target.measured)]], "version": 2}
    answer = target.rest("POST", "/jobs", json={"program_id": "sampler", "backend": "no_such", "params": params})
    require(answer.status_code in {400, 404} and answer.json()["errors"], f"{answer.status_code} {answer.text}")


@check("errors.wrong-token")
def wrong_token(target: Target) -> None:
    """An access token that nobody issued gets 401."""
    answer = target.rest("GET", "/backends", token="nobody-issued-this")  # noqa: S106 - that is the question
    require(answer.status_code == 401, f"{answer.status_code} {answer.text}")  # noqa: PLR2004 - as above
