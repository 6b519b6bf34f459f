"""Calls to a store that may be away: made again until it answers, and undone if they come too late."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine
from functools import partial
from typing import Any, Final, TypeVar

from qiskit_runtime_server.errors import ServerError, StoreFullError, UnavailableError
from qiskit_runtime_server.log.failures import FailureLog
from qiskit_runtime_server.store.port import Claim, Store
from qiskit_runtime_server.waiting import Backoff

# How long a job that runs, or a result, is held on to while the store is away.
_INSIST_SECONDS: Final = 600.0
# The same while its disk is full, which passes less often.
_INSIST_ON_ROOM_SECONDS: Final = 60.0
_FIRST_RETRY_SECONDS: Final = 0.1
_LAST_RETRY_SECONDS: Final = 1.0

T = TypeVar("T")

logger = logging.getLogger(__name__)


async def insist(call: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Make a call to the store, and make it again while the store is away.

    Raises:
        ServerError: At once, if it is an answer.
        Exception: If the store is away, or full, for too long.
    """
    start = time.monotonic()
    backoff = Backoff(_FIRST_RETRY_SECONDS, _LAST_RETRY_SECONDS)
    failures = FailureLog(logger)
    while True:
        try:
            return await call()
        except Exception as error:
            if isinstance(error, ServerError) and not isinstance(error, UnavailableError):
                raise
            limit = _INSIST_ON_ROOM_SECONDS if isinstance(error, StoreFullError) else _INSIST_SECONDS
            if time.monotonic() - start > limit:
                raise
            seconds = backoff.fail()
            # What is no word of the store's own may be a mistake here.
            mistake = None if isinstance(error, UnavailableError) else error
            failures.failed(f"The store does not answer a call for a job, which is repeated: {error}", mistake)
        await asyncio.sleep(seconds)


async def params_of(store: Store, claim: Claim) -> bytes:
    """Return what a claimed job was submitted with; errors as those of `DocumentStore.params`."""
    if claim.params is not None:
        return claim.params
    return await insist(partial(store.documents.params, claim.job.id))


async def undone_if_cancelled(
    call: Coroutine[Any, Any, Claim | None], undo: Callable[[Claim], Awaitable[None]]
) -> Claim | None:
    """Return what the store answers; it finishes what it has begun, so a claim that comes too late is undone."""
    calling = asyncio.ensure_future(call)
    try:
        return await asyncio.shield(calling)
    except asyncio.CancelledError:
        if claim := await calling:
            await undo(claim)
        raise
