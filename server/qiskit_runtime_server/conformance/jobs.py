"""Jobs, sessions, listings and accounts, as the client library shows them."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

from qiskit_ibm_runtime import Batch, SamplerV2, Session
from qiskit_ibm_runtime.exceptions import (
    IBMInputValueError,
    IBMRuntimeError,
    RuntimeInvalidStateError,
    RuntimeJobNotFound,
)

from qiskit_runtime_server.conformance.check import NotOfferedError, check, refusal, require
from qiskit_runtime_server.conformance.target import Target


def _finished(target: Target, tag: str) -> Any:  # noqa: ANN401 - a job, whose class differs between versions
    sampler = SamplerV2(mode=target.backend, options={"environment": {"job_tags": [tag]}})
    job = sampler.run([target.measured], shots=10)
    job.result()
    return job


@check("jobs.details")
def job_says_what_it_did(target: Target) -> None:
    """A job says its state, its usage, its inputs and its tags, which can be changed."""
    job = _finished(target, "conformance-details")
    require(str(job.status()).rpartition(".")[2] == "DONE", job.status())
    require(job.usage() >= 0, job.usage())
    require(job.metrics()["usage"], job.metrics())
    require(len(job.inputs["pubs"]) == 1, job.inputs)
    require(isinstance(job.logs(), str), job.logs())
    job.update_tags(["conformance-renamed"])
    require(list(job.tags) == ["conformance-renamed"], job.tags)


@check("jobs.listing")
def jobs_are_found(target: Target) -> None:
    """Jobs are found by tag, backend, time and order."""
    tag = f"conformance-{time.time_ns()}"
    ids = [_finished(target, tag).job_id() for _ in range(2)]
    service, now = target.service, datetime.now(UTC)
    require([job.job_id() for job in service.jobs(job_tags=[tag])] == ids[::-1], ids)
    require([job.job_id() for job in service.jobs(job_tags=[tag], descending=False)] == ids, ids)
    require([job.job_id() for job in service.jobs(job_tags=[tag], limit=1, skip=1)] == ids[:1], ids)
    require(len(service.jobs(job_tags=[tag], backend_name=target.backend.name)) == len(ids), ids)
    require(service.jobs(job_tags=[tag], pending=True) == [], "jobs that have ended are pending")
    require(service.jobs(job_tags=[tag], created_before=now - timedelta(days=1)) == [], "they are of yesterday")
    require(len(service.jobs(job_tags=[tag], created_after=now - timedelta(days=1))) == len(ids), ids)


@check("jobs.delete")
def job_is_deleted(target: Target) -> None:
    """A job that was deleted is not found."""
    job_id = _finished(target, "conformance-delete").job_id()
    require(target.service.job(job_id).job_id() == job_id, job_id)
    target.service.delete_job(job_id)
    refusal(RuntimeJobNotFound, lambda: target.service.job(job_id))


@check("jobs.private")
def private_result_is_read_once(target: Target) -> None:
    """The result of a private job can be read once."""
    job = SamplerV2(mode=target.backend, options={"environment": {"private": True}}).run([target.measured], shots=10)
    require(job.result()[0].data.meas.num_shots == 10, "no result")  # noqa: PLR2004 - as above
    require(target.service.job(job.job_id()).result() is None, "the result was readable twice")


@check("sessions.dedicated")
def session(target: Target) -> None:
    """A session takes jobs, is listed with them, and takes none once it is closed."""
    _mode(target, Session, "dedicated")


@check("sessions.batch")
def batch(target: Target) -> None:
    """A batch takes jobs, is listed with them, and takes none once it is closed."""
    _mode(target, Batch, "batch")


def _mode(target: Target, kind: type[Any], mode: str) -> None:
    with kind(backend=target.backend, max_time="10m") as opened:
        jobs = [SamplerV2(mode=opened).run([target.measured], shots=10) for _ in range(2)]
        for job in jobs:
            job.result()
        details = opened.details()
        require(details["mode"] == mode and details["accepting_jobs"] and details["max_time"] == 600, details)  # noqa: PLR2004 - as above
    require(opened.status() == "Closed", opened.status())
    found = {job.job_id() for job in target.service.jobs(session_id=opened.session_id)}
    require(found == {job.job_id() for job in jobs}, found)
    again = kind.from_id(opened.session_id, target.service)
    refusal(IBMRuntimeError, lambda: SamplerV2(mode=again).run([target.measured], shots=10))


@check("backends.listing")
def backends(target: Target) -> None:
    """The backends are listed, each is found by its name, and the least busy one is one of them."""
    names = {one.name for one in target.backends}
    require(target.backend.name in names, names)
    require(target.service.least_busy().name in names, names)
    require(target.service.backend(target.backend.name).num_qubits == target.backend.num_qubits, names)


@check("backends.device")
def device(target: Target) -> None:
    """A device has a status, a configuration, properties and a target."""
    one = target.backend
    require(one.status().pending_jobs >= 0, one.status())
    require(one.configuration().max_experiments is None or one.configuration().max_experiments > 0, "max_experiments")
    require(one.properties().t1(0) > 0, "no T1")
    require(one.target.num_qubits == one.num_qubits, one.target.num_qubits)


@check("accounts.usage")
def usage(target: Target) -> None:
    """The account's usage is a number of seconds."""
    try:
        said = target.service.usage()
    except IBMInputValueError as error:
        if "only available for" not in str(error):  # as clients of the first channel say, which ask nobody
            raise
        raise NotOfferedError(f"this client asks for no usage: {error}") from error
    require(said["usage_consumed_seconds"] >= 0, said)


@check("accounts.instances")
def instances(target: Target) -> None:
    """The instances of the account are listed."""
    require(target.service.instances(), "none")


@check("errors.unknown-backend")
def unknown_backend(target: Target) -> None:
    """A backend that there is none of is not found."""
    from qiskit.providers.exceptions import QiskitBackendNotFoundError  # noqa: PLC0415 - beside its only use

    refusal(QiskitBackendNotFoundError, lambda: target.service.backend("no_such_backend"))


@check("errors.unknown-job")
def unknown_job(target: Target) -> None:
    """A job that there is none of is not found."""
    refusal(RuntimeJobNotFound, lambda: target.service.job("cabcdefghijklmnopqrs"))


@check("errors.cancel")
def cancel(target: Target) -> None:
    """A job is cancelled unless it has ended, and one that has ended cannot be."""
    job = SamplerV2(mode=target.backend).run([target.measured] * 20, shots=50_000)
    try:
        job.cancel()
    except RuntimeInvalidStateError:
        require(job.in_final_state(), job.status())
    else:
        require(str(job.status()).rpartition(".")[2] == "CANCELLED", job.status())
    refusal(RuntimeInvalidStateError, job.cancel)
