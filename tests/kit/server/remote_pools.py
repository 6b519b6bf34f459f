"""An api's view of executor services, in this process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from kit.server.cluster_processes import KEY
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.dispatch.remote.pool import RemotePool
from qiskit_runtime_server.settings import Settings

_NAME: Final = ExecutorName("counted")


@asynccontextmanager
async def pool_of(*urls: str, **settings: Any) -> AsyncIterator[RemotePool]:
    """Open the pool that an api with these settings has for the executor services at `urls`."""
    pool = RemotePool(_NAME, urls, Settings(executor_key=KEY, **settings), ByteBudget(1 << 20))
    await pool.start()
    try:
        yield pool
    finally:
        await pool.stop()
