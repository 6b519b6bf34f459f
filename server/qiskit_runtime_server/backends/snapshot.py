"""Devices of the user's own, as a configuration and a properties document in a folder.

A device is either a folder of its name or, as a ConfigMap cannot have folders, two files that begin with its name:

    <snapshots>/lab/configuration.json            <snapshots>/lab.configuration.json
    <snapshots>/lab/properties.json               <snapshots>/lab.properties.json

The latter may also lie in folders one level down, one for each ConfigMap. A file may be compressed by gzip, with `.gz`
behind its name: a ConfigMap holds 1 MiB, and these documents shrink to a tenth. Without properties the device is ideal.
Both documents are those of IBM's API, which the client library's fake devices have too. Names that begin with a dot are
passed over: Kubernetes keeps its own links there.
"""

import gzip
import zlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

import msgspec

from qiskit_runtime_server.backends.names import is_metadata_name
from qiskit_runtime_server.errors import BackendNotFoundError

_CONFIGURATION: Final = "configuration.json"
_PROPERTIES: Final = "properties.json"
_COMPRESSED: Final = ".gz"

Shape = TypeVar("Shape", bound=msgspec.Struct)
_Qubit = Annotated[int, msgspec.Meta(ge=0)]


class _Gate(msgspec.Struct):
    name: str
    parameters: list[str] | None = None
    coupling_map: list[list[_Qubit]] = []


class _ChannelFrequency(msgspec.Struct):
    scale: tuple[float, float]


class _Configuration(msgspec.Struct):
    n_qubits: Annotated[int, msgspec.Meta(ge=1)]
    basis_gates: Annotated[list[str], msgspec.Meta(min_length=1)]
    gates: list[_Gate]
    backend_version: str = ""
    coupling_map: list[tuple[_Qubit, _Qubit]] | None = None
    online_date: datetime | None = None
    max_shots: int | None = None
    # Clients read these complex numbers even where they have no use for pulses.
    u_channel_lo: list[list[_ChannelFrequency]] = []


class _Value(msgspec.Struct):
    name: str
    value: float
    unit: str
    date: datetime


class _Calibration(msgspec.Struct):
    gate: str
    qubits: list[_Qubit]
    parameters: list[_Value]


class _Properties(msgspec.Struct):
    last_update_date: datetime
    qubits: list[list[_Value]]
    gates: list[_Calibration]
    general: list[_Value] = []


def snapshot_files(folder: Path) -> dict[str, tuple[Path, Path | None]]:
    """Return the configuration file and the properties file, if any, of every snapshot, by the device's name.

    Files that begin with a device's name need not lie in the same folder: together they may be too large for one
    ConfigMap.
    """
    # The folder was there when the server started; if it has gone since, the other devices should still be served.
    if not folder.is_dir():
        return {}
    subfolders = [path for path in sorted(folder.iterdir()) if path.is_dir() and not path.name.startswith(".")]
    own = [(path.name, path, "", (path,)) for path in subfolders]
    everywhere = (folder, *subfolders)
    flat = [(name, path, f"{name}.", (path, *everywhere)) for path in everywhere for name in _flat(path)]
    found = {}
    for name, path, prefix, beside in [*own, *flat]:
        configuration = _file(path / f"{prefix}{_CONFIGURATION}")
        if configuration is not None:
            properties = (_file(other / f"{prefix}{_PROPERTIES}") for other in beside)
            found[name] = configuration, next(filter(None, properties), None)
    return found


def _flat(folder: Path) -> Iterator[str]:
    """Iterate over the devices whose files begin with their names."""
    for path in sorted(folder.glob(f"*.{_CONFIGURATION}*")):
        name, _, rest = path.name.rpartition(f".{_CONFIGURATION}")
        if name and not name.startswith(".") and rest in ("", _COMPRESSED):
            yield name


def _file(path: Path) -> Path | None:
    """Return the file, as it is or compressed; None if there is neither."""
    candidates = (path, path.with_name(f"{path.name}{_COMPRESSED}"))
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def read_snapshot(
    name: str, configuration: Path, properties: Path | None
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return both documents, completed where clients demand more than a device needs.

    Raises:
        BackendNotFoundError: If a document cannot be used; the message names the file and says why.
    """
    if not is_metadata_name(name):
        raise BackendNotFoundError(
            f"{configuration}: {name!r} cannot be a backend's name: letters, digits, '.', '_' and '-' can."
        )
    raw = _read(configuration)
    shape = _checked(configuration, raw, _Configuration)
    calibration = None if properties is None else _read(properties)
    if properties is not None and calibration is not None:
        _check_properties(properties, _checked(properties, calibration, _Properties), shape)
    _check_configuration(configuration, shape)
    return _completed(raw, calibration), _completed_properties(calibration)


def _read(path: Path) -> dict[str, Any]:
    try:
        content = path.read_bytes()
        if path.suffix == _COMPRESSED:
            content = gzip.decompress(content)
        document: dict[str, Any] = msgspec.json.decode(content, type=dict[str, Any])
    except (OSError, EOFError, zlib.error, msgspec.DecodeError) as error:
        raise BackendNotFoundError(f"{path}: {error}") from error
    return document


def _checked(path: Path, document: dict[str, Any], shape: type[Shape]) -> Shape:
    try:
        return msgspec.convert(document, shape)
    except msgspec.ValidationError as error:
        raise BackendNotFoundError(f"{path}: {error}") from error


def _check_configuration(path: Path, shape: _Configuration) -> None:
    couplings = [*(shape.coupling_map or []), *(qubits for gate in shape.gates for qubits in gate.coupling_map)]
    _check_qubits(path, couplings, shape.n_qubits)


def _check_properties(path: Path, shape: _Properties, configuration: _Configuration) -> None:
    if len(shape.qubits) != configuration.n_qubits:
        raise BackendNotFoundError(
            f"{path}: describes {len(shape.qubits)} qubits, the configuration {configuration.n_qubits}"
        )
    _check_qubits(path, [gate.qubits for gate in shape.gates], configuration.n_qubits)


def _check_qubits(path: Path, groups: list[Any], num_qubits: int) -> None:
    outside = next((list(group) for group in groups if any(qubit >= num_qubits for qubit in group)), None)
    if outside is not None:
        raise BackendNotFoundError(f"{path}: {outside} names a qubit that a device of {num_qubits} does not have")


def _completed(configuration: dict[str, Any], properties: dict[str, Any] | None) -> dict[str, Any]:
    dated = {"online_date": properties["last_update_date"]} if properties else {}
    gates = [{"parameters": [], "qasm_def": "", **gate} for gate in configuration["gates"]]
    return {"coupling_map": None, "backend_version": "0.0.0", **dated, **configuration, "gates": gates}


def _completed_properties(properties: dict[str, Any] | None) -> dict[str, Any] | None:
    return None if properties is None else {"backend_version": "0.0.0", "general": [], **properties}
