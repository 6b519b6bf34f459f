"""Views of jobs for people: circuits drawn, outcomes counted. Workers make them: nothing is decoded in this process."""

from fastapi import APIRouter

from qiskit_runtime_server.api import audit
from qiskit_runtime_server.api.models.base import SIGNED_IN, PathName, errors
from qiskit_runtime_server.api.models.views import Drawings, Outcomes
from qiskit_runtime_server.api.services import Caller, Services, TheServices
from qiskit_runtime_server.dispatch.views import MOST_BYTES
from qiskit_runtime_server.errors import InvalidStateError, NotAllowedError, NotFoundError
from qiskit_runtime_server.jobs import Job
from qiskit_runtime_server.messages.messages import DRAWING, OUTCOMES
from qiskit_runtime_server.store.port import DocumentKind

router = APIRouter(prefix="/jobs/{job_id}", tags=["jobs"], responses=errors(*SIGNED_IN, 403, 409))


@router.get("/drawing")
async def drawing(job_id: PathName, caller: Caller, services: TheServices) -> Drawings:
    """Return the job's options and its first circuits, drawn as text; 503 while no slot is free to do it."""
    job = await services.job(caller, job_id)
    audit.tell_if_foreign("read params", caller, job)
    made = await _view(services, job, f"{DRAWING}:{job.program_id}", DocumentKind.PARAMS)
    return Drawings.model_validate_json(made)


@router.get("/outcomes")
async def outcomes(job_id: PathName, caller: Caller, services: TheServices) -> Outcomes:
    """Return the most frequent outcomes, or the expectation values, of the job's result; 503 as above."""
    job = await services.job(caller, job_id)
    audit.tell_if_foreign("read results", caller, job)
    return Outcomes.model_validate_json(await _view(services, job, OUTCOMES, DocumentKind.RESULT))


async def _view(services: Services, job: Job, view: str, kind: DocumentKind) -> bytes:
    if job.private:
        raise NotAllowedError(f"Job {job.id} is private: its params are not shown, and its result is read once.")
    if (known := services.views.known(job, view)) is not None:
        return known
    pool = services.targets.get(job.executor)
    if pool is None:
        raise NotFoundError(f"Executor {job.executor!r}, which has run the job, is not here any more.")
    with services.budget.share(job.account) as share:
        document = bytearray()
        async for piece in services.store.documents.pieces(job.id, kind):
            document += piece
            if len(document) > MOST_BYTES:
                raise InvalidStateError(f"It is too large to be shown: more than {MOST_BYTES // 2**20} MiB.")
            share.admit(len(document))
        if not document:
            raise NotFoundError(f"Job {job.id} has no {kind} to be shown.")
        return await services.views.make(pool, job, view, bytes(document))
