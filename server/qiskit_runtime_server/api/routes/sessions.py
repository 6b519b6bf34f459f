"""Sessions and batches: jobs that belong together and go before the other jobs of their account."""

import math
import uuid
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Request

from qiskit_runtime_server.accounts.identity import Identity
from qiskit_runtime_server.api import audit, bodies
from qiskit_runtime_server.api.models import sessions as models
from qiskit_runtime_server.api.models.base import SIGNED_IN, PathName, errors
from qiskit_runtime_server.api.services import Caller, Services, TheServices
from qiskit_runtime_server.errors import InvalidStateError, MalformedRequestError
from qiskit_runtime_server.jobs import Session, SessionId, SessionMode

router = APIRouter(prefix="/sessions", tags=["sessions"], responses=errors(*SIGNED_IN))


class NewSession(msgspec.Struct, kw_only=True):
    """The body of a new session; other fields are ignored."""

    backend: Annotated[str, msgspec.Meta(max_length=256)]
    mode: SessionMode = SessionMode.DEDICATED
    max_ttl: Annotated[int, msgspec.Meta(gt=0, le=2**31 - 1)] | None = None


class Change(msgspec.Struct, kw_only=True):
    """The body of a change of a session."""

    accepting_jobs: bool


_NEW_SESSIONS: Final = msgspec.json.Decoder(NewSession)
_CHANGES: Final = msgspec.json.Decoder(Change)


@router.post("", openapi_extra=bodies.documented(NewSession))
async def create(request: Request, caller: Caller, services: TheServices) -> models.Session:
    """Open a session (`dedicated`) or a batch; its clock, `max_ttl` in seconds, starts with its first job."""
    body = bodies.decode(await bodies.read(request, limit=bodies.SMALL), _NEW_SESSIONS)
    await services.outline(body.backend)
    return _view(await opened(services, caller, body.backend, body.mode, body.max_ttl))


@router.get("/{session_id}")
async def get(session_id: PathName, caller: Caller, services: TheServices) -> models.Session:
    """Return a session with its state and times."""
    return _view(await services.store.sessions.get(caller.id, session_id))


@router.patch("/{session_id}", status_code=204, openapi_extra=bodies.documented(Change))
async def change(session_id: PathName, request: Request, caller: Caller, services: TheServices) -> None:
    """Close a session with `{"accepting_jobs": false}`: its queued and running jobs still end as they should."""
    if bodies.decode(await bodies.read(request, limit=bodies.SMALL), _CHANGES).accepting_jobs:
        raise MalformedRequestError("A session cannot be opened again: create another.")
    await services.store.sessions.close(caller.id, session_id)


@router.delete("/{session_id}/close", status_code=204)
async def cancel(session_id: PathName, caller: Caller, services: TheServices) -> None:
    """Close a session and cancel its queued jobs; a running one goes on."""
    await services.store.sessions.close(caller.id, session_id)
    for job_id in await services.store.sessions.queued_jobs(SessionId(session_id)):
        try:
            job = await services.cancel(caller.id, job_id, reason="Its session was cancelled.")
        except InvalidStateError:
            continue
        audit.tell("cancel", caller, job=job.id, owner=job.account, session=session_id)


async def opened(services: Services, caller: Identity, backend: str, mode: SessionMode, max_ttl: int | None) -> Session:
    """Open a session on a backend that there is, for `max_ttl` seconds; None for as long as the server allows.

    Raises:
        MalformedRequestError: If that is longer than the server allows.
    """
    longest = services.settings.session_max_ttl
    if max_ttl is not None and max_ttl > longest.total_seconds():
        raise MalformedRequestError(f"A max_time of {max_ttl} s is over the limit of {longest.total_seconds():g} s.")
    session = Session(
        id=SessionId(str(uuid.uuid4())),
        account=caller.id,
        instance=caller.crn,
        backend=backend,
        mode=mode,
        created=datetime.now(UTC),
        max_ttl=timedelta(seconds=max_ttl) if max_ttl else longest,
        interactive_ttl=services.settings.session_interactive_ttl,
    )
    await services.store.sessions.add(session, caller.instance.limits)
    return session


def _view(session: Session) -> models.Session:
    now = datetime.now(UTC)
    return models.Session(
        id=session.id,
        backend_name=session.backend,
        mode=session.mode,
        state=session.state(now),
        accepting_jobs=session.accepts_jobs(now),
        user_id=session.account,
        max_ttl=int(session.max_ttl.total_seconds()),
        active_ttl=math.ceil(session.remaining(now).total_seconds()),
        interactive_ttl=int(session.interactive_ttl.total_seconds()),
        created_at=session.created.isoformat(),
        started_at=bodies.timestamp(session.first_job_started),
        activated_at=bodies.timestamp(session.activated()),
        closed_at=bodies.timestamp(session.ended(now)),
        last_job_started=bodies.timestamp(session.last_job_started),
        last_job_completed=bodies.timestamp(session.last_job_completed),
        elapsed_time=session.seconds,
        timestamps=[
            models.Transition(status=state, timestamp=time.isoformat()) for state, time in session.history(now)
        ],
    )
