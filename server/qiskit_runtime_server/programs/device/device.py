"""What the programs need to know of a device, from the catalog's documents."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final, Self

import msgspec
from qiskit.transpiler import Target
from qiskit_aer.noise import ReadoutError
from qiskit_ibm_runtime.models import BackendProperties
from qiskit_ibm_runtime.utils.backend_converter import convert_to_target
from qiskit_ibm_runtime.utils.backend_decoder import configuration_from_server_data

from qiskit_runtime_server.backends.catalog import Catalog, Metadata, configuration_document, properties_document
from qiskit_runtime_server.backends.names import metadata_of
from qiskit_runtime_server.errors import InternalError, UnsupportedOptionError
from qiskit_runtime_server.simulation.noise import DeviceNoise

_ASYMMETRIC: Final = "Option experimental.noise.readout: asymmetric"

_KEPT: Final = 8
_PAIR: Final = 2
_SHOWN: Final = 5
# What calibrations call the probability to read 1 after 0 was prepared, and the other way round.
_ONE_FOR_ZERO: Final = "prob_meas1_prep0"
_ZERO_FOR_ONE: Final = "prob_meas0_prep1"


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
            raise InternalError(f"The configuration of {self.name} cannot be read.")
        document = msgspec.json.decode(properties_document(self._metadata, self.name))
        # Not by `properties_from_server_data`: to read dates, of which a target has none, takes it most of the time.
        return convert_to_target(configuration, document and BackendProperties.from_dict(document))

    @cached_property
    def broken_pairs(self) -> frozenset[tuple[int, int]]:
        """Pairs of qubits with a gate whose calibrated error is 1: nothing is left of the state behind it."""
        return frozenset(
            qubits
            for name in self.target.operation_names
            for qubits, properties in (self.target[name] or {}).items()
            if qubits is not None and len(qubits) == _PAIR and properties is not None and (properties.error or 0) >= 1
        )

    @cached_property
    def noise(self) -> DeviceNoise | None:
        """The errors that follow from the calibration; None for a device that has none."""
        return None if self._metadata.properties is None else DeviceNoise.from_target(self.target)

    @cached_property
    def asymmetric_noise(self) -> DeviceNoise:
        """The same errors, but for those of readout: a 0 and a 1 are misread as often as each of them was.

        Raises:
            UnsupportedOptionError: If the calibration does not say how often for a qubit that can be measured.
        """
        properties = self._metadata.properties
        if properties is None:
            raise UnsupportedOptionError(
                f"{_ASYMMETRIC} is not supported: {self.name} is an ideal device, no bit is misread."
            )
        measured = sorted(qubit for (qubit,) in self.target["measure"])
        known = {qubit: _readout(properties["qubits"][qubit]) for qubit in measured}
        missing = [qubit for qubit, readout in known.items() if readout is None]
        if missing:
            raise UnsupportedOptionError(
                f"{_ASYMMETRIC} is not supported: the calibration of {self.name} has no {_ONE_FOR_ZERO} and"
                f" {_ZERO_FOR_ONE} between 0 and 1 for {_spelled(missing)}."
            )
        readouts = {qubit: readout for qubit, readout in known.items() if readout is not None}
        return DeviceNoise.from_target(self.target, readouts)


def _readout(parameters: Sequence[Mapping[str, Any]]) -> ReadoutError | None:
    """Return how a qubit is misread, from its part of the properties document; None if it does not say."""
    values = {parameter["name"]: parameter["value"] for parameter in parameters}
    one_for_zero, zero_for_one = values.get(_ONE_FOR_ZERO, math.nan), values.get(_ZERO_FOR_ONE, math.nan)
    if not (0 <= one_for_zero <= 1 and 0 <= zero_for_one <= 1):
        return None
    return ReadoutError([[1 - one_for_zero, one_for_zero], [zero_for_one, 1 - zero_for_one]])


def _spelled(qubits: Sequence[int]) -> str:
    shown = ", ".join(map(str, qubits[:_SHOWN]))
    more = f" and {len(qubits) - _SHOWN} more" if len(qubits) > _SHOWN else ""
    return f"qubit{'s' if len(qubits) > 1 else ''} {shown}{more}"


def load_device(catalog: Catalog, backend_name: str, *, ideal_qubits: int) -> Device:
    """Return the device that `backend_name` names, the same object as long as its documents are the same.

    Args:
        catalog: Has the documents.
        backend_name: With or without the executor: `fake_manila@aer` or `fake_manila`.
        ideal_qubits: How large the ideal device is.

    Raises:
        BackendNotFoundError: If there is none of that name.
    """
    name = metadata_of(backend_name)
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
