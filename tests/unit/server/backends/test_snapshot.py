"""Devices of the user's own."""

import gzip
import json
import logging
import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from qiskit_ibm_runtime.fake_provider import FakeManilaV2
from qiskit_ibm_runtime.fake_provider.backend_encoder import BackendEncoder
from qiskit_ibm_runtime.ibm_backend import IBMBackend

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.backends.fake import fake_files
from qiskit_runtime_server.backends.snapshot import read_snapshot
from qiskit_runtime_server.errors import BackendNotFoundError, StartupError

ClientBackend = Callable[..., IBMBackend]
Snapshot = Callable[..., Path]
Change = Callable[[dict[str, Any], dict[str, Any]], object]

LAYOUTS = [
    "{name}/{kind}.json",
    "{name}.{kind}.json",
    "some-config-map/{name}.{kind}.json",
    "with-{kind}/{name}.{kind}.json",
]
LAYOUTS += [f"{layout}.gz" for layout in LAYOUTS]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_snapshot_is_a_device_like_any_other(snapshot: Snapshot, client_backend: ClientBackend, layout: str) -> None:
    catalog = Catalog(snapshot("lab.1", layout=layout))
    assert "lab.1" in catalog.names()
    assert catalog.problems() == ()
    target = client_backend(catalog.get("lab.1", ideal_qubits=30)).target
    assert target.qubit_properties[0].t1 == FakeManilaV2().target.qubit_properties[0].t1
    assert set(target.operation_names) == set(FakeManilaV2().target.operation_names)


def test_a_snapshot_without_properties_is_an_ideal_device(snapshot: Snapshot, client_backend: ClientBackend) -> None:
    metadata = Catalog(snapshot(properties=False)).get("lab", ideal_qubits=30)
    assert metadata.properties is None
    target = client_backend(metadata).target
    assert target["cx"].keys() == FakeManilaV2().target["cx"].keys()
    assert set(target["cx"].values()) == {None}


def test_what_only_clients_need_is_filled_in(snapshot: Snapshot, client_backend: ClientBackend) -> None:
    def bare(configuration: dict[str, Any], properties: dict[str, Any]) -> None:
        kept = {key: configuration[key] for key in ("n_qubits", "basis_gates", "coupling_map", "gates")}
        configuration.clear()
        configuration.update(kept)
        for gate in configuration["gates"]:
            del gate["qasm_def"]
        del properties["general"], properties["backend_name"], properties["backend_version"]

    properties_of = Catalog(snapshot(change=bare)).get("lab", ideal_qubits=30)
    backend = client_backend(properties_of)
    assert backend.target.num_qubits == 5
    assert backend.online_date.date() == properties_of.last_update.date()  # type: ignore[union-attr]


def test_a_date_without_a_time_zone_is_read_as_utc(snapshot: Snapshot) -> None:
    folder = snapshot(change=lambda _c, p: p.update(last_update_date="2026-01-02 03:04:05"))
    assert Catalog(folder).get("lab", ideal_qubits=30).last_update == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def test_every_fake_device_passes_the_check_of_snapshots() -> None:
    for name, (configuration, properties) in fake_files().items():
        assert read_snapshot(name, configuration, properties)[1] is not None


def test_a_device_saved_from_python_is_read(tmp_path: Path, client_backend: ClientBackend) -> None:
    fake = FakeManilaV2()
    folder = tmp_path / "lab"
    folder.mkdir()
    documents = {"configuration": fake.configuration(), "properties": fake.properties()}
    for kind, document in documents.items():
        (folder / f"{kind}.json").write_text(json.dumps(document.to_dict(), cls=BackendEncoder))
    catalog = Catalog(tmp_path)
    assert catalog.problems() == ()
    assert client_backend(catalog.get("lab", ideal_qubits=30)).target.num_qubits == 5


BAD: dict[str, tuple[Change, str, str]] = {
    "no qubits": (lambda c, _p: c.pop("n_qubits"), "configuration.json", "n_qubits"),
    "wrong type": (lambda c, _p: c.update(n_qubits="5"), "configuration.json", r"Expected `int`.*n_qubits"),
    "too few qubits": (
        lambda c, _p: c.update(n_qubits=3),
        "properties.json",
        "describes 5 qubits, the configuration 3",
    ),
    "a gate outside": (lambda _c, p: p["gates"][0].update(qubits=[7]), "properties.json", r"\[7\] names a qubit"),
    "a coupling outside": (
        lambda c, _p: c["coupling_map"].append([0, 9]),
        "configuration.json",
        r"\[0, 9\] names a qubit",
    ),
    "a complex number as text": (
        lambda c, _p: c["u_channel_lo"][0][0].update(scale="(1+0j)"),
        "configuration.json",
        r"u_channel_lo.*scale",
    ),
    "no date": (lambda _c, p: p.pop("last_update_date"), "properties.json", "last_update_date"),
    "a bad date": (lambda _c, p: p.update(last_update_date="today"), "properties.json", "last_update_date"),
    "not a number": (lambda _c, p: p["qubits"][0][0].update(value=float("nan")), "properties.json", "malformed"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_snapshot_is_named_and_hides_no_other_device(snapshot: Snapshot, case: str) -> None:
    change, file, reason = BAD[case]
    snapshot("good")
    catalog = Catalog(snapshot("bad", change=change))
    assert {"good", "fake_manila"} <= set(catalog.names())
    assert "bad" not in catalog.names()
    (problem,) = catalog.problems()
    assert f"bad/{file}" in problem
    with pytest.raises(BackendNotFoundError, match=reason):
        catalog.get("bad", ideal_qubits=30)


@pytest.mark.parametrize("content", [b"{}", gzip.compress(b"{}", mtime=0)[:-9], b"\x1f\x8b\x08" + bytes(20)])
def test_a_file_that_is_not_compressed_as_its_name_says_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "lab.configuration.json.gz").write_bytes(content)
    (problem,) = Catalog(tmp_path).problems()
    assert "lab.configuration.json.gz: " in problem


def test_the_largest_devices_fit_into_a_config_map_when_compressed() -> None:
    sizes = [len(path.read_bytes()) for files in fake_files().values() for path in files if path]
    largest = max((path for files in fake_files().values() for path in files if path), key=lambda p: p.stat().st_size)
    assert 5 * len(gzip.compress(largest.read_bytes())) < max(sizes)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "\xff"])
def test_a_file_that_is_no_json_object_is_named(tmp_path: Path, text: str) -> None:
    (tmp_path / "bad.configuration.json").write_text(text, encoding="latin-1")
    (problem,) = Catalog(tmp_path).problems()
    assert "bad.configuration.json: " in problem


@pytest.mark.parametrize("name", ["a@b", "with blank", "ümlaut"])
def test_a_name_that_no_url_can_hold_is_refused(snapshot: Snapshot, name: str) -> None:
    (problem,) = Catalog(snapshot(name)).problems()
    assert "cannot be a backend's name" in problem


@pytest.mark.parametrize("name", ["fake_torino", "fake_quantum_sim"])
def test_a_snapshot_takes_no_name_that_is_taken(snapshot: Snapshot, name: str) -> None:
    catalog = Catalog(snapshot(name))
    (problem,) = catalog.problems()
    assert "already" in problem
    assert catalog.get(name, ideal_qubits=30).num_qubits != 5


def test_a_problem_is_logged_once(snapshot: Snapshot, caplog: pytest.LogCaptureFixture) -> None:
    catalog = Catalog(snapshot(change=lambda c, _p: c.pop("gates")))
    with caplog.at_level(logging.WARNING):
        catalog.names(), catalog.names(), catalog.problems()
    assert len(caplog.records) == 1


def test_files_are_read_again_when_they_change(snapshot: Snapshot) -> None:
    folder = snapshot(change=lambda c, _p: c.pop("gates"))
    catalog = Catalog(folder)
    assert "lab" not in catalog.names()
    snapshot()
    assert "lab" in catalog.names()
    before = catalog.digest("lab", ideal_qubits=30)
    document = catalog.configuration("lab", "lab@aer", ideal_qubits=30)
    snapshot(change=lambda _c, p: p["qubits"][0][0].update(value=1.5))
    after = catalog.digest("lab", ideal_qubits=30)
    assert after != before == Catalog(snapshot()).digest("lab", ideal_qubits=30)
    snapshot(change=lambda c, _p: c.update(max_shots=123_456))
    assert catalog.configuration("lab", "lab@aer", ideal_qubits=30) != document
    assert catalog.outline("lab", ideal_qubits=30).max_shots == 123_456
    shutil.rmtree(folder / "lab")
    assert "lab" not in catalog.names()
    with pytest.raises(BackendNotFoundError):
        catalog.get("lab", ideal_qubits=30)


def test_the_links_that_kubernetes_keeps_beside_a_config_map_are_passed_over(
    tmp_path: Path, snapshot: Snapshot
) -> None:
    snapshot("lab", layout="..2026_01_01/{name}.{kind}.json")
    (tmp_path / "..data").symlink_to("..2026_01_01")
    for kind in ("configuration", "properties"):
        (tmp_path / f"lab.{kind}.json").symlink_to(f"..data/lab.{kind}.json")
    catalog = Catalog(tmp_path)
    assert catalog.problems() == ()
    assert catalog.get("lab", ideal_qubits=30).num_qubits == 5


def test_a_missing_folder_stops_the_start(tmp_path: Path) -> None:
    with pytest.raises(StartupError, match="nowhere"):
        Catalog(tmp_path / "nowhere")


def test_a_name_of_dry_runs_is_left_to_them(snapshot: Snapshot) -> None:
    catalog = Catalog(snapshot("mock_manila"))
    assert "mock_manila" not in catalog.names()
    assert "the name 'mock_manila' is that of dry runs" in catalog.problems()[0]
    assert catalog.get("mock_manila", ideal_qubits=5).name == "fake_manila"


def test_a_snapshot_has_dry_runs_unless_the_clients_fake_of_that_name_has_them(snapshot: Snapshot) -> None:
    assert Catalog(snapshot("lab_one")).get("mock_one", ideal_qubits=5).name == "lab_one"
    assert Catalog(snapshot("a_manila")).get("mock_manila", ideal_qubits=5).name == "fake_manila"
