"""Devices: which there are, and how one is wired and calibrated."""

import asyncio
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response

from qiskit_runtime_server.api.models.base import MAX_NAME, PathName
from qiskit_runtime_server.backends.names import ExecutorName
from qiskit_runtime_server.console.coupling_map import Edge, drawing
from qiskit_runtime_server.console.sign_in import SignedIn

_OF_QUBITS: Final = ("T1", "T2", "frequency", "readout_error", "prob_meas0_prep1", "prob_meas1_prep0")
_PAIR: Final = 2

router = APIRouter(prefix="/ui/devices", include_in_schema=False)


@router.get("")
async def devices(page: SignedIn, search: Annotated[str, Query(max_length=MAX_NAME)] = "") -> Response:
    """List the devices, and on which executors each is."""
    listed = (await page.api.get("/backends"))["devices"]
    rows: dict[str, dict[str, Any]] = {}
    for backend in listed:
        name, _, executor = backend["name"].partition("@")
        if search.lower() not in name.lower():
            continue
        row = rows.setdefault(name, {"name": name, "of": backend, "backends": []})
        row["backends"].append((backend["name"], ExecutorName(executor or "default"), backend["status"]))
    return page.render("devices", rows=list(rows.values()), search=search)


@router.get("/{name}")
async def device(name: PathName, page: SignedIn) -> Response:
    """Show a device: its map, its calibration, and its basis."""
    configuration, properties, status = await asyncio.gather(
        page.api.get(f"/backends/{name}/configuration"),
        page.api.get(f"/backends/{name}/properties"),
        page.api.get(f"/backends/{name}/status"),
    )
    gates = properties["gates"] if properties else []
    # Fractional gates may work on couplings where those of the basis do not.
    errors = _errors(gate for gate in gates if gate["gate"] in configuration["basis_gates"])
    drawn = await asyncio.to_thread(drawing, configuration, errors)
    return page.render(
        "device",
        name=name,
        configuration=configuration,
        properties=properties,
        now=status,
        drawn=drawn,
        columns=[column for column in _OF_QUBITS if any(column in row for row in _qubits(properties))],
        qubits=_qubits(properties),
        one_qubit_errors=_one_qubit_errors(gates),
        pairs=sorted((edge, *found) for edge, found in errors.items()),
    )


def _parameter(gate: Mapping[str, Any], name: str) -> float | None:
    return next((each["value"] for each in gate["parameters"] if each["name"] == name), None)


def _errors(gates: Iterable[Mapping[str, Any]]) -> dict[Edge, tuple[str, float]]:
    """Return the gate of each coupling with its error, the better one of two."""
    found: dict[Edge, tuple[str, float]] = {}
    for gate in gates:
        error = _parameter(gate, "gate_error")
        if len(gate["qubits"]) == _PAIR and error is not None:
            edge = (min(gate["qubits"]), max(gate["qubits"]))
            found[edge] = min(found.get(edge, (gate["gate"], error)), (gate["gate"], error), key=lambda one: one[1])
    return found


def _one_qubit_errors(gates: Iterable[Mapping[str, Any]]) -> dict[int, dict[str, float]]:
    """Return the errors of the gates of each qubit."""
    found: dict[int, dict[str, float]] = {}
    for gate in gates:
        error = _parameter(gate, "gate_error")
        if len(gate["qubits"]) == 1 and error:
            found.setdefault(gate["qubits"][0], {})[gate["gate"]] = error
    return found


def _qubits(properties: Mapping[str, Any] | None) -> list[dict[str, dict[str, Any]]]:
    """Return what is known of each qubit, by name."""
    return [{each["name"]: each for each in qubit} for qubit in properties["qubits"]] if properties else []
