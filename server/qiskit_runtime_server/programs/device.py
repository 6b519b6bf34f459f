"""What the programs need to know of a device, from the catalog's documents."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Self

import msgspec
from qiskit.transpiler import Target
from qiskit_ibm_runtime.utils.backend_converter import convert_to_target
from qiskit_ibm_runtime.utils.backend_decoder import configuration_from_server_data, properties_from_server_data

from qiskit_runtime_server.backends.catalog import Catalog, Metadata, configuration_document, properties_document
from qiskit_runtime_server.backends.names import VirtualBackend
from qiskit_runtime_server.errors import InternalError
from qiskit_runtime_server.programs.noise import DeviceNoise

_KEPT: Final = 8


@dataclass(frozen=True, kw_only=True)
class Device:
    """A device as circuits are checked against and simulated on it.

    Attributes:
        name: Of the metadata, without the executor.
        max_shots: The most shots of one circuit and one set of parameters.
        configuration: The document that clients read.
    """

    name: str
    num_qubits: int
    max_shots: int
    configuration: Mapping[str, Any]
    _metadata: Metadata = field(repr=False)

    @classmethod
    def from_metadata(cls, metadata: Metadata) -> Self:
        """Return the device that `metadata` describes."""
        return cls(
            name=metadata.name,
            num_qubits=metadata.num_qubits,
            max_shots=metadata.max_shots,
            configuration=metadata.configuration,
            _metadata=metadata,
        )

    @cached_property
    def target(self) -> Target:
        """The target that a client builds which asks for fractional gates and control flow together: all there is."""
        # The client's decoders change what they are given, so they get copies.
        document = msgspec.json.decode(configuration_document(self._metadata, self.name))
        configuration = configuration_from_server_data(document, use_fractional_gates=None)
        if configuration is None:
            message = f"The configuration of {self.name} cannot be read."
            raise InternalError(message)
        document = msgspec.json.decode(properties_document(self._metadata, self.name))
        properties = None if document is None else properties_from_server_data(document, use_fractional_gates=None)
        return convert_to_target(configuration, properties)

    @cached_property
    def noise(self) -> DeviceNoise | None:
        """The errors that follow from the calibration; None for a device that has none."""
        return None if self._metadata.properties is None else DeviceNoise.from_target(self.target)


def load_device(catalog: Catalog, backend_name: str, *, ideal_qubits: int) -> Device:
    """Return the device that `backend_name` names, the same object as long as its documents are the same.

    Args:
        catalog: Has the documents.
        backend_name: With or without the executor: `fake_manila@aer` or `fake_manila`.
        ideal_qubits: How large the ideal device is.

    Raises:
        BackendNotFoundError: If there is none of that name.
    """
    name = VirtualBackend.parse(backend_name).metadata if "@" in backend_name else backend_name
    metadata = catalog.get(name, ideal_qubits=ideal_qubits)
    key = metadata.digest, metadata.num_qubits
    # Taken out and put back, so that the one used longest ago comes first.
    device = _devices.pop(key, None) or Device.from_metadata(metadata)
    _devices[key] = device
    for stale in list(_devices)[:-_KEPT]:
        _devices.pop(stale, None)
    return device


# What is cut from a device's noise stays with the device, so devices are kept for the life of a worker process.
_devices: dict[tuple[str, int], Device] = {}
