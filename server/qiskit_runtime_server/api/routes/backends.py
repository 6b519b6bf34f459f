"""Virtual backends: every device with every executor."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Response

from qiskit_runtime_server.api import bodies
from qiskit_runtime_server.api.models.backends import (
    BackendConfiguration,
    BackendProperties,
    Backends,
    BackendState,
    BackendStatus,
    BackendSummary,
    Clops,
)
from qiskit_runtime_server.api.models.base import SIGNED_IN, Name, PathName, errors
from qiskit_runtime_server.api.services import Caller, TheServices
from qiskit_runtime_server.backends.catalog import Outline, properties_document
from qiskit_runtime_server.backends.names import (
    MetadataName,
    VirtualBackend,
    dry_run_name,
    is_dry_run,
)
from qiskit_runtime_server.errors import NotFoundError
from qiskit_runtime_server.store.port import Load

router = APIRouter(prefix="/backends", tags=["backends"], responses=errors(*SIGNED_IN))

Calibration = Annotated[
    Name | None,
    Query(description="Digest of the device's documents; the present ones are the only ones that are kept."),
]

_FIRST_VERSION_WITH_OBJECTS: Final = "2025-01-01"


@router.get("", response_model_exclude_none=True)
async def list_backends(
    _: Caller,
    services: TheServices,
    ibm_api_version: Annotated[
        str, Header(pattern=r"^\d{4}-\d{2}-\d{2}$", max_length=10, description="A date, as in `GET /versions`.")
    ] = _FIRST_VERSION_WITH_OBJECTS,
    *,
    include_mocks: Annotated[bool, Query(description="Whether backends for dry runs are listed too.")] = False,
) -> Backends:
    """List all virtual backends, also those for dry runs on demand; clients before 2025-01-01 get names only."""
    loads = await services.store.counts.load()
    devices = []
    for executor, pool in services.targets.items():
        load = services.load_of(executor, loads)
        state = BackendState(
            name="paused" if services.is_paused(executor, load) else "online",
            reason=services.reason_to_wait(executor, load) or "available",
        )
        ideal_qubits = (await pool.capabilities()).num_qubits
        mocks = _dry_runs(services.catalog.names()) if include_mocks else []
        for name in [*services.devices(), *mocks]:
            outline = services.catalog.outline(services.chaos.plain(name), ideal_qubits=ideal_qubits)
            devices.append(_summary(str(VirtualBackend(metadata=name, executor=executor)), outline, load, state))
            if executor == services.settings.default_executor:
                devices.append(_summary(name, outline, load, state))
        for alias in services.aliases.names(dry_runs=include_mocks):
            pair = services.aliases.find(alias)
            if pair is not None and pair.executor == executor:
                outline = services.catalog.outline(services.chaos.plain(pair.metadata), ideal_qubits=ideal_qubits)
                devices.append(_summary(alias, outline, load, state))
    if ibm_api_version < _FIRST_VERSION_WITH_OBJECTS:
        return Backends(devices=[device.name for device in devices])
    return Backends(devices=devices)


@router.get("/{name}/configuration", responses={200: {"model": BackendConfiguration}})
async def configuration(
    name: PathName, caller: Caller, services: TheServices, calibration_id: Calibration = None
) -> Response:
    """Return what the device is: qubits, gates, couplings."""
    services.chaos.check_request(caller.id, name, (), "configuration")
    if calibration_id is not None:
        _, digest = await services.calibration(name)
        check_calibration(name, digest, calibration_id)
    return _document(await services.configuration(name))


@router.get("/{name}/properties", responses={200: {"model": BackendProperties | None}})
async def properties(
    name: PathName,
    caller: Caller,
    services: TheServices,
    updated_before: datetime | None = None,
    calibration_id: Calibration = None,
) -> Response:
    """Return the calibration of the device; null for an ideal one, or if it is not older than `updated_before`."""
    services.chaos.check_request(caller.id, name, (), "properties")
    metadata = await services.metadata(name)
    check_calibration(name, metadata.digest, calibration_id)
    before = bodies.utc(updated_before)
    metadata = replace(metadata, properties=services.chaos.properties(caller.id, metadata, name, before))
    updated = metadata.last_update
    if before is not None and updated is not None and updated > before:
        return _document(b"null")
    return _document(properties_document(metadata, name))


@router.get("/{name}/status")
async def status(name: PathName, caller: Caller, services: TheServices) -> BackendStatus:
    """Return whether the backend takes jobs, and how many are queued for its executor."""
    services.chaos.check_request(caller.id, name, (), "status")
    pair, outline = await services.outline(name)
    load = services.load_of(pair.executor, await services.store.counts.load())
    return BackendStatus(
        backend_name=name,
        backend_version=outline.backend_version,
        state=True,
        status="paused" if services.is_paused(pair.executor, load) else "active",
        message=services.reason_to_wait(pair.executor, load),
        length_queue=load.queued,
    )


@router.get("/{name}/defaults", responses={200: {"content": {"application/json": {"schema": {"type": "null"}}}}})
async def defaults(name: PathName, _: Caller, services: TheServices) -> None:
    """Return null: there are no pulses; clients up to 0.40 ask."""
    await services.outline(name)


def check_calibration(backend: str, digest: str, calibration_id: str | None) -> None:
    """Accept the digest of the present documents of a backend's device, or none.

    Raises:
        NotFoundError: If `calibration_id` is another one.
    """
    if calibration_id is not None and calibration_id != digest:
        raise NotFoundError(f"Calibration {calibration_id!r} of {backend} not found; the present one is {digest!r}.")


def _dry_runs(names: Iterable[MetadataName]) -> list[MetadataName]:
    found = {dry_run_name(name) for name in names}
    return sorted(MetadataName(name) for name in found if name is not None)


def _summary(name: str, outline: Outline, load: Load, state: BackendState) -> BackendSummary:
    return BackendSummary(
        name=name,
        is_simulator=False,
        device_class="mock" if is_dry_run(name) else None,
        processor_type=dict(outline.processor_type) or None,
        clops=None if outline.clops is None else Clops(type="hardware", value=outline.clops),
        status=state,
        queue_length=load.queued,
        qubits=outline.num_qubits,
        physical_qubits=outline.num_qubits,
    )


def _document(content: bytes) -> Response:
    return Response(content, media_type="application/json")
