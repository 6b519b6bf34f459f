"""How busy the executors are. Of the jobs of others a caller learns what backends say anyway, how many are queued."""

from collections import Counter
from datetime import UTC, datetime

from fastapi import APIRouter

from qiskit_runtime_server.api.models.backends import ExecutorLoad, ExecutorLoads
from qiskit_runtime_server.api.models.base import SIGNED_IN, errors
from qiskit_runtime_server.api.services import Caller, TheServices
from qiskit_runtime_server.store.port import Load

router = APIRouter(prefix="/executors", tags=["backends"], responses=errors(*SIGNED_IN))


@router.get("")
async def list_loads(caller: Caller, services: TheServices) -> ExecutorLoads:
    """List the executors: queued jobs, slots and whether they are ready; for admins also what everybody runs there.

    `own_running` counts the newest 1,000 jobs of the caller that run.
    """
    loads = await services.store.counts.load()
    own = Counter(job.executor for job in await services.running(caller.id))
    now, tells_all = datetime.now(UTC), caller.is_admin
    found = []
    for name, pool in services.pools.items():
        load = loads.get(name, Load())
        reason = services.reason_to_wait(name, load)
        found.append(
            ExecutorLoad(
                name=name,
                status="paused" if services.is_paused(name, load) else "online",
                ready=not reason,
                reason=reason,
                queued=load.queued,
                slots=pool.size,
                own_running=own[name],
                running=load.running if tells_all else None,
                idle=pool.idle if tells_all else None,
                oldest_waiting_seconds=load.waiting_seconds(now) if tells_all else None,
            )
        )
    return ExecutorLoads(executors=found)
