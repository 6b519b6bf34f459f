"""A client's view of a device: our documents read by the client library's own decoder."""

import gzip
import json
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from qiskit_ibm_runtime.ibm_backend import IBMBackend
from qiskit_ibm_runtime.utils.backend_decoder import configuration_from_server_data

from qiskit_runtime_server.backends.catalog import Catalog, Metadata, configuration_document, properties_document
from qiskit_runtime_server.backends.fake import fake_files

ClientBackend = Callable[..., IBMBackend]
Snapshot = Callable[..., Path]


class _Api:
    """Answers the one call that a backend makes for its target, with the bytes that the server would send."""

    def __init__(self, metadata: Metadata, served_name: str) -> None:
        self._document = properties_document(metadata, served_name)

    def backend_properties(
        self,
        name: str,
        datetime: datetime | None = None,
        calibration_id: str | None = None,
    ) -> object:
        return json.loads(self._document)


@pytest.fixture(scope="session")
def catalog() -> Catalog:
    return Catalog()


@pytest.fixture(scope="session")
def client_backend() -> ClientBackend:
    def backend(metadata: Metadata, *, fractional: bool | None = False) -> IBMBackend:
        served_name = f"{metadata.name}@aer"
        raw = json.loads(configuration_document(metadata, served_name))
        configuration = configuration_from_server_data(raw, use_fractional_gates=fractional)
        assert configuration is not None
        result = IBMBackend(configuration, None, _Api(metadata, served_name))
        result.options.use_fractional_gates = fractional
        return result

    return backend


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    """Write fake_manila as a snapshot, changed by the caller, and return the snapshots folder."""

    def write(
        name: str = "lab",
        *,
        layout: str = "{name}/{kind}.json",
        change: Callable[[dict[str, Any], dict[str, Any]], object] = lambda _configuration, _properties: None,
        properties: bool = True,
    ) -> Path:
        documents = [json.loads(path.read_text()) for path in fake_files()["fake_manila"]]
        change(*documents)
        for kind, document in zip(("configuration", "properties"), documents, strict=True):
            if properties or kind == "configuration":
                path = tmp_path / layout.format(name=name, kind=kind)
                path.parent.mkdir(exist_ok=True, parents=True)
                content = json.dumps(document).encode()
                path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
        return tmp_path

    return write
