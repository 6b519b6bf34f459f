"""Brings the CRD of RuntimeServers up to date, as helm does not: it creates CRDs only."""

import asyncio
from datetime import timedelta
from typing import Final

from prometheus_client import CollectorRegistry

from qiskit_runtime_operator.cluster.api_server import Cluster
from qiskit_runtime_operator.cluster.connection import Kubeconfig, connected
from qiskit_runtime_operator.errors import StaleError, StartupError
from qiskit_runtime_operator.metrics import WriteMetrics
from qiskit_runtime_operator.resource.kinds import CRDS
from qiskit_runtime_operator.resource.model import Manifest

_LIMIT: Final = timedelta(seconds=30)
_LOOK_SECONDS: Final = 0.2


async def update_crd(wanted: Manifest, chosen: Kubeconfig) -> str:
    """Replace the CRD of that name, wait until it is in force, and return the name.

    Args:
        wanted: The CRD.
        chosen: Which cluster.

    Raises:
        StartupError: If there is none yet, or if the API server does not take it.
        ClusterError: If the API server cannot be asked.
    """
    name: str = wanted["metadata"]["name"]
    metrics = WriteMetrics(CollectorRegistry())
    async with connected(chosen) as connection:
        cluster = Cluster(connection, time_to_write=lambda: _LIMIT, metrics=metrics)
        live = await _replace(cluster, name, wanted)
        for _ in range(int(_LIMIT.total_seconds() / _LOOK_SECONDS)):
            if _is_established(live):
                return name
            await asyncio.sleep(_LOOK_SECONDS)
            live = await _read(cluster, name)
    raise StartupError(f"the API server does not accept the CRD {name}: {live['status']}")


async def _replace(cluster: Cluster, name: str, wanted: Manifest) -> Manifest:
    """Replace it, so that fields that are gone go; others may be writing its status at the same time."""
    while True:
        live = await _read(cluster, name)
        try:
            return await cluster.replace(CRDS, {**live, "spec": wanted["spec"]})
        except StaleError:
            continue


async def _read(cluster: Cluster, name: str) -> Manifest:
    live = await cluster.get(CRDS, None, name)
    if live is None:
        raise StartupError(
            f"the CRD {name} is not installed, so it cannot be upgraded: kubectl apply --server-side it first"
        )
    return live


def _is_established(live: Manifest) -> bool:
    conditions = live.get("status", {}).get("conditions") or []
    states = {condition["type"]: condition["status"] for condition in conditions}
    # A schema that makes no sense leaves the old one in force.
    return states.get("Established") == "True" and states.get("NonStructuralSchema") != "True"
