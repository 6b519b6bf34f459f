"""Probes for supervisors: whether the process is alive, and whether it can take jobs."""

from fastapi import APIRouter, Request

from qiskit_runtime_server.api.models.base import errors
from qiskit_runtime_server.api.models.health import Live, Ready, Slots
from qiskit_runtime_server.api.services import TheServices
from qiskit_runtime_server.dispatch.pools import Pool

router = APIRouter(prefix="/health", tags=["health"], responses=errors())


@router.get("/live")
async def live() -> Live:
    """Answer as long as the process works."""
    return Live(status="alive")


@router.get("")
@router.get("/ready")
async def ready(request: Request, services: TheServices) -> Ready:
    """Answer when the store answers; the executors' slots have been warm before anybody listened."""
    await services.store.counts.load()
    executors = {name: await _slots(pool) for name, pool in services.pools.items()}
    takes_jobs = await services.store.has_room()
    return Ready(status="ready", version=request.app.version, takes_jobs=takes_jobs, executors=executors)


async def _slots(pool: Pool) -> Slots:
    confinement = list((await pool.capabilities()).confinement) if pool.size else None
    return Slots(slots=pool.size, idle=pool.idle, confinement=confinement)
