"""Which devices there are: the fake devices of the client library, the ideal one, and snapshots from a folder."""

import hashlib
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

import msgspec

from qiskit_runtime_server.backends.basis import has_legacy_basis, modern_configuration, modern_properties
from qiskit_runtime_server.backends.fake import fake_files
from qiskit_runtime_server.backends.ideal import IDEAL_NAMES, ideal_configuration
from qiskit_runtime_server.backends.names import MetadataName, dry_run_name, is_dry_run
from qiskit_runtime_server.backends.snapshot import read_snapshot, snapshot_files
from qiskit_runtime_server.errors import BackendNotFoundError, StartupError

logger = logging.getLogger(__name__)

# The control electronics of older devices took 8192 shots; a simulator need not, and newer devices have this limit.
MIN_MAX_SHOTS: Final = 100_000

MAX_EXPERIMENTS: Final = 300
"""Circuits of a job, for clients that count them; this server counts shots and bytes."""

# Parsed documents of a large device take some 5 MB; more than a few would be felt in the api process.
_PARSED: Final = 8

# What clients demand of every configuration, and what older devices and snapshots may lack.
_DEFAULTS: Final[Mapping[str, Any]] = {
    "online_date": "1970-01-01T00:00:00+00:00",
    "conditional": False,
    "open_pulse": False,
    "memory": True,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metadata:
    """The description of a device, as the documents that clients read.

    Attributes:
        configuration: Complete, with `backend_name` still the metadata's own name.
        properties: The calibration, or None for an ideal device.
        digest: SHA-256 over both documents, in hexadecimal; also what clients may send as the calibration's id.
    """

    name: MetadataName
    configuration: Mapping[str, Any]
    properties: Mapping[str, Any] | None
    digest: str

    @property
    def num_qubits(self) -> int:
        """The number of qubits of the device."""
        return int(self.configuration["n_qubits"])

    @property
    def max_shots(self) -> int:
        """The most shots of one circuit and one set of parameters."""
        return int(self.configuration["max_shots"])

    @property
    def last_update(self) -> datetime | None:
        """When the device was calibrated, with its time zone; None for an ideal device."""
        if self.properties is None:
            return None
        date = datetime.fromisoformat(self.properties["last_update_date"])
        return date if date.tzinfo is not None else date.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outline:
    """What is known of a device without its documents, and without a look at its calibration; as in `Metadata`.

    Attributes:
        processor_type: Its family, revision and, of some, segment; all are text. Empty where that is not known.
        clops: How many layers of circuits a second the hardware runs; None where that is not known.
    """

    name: MetadataName
    num_qubits: int
    max_shots: int
    backend_version: str
    processor_type: Mapping[str, str] = field(default_factory=dict)
    clops: int | None = None

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Self:
        """Return the outline of a device, by its complete configuration."""
        # Some documents say "None", as text.
        clops = said.get("clops_h")
        return cls(
            name=MetadataName(said["backend_name"]),
            num_qubits=int(said["n_qubits"]),
            max_shots=int(said["max_shots"]),
            backend_version=said["backend_version"],
            processor_type={part: str(value) for part, value in (said.get("processor_type") or {}).items()},
            clops=clops if isinstance(clops, int) else None,
        )


class _Files(NamedTuple):
    configuration: Path
    properties: Path | None

    def stamp(self) -> tuple[object, ...]:
        """Return what differs once a file has been written again."""
        return (*self, *(_version(path) for path in self if path is not None))


class Catalog:
    """All metadata of a server, read on demand and again when a file has changed; never imports qiskit.

    Holds the documents of the few devices that were asked for last. Of the others it holds an outline, the digest, and
    the configuration as it is served, which clients ask of all devices to list them: 3 MB in all. The calibrations have
    four times as much, and take seconds to be read.
    """

    def __init__(self, snapshots: Path | None = None, include: tuple[str, ...] = ("*",)) -> None:
        """Describe where devices come from.

        Args:
            snapshots: A folder laid out as `backends.snapshot` says.
            include: Patterns as in a shell; the catalog has no device that matches none of them.

        Raises:
            StartupError: If `snapshots` is not a folder.
        """
        if snapshots is not None and not snapshots.is_dir():
            raise StartupError(f"The snapshots folder {snapshots} does not exist.")
        self._snapshots = snapshots
        self._include = include
        self._fakes: dict[str, _Files] | None = None
        self._parsed: dict[tuple[object, ...], Metadata] = {}
        self._outlines: dict[str, tuple[tuple[object, ...], Outline, bytes]] = {}
        self._digests: dict[str, tuple[tuple[object, ...], str]] = {}
        self._problems: dict[str, tuple[tuple[object, ...], str]] = {}

    def __reduce__(self) -> tuple[type["Catalog"], tuple[Path | None, tuple[str, ...]]]:
        """Pickle the folders only: the other process reads what it needs."""
        return type(self), (self._snapshots, self._include)

    def names(self) -> tuple[MetadataName, ...]:
        """Return all names, sorted; snapshots that cannot be used are left out and logged once."""
        usable = [name for name, files in self._snapshot_files().items() if self._problem(name, files) is None]
        names = {*IDEAL_NAMES, *self._fake_files(), *usable}
        return tuple(MetadataName(name) for name in sorted(names) if self._included(name))

    def problems(self) -> tuple[str, ...]:
        """Return why snapshots cannot be used; each message names a file."""
        found = [self._problem(name, files) for name, files in sorted(self._snapshot_files().items())]
        return tuple(problem for problem in found if problem is not None)

    def get(self, name: str, *, ideal_qubits: int) -> Metadata:
        """Return the metadata called `name`.

        Args:
            name: A metadata's name, without the executor; or that of its dry runs.
            ideal_qubits: How large the ideal device is, which depends on the executor's memory.

        Raises:
            BackendNotFoundError: If there is none, or if it is a snapshot that cannot be used.
        """
        name = self._device(name)
        files = self._files(name)
        key = (name, ideal_qubits) if files is None else (name, *files.stamp())
        # Taken out and put back, so that the one used longest ago comes first.
        metadata = self._parsed.pop(key, None) or self._read(name, files, ideal_qubits)
        self._parsed[key] = metadata
        for stale in list(self._parsed)[:-_PARSED]:
            self._parsed.pop(stale, None)
        return metadata

    def outline(self, name: str, *, ideal_qubits: int) -> Outline:
        """Return the outline of the metadata called `name`, read only once; arguments and errors as in `get`."""
        outline, _ = self._outlined(name, ideal_qubits)
        return outline

    def configuration(self, name: str, served_name: str, *, ideal_qubits: int) -> bytes:
        """Return what `configuration_document` does, read and encoded only once; arguments and errors as in `get`."""
        _, encoded = self._outlined(name, ideal_qubits)
        return _named(encoded, served_name)

    def digest(self, name: str, *, ideal_qubits: int) -> str:
        """Return the digest of the metadata called `name`, read only once; arguments and errors as in `get`."""
        name = self._device(name)
        key = _key(self._files(name), ideal_qubits)
        known = self._digests.get(name)
        if known is None or known[0] != key:
            known = self._digests[name] = (key, self.get(name, ideal_qubits=ideal_qubits).digest)
        return known[1]

    def _outlined(self, name: str, ideal_qubits: int) -> tuple[Outline, bytes]:
        """Return the outline of a device, and its configuration as JSON without a name."""
        name = self._device(name)
        files = self._files(name)
        key = _key(files, ideal_qubits)
        known = self._outlines.get(name)
        if known is None or known[0] != key:
            said = self._configuration(name, files, ideal_qubits)
            known = self._outlines[name] = (key, Outline.of(said), _without_name(said))
        return known[1], known[2]

    def _device(self, name: str) -> str:
        """Return the device whose dry runs are called `name`, the client's fakes first; all others are themselves."""
        if not is_dry_run(name):
            return name
        devices = [device for device in self.names() if dry_run_name(device) == name]
        return min(devices, key=lambda device: (device not in self._fake_files(), device), default=name)

    def _included(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self._include)

    def _files(self, name: str) -> _Files | None:
        """Return where the documents of `name` are; None for the ideal device, which has no files."""
        if self._included(name):
            if name in IDEAL_NAMES:
                return None
            files = self._fake_files().get(name) or self._snapshot_files().get(name)
            if files is not None:
                return files
        raise BackendNotFoundError(f"There is no device {name!r}.")

    def _fake_files(self) -> dict[str, _Files]:
        if self._fakes is None:
            self._fakes = {name: _Files(*files) for name, files in fake_files().items()}
        return self._fakes

    def _snapshot_files(self) -> dict[str, _Files]:
        found = {} if self._snapshots is None else snapshot_files(self._snapshots)
        return {name: _Files(*files) for name, files in found.items()}

    def _problem(self, name: str, files: _Files) -> str | None:
        """Return why a snapshot cannot be used, or None; logs what was not known before."""
        stamp = files.stamp()
        known = self._problems.get(name)
        if known is None or known[0] != stamp:
            problem = self._new_problem(name, files)
            self._problems[name] = known = (stamp, problem)
            if problem:
                logger.warning("Snapshot left out: %s", problem)
        return known[1] or None

    def _new_problem(self, name: str, files: _Files) -> str:
        if is_dry_run(name):
            return f"{files.configuration}: the name {name!r} is that of dry runs"
        if name in IDEAL_NAMES or name in self._fake_files():
            return f"{files.configuration}: there is a device {name!r} already"
        try:
            read_snapshot(name, *files)
        except BackendNotFoundError as error:
            return str(error)
        return ""

    def _configuration(self, name: str, files: _Files | None, ideal_qubits: int) -> Mapping[str, Any]:
        """Return the complete configuration, of a device of the client's without reading its calibration."""
        if files is None or name not in self._fake_files():
            return self._read(name, files, ideal_qubits).configuration
        return _complete(name, msgspec.json.decode(files.configuration.read_bytes()))

    def _read(self, name: str, files: _Files | None, ideal_qubits: int) -> Metadata:
        if files is None:
            return _metadata(name, ideal_configuration(name, ideal_qubits), None)
        if name in self._fake_files():
            configuration, properties = (msgspec.json.decode(path.read_bytes()) for path in files if path is not None)
        else:
            configuration, properties = read_snapshot(name, *files)
        return _metadata(name, configuration, properties)


def configuration_document(metadata: Metadata, served_name: str) -> bytes:
    """Return the configuration as JSON, for a virtual backend called `served_name`.

    It says what clients ask for and what simulators need not know, so that it is no part of the device's digest: how
    many circuits a job may have, which clients up to 0.43 read of every device, and the feature by which clients look
    for devices that run dynamic circuits.
    """
    return _named(_without_name(metadata.configuration), served_name)


def _key(files: _Files | None, ideal_qubits: int) -> tuple[object, ...]:
    """Return what differs once a device is another one."""
    return (ideal_qubits,) if files is None else files.stamp()


def _named(encoded: bytes, served_name: str) -> bytes:
    """Return a JSON object with one member at least, with the name at its beginning."""
    return b"".join([b'{"backend_name":', msgspec.json.encode(served_name), b",", memoryview(encoded)[1:]])


def _without_name(said: Mapping[str, Any]) -> bytes:
    """Return a configuration as `configuration_document` does, without the name."""
    features = said.get("supported_features") or []
    if "if_else" in said.get("supported_instructions", ()):
        features = list(dict.fromkeys([*features, "qasm3", "dynamic_circuits"]))
    served = {"max_experiments": MAX_EXPERIMENTS, **said, "supported_features": features}
    del served["backend_name"]
    return msgspec.json.encode(served)


def properties_document(metadata: Metadata, served_name: str) -> bytes:
    """Return the calibration as JSON, for a virtual backend called `served_name`; `null` for an ideal device."""
    if metadata.properties is None:
        return b"null"
    return msgspec.json.encode({**metadata.properties, "backend_name": served_name})


def _metadata(name: str, configuration: dict[str, Any], properties: dict[str, Any] | None) -> Metadata:
    if properties is not None:
        legacy = has_legacy_basis(configuration)
        properties = {**(modern_properties(properties) if legacy else properties), "backend_name": name}
    configuration = _complete(name, configuration)
    return Metadata(
        name=MetadataName(name),
        configuration=configuration,
        properties=properties,
        digest=_digest(configuration, properties),
    )


def _complete(name: str, configuration: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration with all that clients demand, for gates that they know."""
    if has_legacy_basis(configuration):
        configuration = modern_configuration(configuration)
    return {
        **_DEFAULTS,
        **configuration,
        "backend_name": name,
        "max_shots": max(configuration.get("max_shots") or 0, MIN_MAX_SHOTS),
        # Clients give simulators neither calibration nor sessions, and do not check their circuits.
        "simulator": False,
        "local": False,
    }


def _version(path: Path) -> tuple[int, ...]:
    try:
        stat = path.stat()
    except FileNotFoundError:  # removed since it was listed: reading it will say so
        return ()
    return stat.st_mtime_ns, stat.st_size, stat.st_ino


def _digest(configuration: dict[str, Any], properties: dict[str, Any] | None) -> str:
    if configuration["backend_name"] in IDEAL_NAMES:
        # The size of an ideal device is a matter of memory, not of calibration: a job outlives a change of slots.
        configuration = {key: value for key, value in configuration.items() if key != "n_qubits"}
    canonical = msgspec.json.encode([configuration, properties], order="sorted")
    return hashlib.sha256(canonical).hexdigest()
