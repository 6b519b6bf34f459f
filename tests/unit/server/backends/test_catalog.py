"""The catalog's names, documents and digests."""

import json
import pickle
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from qiskit_ibm_runtime.fake_provider import FakeProviderForBackendV2

from qiskit_runtime_server.backends.catalog import Catalog, Outline, configuration_document, properties_document
from qiskit_runtime_server.backends.names import VirtualBackend, dry_run_name, metadata_of
from qiskit_runtime_server.errors import BackendNotFoundError

IDEAL = {"fake_quantum_sim", "statevector_simulator"}

# Prints the peak of Python's memory in MB and which heavy packages came along, after all documents were asked for.
FOOTPRINT = """
import json, sys, tracemalloc
tracemalloc.start()
from qiskit_runtime_server.backends.catalog import Catalog, Outline, configuration_document, properties_document
catalog = Catalog()
for name in catalog.names():
    metadata = catalog.get(name, ideal_qubits=30)
    configuration_document(metadata, name), properties_document(metadata, name), catalog.outline(name, ideal_qubits=30)
heavy = {"qiskit", "qiskit_aer", "qiskit_ibm_runtime", "numpy"} & {module.split(".")[0] for module in sys.modules}
print(json.dumps({"heavy": sorted(heavy), "megabytes": tracemalloc.get_traced_memory()[1] / 2**20}))
"""


@pytest.mark.filterwarnings("ignore:Properties of fake_nighthawk:UserWarning")
def test_all_fake_devices_of_the_client_library_are_there(catalog: Catalog) -> None:
    fakes = {backend.name for backend in FakeProviderForBackendV2().backends()}
    assert len(fakes) >= 68
    assert set(catalog.names()) == fakes | IDEAL


def test_names_are_sorted(catalog: Catalog) -> None:
    assert list(catalog.names()) == sorted(catalog.names())


@pytest.mark.slow
def test_reading_every_device_needs_little_memory_and_no_quantum_library() -> None:
    done = subprocess.run([sys.executable, "-c", FOOTPRINT], check=True, capture_output=True, text=True)
    footprint = json.loads(done.stdout)
    assert footprint["heavy"] == []
    assert footprint["megabytes"] < 40


def test_every_device_has_what_clients_demand(catalog: Catalog) -> None:
    for name in catalog.names():
        configuration = catalog.get(name, ideal_qubits=30).configuration
        assert configuration["simulator"] is False
        assert configuration["max_shots"] >= 100_000
        assert datetime.fromisoformat(configuration["online_date"]).tzinfo is not None
        assert {
            "local",
            "conditional",
            "open_pulse",
            "memory",
            "coupling_map",
            "backend_version",
        } <= configuration.keys()


def test_a_device_that_takes_more_shots_keeps_its_own_limit(catalog: Catalog) -> None:
    assert catalog.get("fake_peekskill", ideal_qubits=30).max_shots == 500_000


def test_documents_carry_the_name_under_which_they_are_served(catalog: Catalog) -> None:
    metadata = catalog.get("fake_manila", ideal_qubits=30)
    configuration = json.loads(configuration_document(metadata, "fake_manila@aer"))
    properties = json.loads(properties_document(metadata, "fake_manila@aer"))
    assert configuration.pop("backend_name") == properties.pop("backend_name") == "fake_manila@aer"
    assert metadata.properties is not None
    assert configuration.pop("supported_features")[:3] == metadata.configuration["supported_features"]
    assert configuration.items() <= metadata.configuration.items()
    assert properties == {key: value for key, value in metadata.properties.items() if key != "backend_name"}


def test_the_ideal_device_has_no_properties(catalog: Catalog) -> None:
    metadata = catalog.get("fake_quantum_sim", ideal_qubits=30)
    assert properties_document(metadata, "fake_quantum_sim@aer") == b"null"
    assert metadata.last_update is None


def test_the_calibration_has_a_date(catalog: Catalog) -> None:
    last_update = catalog.get("fake_manila", ideal_qubits=30).last_update
    assert last_update is not None
    assert last_update.astimezone(UTC) == datetime(2024, 5, 27, 18, 27, 23, tzinfo=UTC)


def test_digests_tell_devices_apart_and_are_the_same_everywhere(catalog: Catalog) -> None:
    digests = {name: catalog.get(name, ideal_qubits=30).digest for name in catalog.names()}
    assert len(set(digests.values())) == len(digests)
    other: Catalog = pickle.loads(pickle.dumps(catalog))  # noqa: S301 - it was made on the left
    assert {name: other.digest(name, ideal_qubits=30) for name in other.names()} == digests


def test_the_digest_of_the_ideal_device_does_not_depend_on_its_size(catalog: Catalog) -> None:
    small, large = (catalog.get("fake_quantum_sim", ideal_qubits=qubits) for qubits in (20, 30))
    assert (small.num_qubits, large.num_qubits) == (20, 30)
    assert small.digest == large.digest
    assert catalog.digest("fake_quantum_sim", ideal_qubits=20) == small.digest
    assert catalog.digest("fake_quantum_sim", ideal_qubits=30) == large.digest


def test_an_outline_agrees_with_its_documents(catalog: Catalog) -> None:
    metadata = catalog.get("fake_marrakesh", ideal_qubits=30)
    outline = catalog.outline("fake_marrakesh", ideal_qubits=30)
    assert outline == Outline(
        name=metadata.name,
        num_qubits=156,
        max_shots=100_000,
        backend_version=metadata.configuration["backend_version"],
        processor_type={"family": "Heron", "revision": "2"},
        clops=195_000,
    )


def test_a_configuration_is_served_as_it_is_read(catalog: Catalog) -> None:
    for name in catalog.names():
        whole = configuration_document(catalog.get(name, ideal_qubits=30), "some@aer")
        assert catalog.configuration(name, "some@aer", ideal_qubits=30) == whole
        assert json.loads(whole)["backend_name"] == "some@aer"


def test_the_ideal_device_is_as_large_as_it_is_asked_for(catalog: Catalog) -> None:
    for qubits in (20, 30):
        document = json.loads(catalog.configuration("fake_quantum_sim", "sim@aer", ideal_qubits=qubits))
        assert document["n_qubits"] == qubits


def test_no_calibration_is_read_to_list_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    read: Counter[str] = Counter()
    read_bytes = Path.read_bytes

    def counted(path: Path) -> bytes:
        read[path.name.partition("_")[0]] += 1
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    catalog = Catalog()
    for _ in range(2):
        for name in catalog.names():
            catalog.outline(name, ideal_qubits=30)
            catalog.configuration(name, f"{name}@aer", ideal_qubits=30)
    assert read == {"conf": len([name for name in catalog.names() if name not in IDEAL])}


def test_asking_twice_reads_once(catalog: Catalog) -> None:
    assert catalog.get("fake_manila", ideal_qubits=30) is catalog.get("fake_manila", ideal_qubits=30)


@pytest.mark.parametrize("name", ["fake_nowhere", "", "fake_manila@aer", "../fake_manila"])
def test_an_unknown_device_is_refused_by_name(catalog: Catalog, name: str) -> None:
    with pytest.raises(BackendNotFoundError, match=f"no device '{name}'"):
        catalog.get(name, ideal_qubits=30)


def test_patterns_limit_what_there_is() -> None:
    catalog = Catalog(include=("fake_quantum_*",))
    assert catalog.names() == ("fake_quantum_sim",)
    catalog = Catalog(include=("fake_ma*",))
    assert set(catalog.names()) == {"fake_manhattan", "fake_manila", "fake_marrakesh"}
    assert catalog.get("fake_manila", ideal_qubits=30).num_qubits == 5
    with pytest.raises(BackendNotFoundError, match="fake_torino"):
        catalog.get("fake_torino", ideal_qubits=30)


@pytest.mark.parametrize("name", ["fake_manila@aer", "lab.2@custatevec", "a@b-c", "A-1_x@gpu0"])
def test_a_virtual_backend_is_a_pair_of_names(name: str) -> None:
    backend = VirtualBackend.parse(name)
    assert str(backend) == name
    assert (backend.metadata, backend.executor) == tuple(name.split("@"))


def test_a_name_without_an_executor_is_that_of_the_default_one() -> None:
    backend = VirtualBackend.parse("fake_manila", "aer")
    assert (backend.metadata, backend.executor) == ("fake_manila", "aer")
    assert VirtualBackend.parse("fake_manila@gpu", "aer").executor == "gpu"
    assert {metadata_of("fake_manila"), metadata_of("fake_manila@gpu")} == {"fake_manila"}
    for name in ("", "a/b", "@aer", "fake_manila@"):
        with pytest.raises(BackendNotFoundError):
            VirtualBackend.parse(name, "aer")


@pytest.mark.parametrize(
    "name", ["fake_manila", "@aer", "fake_manila@", "a@b@c", "a/b@aer", "a@-b", "a@B", ".a@b", "a@b\n", ""]
)
def test_other_names_are_refused(name: str) -> None:
    with pytest.raises(BackendNotFoundError, match="metadata@executor"):
        VirtualBackend.parse(name)


def test_every_document_says_what_clients_look_for(catalog: Catalog) -> None:
    dynamic = 0
    for name in catalog.names():
        said = json.loads(configuration_document(catalog.get(name, ideal_qubits=9), f"{name}@aer"))
        assert said["max_experiments"] > 0
        has_branches = "if_else" in said.get("supported_instructions", ())
        assert ("dynamic_circuits" in said["supported_features"]) >= has_branches
        dynamic += has_branches
    assert dynamic > 30


def test_every_device_is_there_for_dry_runs_too(catalog: Catalog) -> None:
    for name in catalog.names():
        other = dry_run_name(name)
        assert other is not None
        assert catalog.get(other, ideal_qubits=9).digest == catalog.get(name, ideal_qubits=9).digest
        assert catalog.outline(other, ideal_qubits=9).num_qubits == catalog.get(name, ideal_qubits=9).num_qubits
    with pytest.raises(BackendNotFoundError, match="mock_nothing"):
        catalog.get("mock_nothing", ideal_qubits=9)
