"""Probes for supervisors: whether the process is alive, and whether it can take jobs."""

from typing import Any

from fastapi import APIRouter

from qiskit_runtime_server.api.services import TheServices

router = APIRouter(prefix="/health", tags=["health"])


@router.get("/live")
async def live() -> dict[str, str]:
    """Answer as long as the process works."""
    return {"status": "alive"}


@router.get("/ready")
async def ready(services: TheServices) -> dict[str, Any]:
    """Answer when the store answers; the executors' slots have been warm before anybody listened."""
    await services.store.counts.load()
    executors = {name: {"slots": pool.size, "idle": pool.idle} for name, pool in services.pools.items()}
    return {"status": "ready", "executors": executors}
