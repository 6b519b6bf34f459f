"""Has a job's circuits drawn, and its result looked through, by a worker of its executor: nothing else decodes them.

That takes a slot for a moment, as a short job does, and nobody's job waits for longer than it is allowed to take. Where
all slots are busy it is done beside them, if there is a place for that, with less memory. One of an account is made at
a time, and what was made is kept for a while.
"""

import asyncio
import uuid
from collections import OrderedDict
from contextlib import aclosing
from typing import Final

from qiskit_runtime_server.dispatch.pools import LookPool, Pool, Reservation, RunLost, first_free
from qiskit_runtime_server.errors import BusyError, InvalidStateError, NoFreeSlotError, OutOfMemoryError
from qiskit_runtime_server.jobs import Job
from qiskit_runtime_server.messages.messages import Completed, Event, Failed, Task
from qiskit_runtime_server.waiting import Turns

MOST_BYTES: Final = 16 * 2**20
"""How large params and results may be of which a view is made."""

_WAIT_SECONDS: Final = 3.0
_SECONDS: Final = 10.0
_KEPT: Final = 256
_MOST_VIEW_BYTES: Final = 2**20
_LIMIT: Final = "a view of a job may take no longer"


class Views:
    """Makes views of jobs, and keeps the newest ones."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, str], bytes] = OrderedDict()
        self._turns = Turns()

    def known(self, job: Job, view: str) -> bytes | None:
        """Return a view that was made before."""
        return self._kept.get((job.id, view))

    async def make(self, pool: Pool, job: Job, view: str, document: bytes) -> bytes:
        """Return what a worker makes of a document of a job.

        Raises:
            BusyError: If no slot is free.
            InvalidStateError: If nothing can be made of it; the message says why.
        """
        async with self._turns.of(job.account):
            if (kept := self.known(job, view)) is not None:
                return kept
            made = await _made(pool, job, view, document)
            self._kept[job.id, view] = made
            while len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
            return made


async def _made(pool: Pool, job: Job, view: str, document: bytes) -> bytes:
    try:
        async with asyncio.timeout(_WAIT_SECONDS):
            places = [pool.reserve()] + ([pool.reserve_look()] if isinstance(pool, LookPool) else [])
            number, reservation = await first_free(places)
    except TimeoutError as error:
        raise BusyError(f"All slots of {job.executor} are taken: try again when one is free.") from error
    try:
        last = await _last_event(reservation, job, view, document)
    except (NoFreeSlotError, RunLost) as error:
        raise BusyError(f"Executor {job.executor} has no free slot now: {error} Try again.") from error
    finally:
        reservation.release()
    match last:
        case Completed(result=made) if len(made) <= _MOST_VIEW_BYTES:
            return made
        case Completed():
            raise InvalidStateError("What there is to be shown is too large.")
        case Failed(code=OutOfMemoryError.code) if number > 0:
            raise BusyError(f"All slots of {job.executor} are taken, and it is large: try again when one is free.")
        case Failed(reason=reason):
            raise InvalidStateError(reason)
    raise BusyError(f"Executor {job.executor} is about to stop: try again.")


async def _last_event(reservation: Reservation, job: Job, view: str, document: bytes) -> Event | None:
    task = Task(
        job_id=f"view-{uuid.uuid4().hex}",
        fence=1,
        program_id=view,
        backend_name=job.backend,
        calibration_digest=job.calibration_digest,
        seed=1,
        seconds=_SECONDS,
        limit=_LIMIT,
        account=job.account,
        params=document,
    )
    last: Event | None = None
    async with aclosing(reservation.run(task)) as events:
        async for event in events:
            last = event
    return last
