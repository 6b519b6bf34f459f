"""The server that is asked, as the client library and as plain HTTP see it."""

import os
from functools import cached_property
from typing import Any, Final

import requests
from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import IBMBackend, QiskitRuntimeService

from qiskit_runtime_server.client import environment
from qiskit_runtime_server.conformance.check import DifferenceError

_PATIENCE: Final = 60.0  # seconds
_SMALLEST: Final = 3  # qubits


class Target:
    """A server, an account of it and the device that is used."""

    def __init__(self, url: str, token: str, device: str | None = None, *, as_configured: bool = False) -> None:
        """Take the server at `url`.

        Args:
            url: Where plain HTTP goes, and the client library unless `as_configured`.
            token: The account's token.
            device: The backend to use, by default the smallest with three qubits or more.
            as_configured: Whether the client library finds its server by the variables that are set already.
        """
        self.url, self.token, self._device = url.rstrip("/"), token, device
        if not as_configured:
            os.environ.update(environment(url, token))

    @cached_property
    def service(self) -> QiskitRuntimeService:
        """The client library's service."""
        return QiskitRuntimeService()

    @cached_property
    def backends(self) -> list[IBMBackend]:
        """All backends that the client lists."""
        found: list[IBMBackend] = self.service.backends()
        return found

    @cached_property
    def backend(self) -> IBMBackend:
        """The device that is used."""
        if self._device is not None:
            return self.service.backend(self._device)
        able = [one for one in self.backends if one.num_qubits >= _SMALLEST and one.coupling_map is not None]
        if not able:
            raise DifferenceError("no backend has three qubits and a coupling map; name one with --backend")
        return min(able, key=lambda one: (one.num_qubits, one.name))

    def isa(self, circuit: QuantumCircuit) -> QuantumCircuit:
        """Return a circuit as the device takes it."""
        made: QuantumCircuit = generate_preset_pass_manager(
            backend=self.backend, optimization_level=1, seed_transpiler=1
        ).run(circuit)
        return made

    @cached_property
    def bell(self) -> QuantumCircuit:
        """A Bell state on the device, not measured."""
        circuit = QuantumCircuit(2)
        circuit.h(0)
        circuit.cx(0, 1)
        return self.isa(circuit)

    @cached_property
    def measured(self) -> QuantumCircuit:
        """A Bell state on the device, measured into the register `meas`."""
        circuit = QuantumCircuit(2)
        circuit.h(0)
        circuit.cx(0, 1)
        circuit.measure_all()
        return self.isa(circuit)

    @cached_property
    def access_token(self) -> str:
        """An access token of the account."""
        answer = requests.post(f"{self.url}/identity/token", data={"apikey": self.token}, timeout=_PATIENCE)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def rest(self, method: str, path: str, *, token: str | None = None, **asked: Any) -> requests.Response:
        """Send a request to the API, with the account's access token or another; errors are answers too."""
        headers = {"Authorization": f"Bearer {token or self.access_token}", **asked.pop("headers", {})}
        return requests.request(method, f"{self.url}/api/v1{path}", headers=headers, timeout=_PATIENCE, **asked)
