"""Whatever is wrong with a quantum program, the job is refused with a reason."""

import base64
import copy
import json
import struct
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qiskit.circuit import QuantumCircuit

from kit.faults import damaged_documents
from kit.quantum.circuits import in_qpy
from qiskit_runtime_server.errors import InvalidInputError, JobError, UnsupportedOptionError
from qiskit_runtime_server.executors import AerExecutor
from qiskit_runtime_server.programs import executor_program
from qiskit_runtime_server.programs.device.shots import SimulatedShots
from qiskit_runtime_server.programs.wire import reading
from qiskit_runtime_server.programs.wire.quantum_program import decode_program

Params = dict[str, Any]


def written(version: str = "v2.0") -> Params:
    """Return what the client writes for one circuit item and one samplex item."""
    document: Params = damaged_documents.executor(version)
    return document


WRITTEN = {version: written(version) for version in ("v0.1", "v1.0", "v2.0")}


def packed(data: bytes) -> str:
    return base64.b64encode(zlib.compress(data)).decode()


def put(*path: str | int, to: object) -> Callable[[Params], None]:
    """Return a change of the document."""

    def change(params: Params) -> None:
        place: Any = params
        for key in path[:-1]:
            place = place[key]
        place[path[-1]] = to

    return change


def items(*path: str | int, to: object) -> Callable[[Params], None]:
    return put("quantum_program", "items", *path, to=to)


def circuits(data: bytes) -> Callable[[Params], None]:
    return put("quantum_program", "circuits", "b64_data", to=packed(data))


def samplex_with(change: Callable[[Params], None]) -> Callable[[Params], None]:
    """Return a change of the attributes of the samplex, which are text in text."""

    def changed(params: Params) -> None:
        document = params["quantum_program"]["items"][1]["samplex"]
        samplex = json.loads(document["samplex_json"])
        change(samplex)
        document["samplex_json"] = json.dumps(samplex)

    return changed


def expressions(data: bytes) -> Callable[[Params], None]:
    table = {"id": "P", "ssv": "4", "qpy": "15", "circuit_base64": base64.b64encode(data).decode()}
    return samplex_with(put("attrs", "param_table", to=json.dumps(table)))


def read(change: Callable[[Params], None], version: str = "v2.0") -> None:
    params = copy.deepcopy(WRITTEN[version])
    change(params)
    program = decode_program(json.dumps(params).encode())
    executor_program.execute(SimulatedShots(AerExecutor(threads=1)), program, "fake_manila", 1)


def old_header(data: bytes) -> bytes:
    return data[:6] + struct.pack("!B", 12) + data[7:]


def wide(data: bytes, which: int) -> bytes:
    """Let a circuit announce four billion qubits."""
    (start,) = struct.unpack_from("!Q", data, struct.calcsize("!6sBBBBQcc") + 8 * which)
    place = start + struct.calcsize("!HcH")
    return data[:place] + struct.pack("!I", 2**32 - 1) + data[place + 4 :]


TWO = in_qpy(QuantumCircuit(1), QuantumCircuit(2))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("schema_version", to="v9.0"), "'v9.0'; this server reads v0.1, v0.2"),
        (put("schema_version", to=[]), "schema version"),
        (put("quantum_program", to=None), "quantum_program: an object"),
        (put("quantum_program", "shots", to=0), r"quantum_program\.shots.*at least 1"),
        (put("quantum_program", "shots", to=True), r"quantum_program\.shots"),
        (put("quantum_program", "shots", to="many"), r"quantum_program\.shots"),
        (put("quantum_program", "items", to=[]), "non-empty list"),
        (put("quantum_program", "items", to={}), "non-empty list"),
        (items(0, to="circuit"), r"items\[0\]: an object"),
        (items(0, "item_type", to="gate"), "'circuit' or 'samplex'"),
        (items(0, "item_type", to=["circuit"]), "'circuit' or 'samplex'"),
        (items(0, "chunk_size", to=0), r"items\[0\]\.chunk_size"),
        (items(0, "chunk_size", to=2), "Either all items or none"),
        (items(0, "shape", to=[3]), r"items\[0\]\.shape"),
        (items(0, "shape", to=[-1]), r"items\[0\]\.shape"),
        (items(0, "shape", to=[1] * 40), r"at most 32 sizes"),
        (items(0, "shape", to=[10**6, 10**6, 2]), "at most 10000000"),
        (items(0, "shape", to="large"), r"items\[0\]\.shape"),
        (items(1, "shape", to=[10**6, 10**6]), "at most 10000000"),
        (put("options", "experimental", to={"seed_simulator": -1}), r"experimental\.seed_simulator"),
        (put("options", "experimental", to={"seed_simulator": 0.5}), r"experimental\.seed_simulator"),
        (put("options", "rep_delay", to="long"), "rep_delay"),
        (put("options", to=[1]), "options: an object"),
    ],
)
def test_a_program_that_makes_no_sense_is_refused(change: Callable[[Params], None], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        read(change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (put("environment", to={}), "params has an unknown part 'environment'"),
        (put("options", "speed", to=1), "options has an unknown part 'speed'"),
        (put("quantum_program", "noise_maps", to={}), "unknown part 'noise_maps'"),
        (items(0, "shots", to=5), r"items\[0\] has an unknown part 'shots'"),
    ],
)
def test_a_part_that_nothing_reads_is_refused_by_name(change: Callable[[Params], None], words: str) -> None:
    with pytest.raises(UnsupportedOptionError, match=words):
        read(change)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (circuits(bytes(300 * 2**20)), "more than 256 MiB"),
        (circuits(b"QISKIT"), "not QPY"),
        (circuits(in_qpy(QuantumCircuit(1))), "2 circuits are needed, the QPY holds 1"),
        (circuits(old_header(TWO)), "QPY version 12"),
        (circuits(wide(TWO, 0)), "4294967295 qubits"),
        (circuits(wide(TWO, 1)), "4294967295 qubits"),
        (circuits(TWO[:-40]), r"quantum_program\.circuits: QPY cannot be read"),
        (put("quantum_program", "circuits", "b64_data", to="%%%"), "QPY cannot be read"),
        (put("quantum_program", "circuits", "b64_data", to=None), "base64 text is needed"),
        (put("quantum_program", "circuits", to=None), r"quantum_program\.circuits: an object"),
    ],
)
def test_circuits_that_cannot_be_read_are_refused(change: Callable[[Params], None], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        read(change)


@pytest.mark.parametrize(
    ("tensor", "words"),
    [
        ({"data": packed(bytes(300 * 2**20)), "shape": [2, 1], "dtype": "f64"}, "more than 256 MiB"),
        ({"data": packed(bytes(8)), "shape": [2, 1], "dtype": "f64"}, "has 8 bytes"),
        ({"data": packed(bytes(16)), "shape": [2, -1], "dtype": "f64"}, "at least 0"),
        ({"data": packed(bytes(16)), "shape": [1, 2], "dtype": "f64"}, "2 columns, and the circuit has 1"),
        ({"data": packed(bytes(16)), "shape": [2, 1], "dtype": "O"}, "dtype 'O'"),
        ({"data": packed(bytes(16)), "shape": [2, 1], "dtype": None}, "dtype None"),
        ({"data": packed(bytes(32)), "shape": [2, 1], "dtype": "c128"}, "finite real numbers"),
        ({"data": packed(np.array([np.nan, 0]).tobytes()), "shape": [2, 1], "dtype": "f64"}, "finite real numbers"),
        ({"data": packed(bytes(16))[:-8], "shape": [2, 1], "dtype": "f64"}, "cannot be read"),
        ({"data": 5, "shape": [2, 1], "dtype": "f64"}, "base64 text"),
        ({}, "dtype None"),
        (None, "an object is needed"),
        ([0.0, 0.0], "an object is needed"),
    ],
)
def test_tensors_that_cannot_be_read_are_refused(tensor: object, words: str) -> None:
    with pytest.raises(InvalidInputError, match=rf"items\[0\]\.circuit_arguments.*{words}"):
        read(items(0, "circuit_arguments", to=tensor))


def test_older_versions_have_fewer_kinds_of_tensors_and_no_compression() -> None:
    tensor = {"data": base64.b64encode(bytes(16)).decode(), "shape": [2, 1], "dtype": "f64"}
    read(items(0, "circuit_arguments", to=tensor), "v1.0")
    with pytest.raises(InvalidInputError, match="dtype 'i64'"):
        read(items(0, "circuit_arguments", to={**tensor, "dtype": "i64"}), "v1.0")
    with pytest.raises(InvalidInputError, match="cannot be read"):
        read(items(0, "circuit_arguments", to=tensor), "v2.0")


def test_the_limit_holds_for_all_parts_together(monkeypatch: pytest.MonkeyPatch) -> None:
    document = json.dumps(WRITTEN["v2.0"]).encode()
    monkeypatch.setattr(reading, "MAX_UNPACKED", 20_000)
    decode_program(document)
    monkeypatch.setattr(reading, "MAX_UNPACKED", 2_000)
    with pytest.raises(InvalidInputError, match="unpacks to more than"):
        decode_program(document)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (items(1, "samplex", to=None), r"items\[1\]\.samplex: an object"),
        (items(1, "samplex", "samplex_json", to=7), "must be text"),
        (items(1, "samplex", "samplex_json", to="{"), "samplex cannot be read|not a JSON"),
        (items(1, "samplex", "samplex_json", to="[]"), "attrs|samplex"),
        (items(1, "samplex", "samplex_json", to='{"attrs": {}}'), "samplex cannot be read"),
        (items(1, "samplex", "samplex_json", to="[" * 10_000), "JSON|samplex"),
        (items(1, "samplex_arguments", to=None), "values are missing for .*parameter_values"),
        (items(1, "samplex_arguments", "surprise", to=1), "surprise"),
        (items(1, "samplex_arguments", "parameter_values", to=[0.5]), "a number, a tensor or a Pauli Lindblad map"),
        (items(1, "samplex_arguments", "pauli_lindblad_maps.errors", to=1), "Expected a PauliLindbladMap"),
        (
            items(1, "samplex_arguments", "pauli_lindblad_maps.errors", "sparse_terms", to=[["X", [9], 0.1]]),
            "Pauli Lindblad map cannot be read",
        ),
        (items(1, "samplex_arguments", "pauli_lindblad_maps.errors", "num_qubits", to=10**30), "cannot be read"),
        (expressions(old_header(in_qpy(QuantumCircuit(1), version=15))), "QPY version 12"),
        (expressions(in_qpy(QuantumCircuit(1), QuantumCircuit(1), version=15)), "one circuit is needed"),
        (expressions(b"pickle"), "not QPY"),
        (samplex_with(put("attrs", "output_specification", to="{}")), r"items\[1\]"),
        (samplex_with(put("nodes", to=[])), r"items\[1\]"),
        (samplex_with(put("nodes", 0, "data", "id", to="N99")), "samplex cannot be read"),
    ],
)
def test_samplexes_that_cannot_be_read_are_refused(change: Callable[[Params], None], words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        read(change)


@pytest.mark.parametrize("shape", [["num_randomizations", 2**60], [5], ["n", 2], []])
def test_a_samplex_that_announces_huge_or_strange_outputs_is_refused(shape: list[Any]) -> None:
    def change(samplex: Params) -> None:
        outputs = json.loads(samplex["attrs"]["output_specification"])
        flips = json.loads(outputs["measurement_flips.meas"])
        outputs["measurement_flips.meas"] = json.dumps({**flips, "shape": shape})
        samplex["attrs"]["output_specification"] = json.dumps(outputs)

    with pytest.raises(InvalidInputError, match="measurement_flips"):
        read(samplex_with(change))


def test_a_circuit_that_does_not_fit_its_samplex_is_refused() -> None:
    other = in_qpy(QuantumCircuit(1), QuantumCircuit(1))
    with pytest.raises(InvalidInputError, match=r"items\[0\].*1 columns, and the circuit has 0"):
        read(circuits(other))


def test_too_many_chunks_are_refused() -> None:
    def change(params: Params) -> None:
        first, second = params["quantum_program"]["items"]
        first |= {"chunk_size": 1, "shape": [1_000_000, 2]}
        second |= {"chunk_size": 1}

    with pytest.raises(InvalidInputError, match="2000002 chunks; at most 100000"):
        read(change)


def test_passthrough_data_that_is_nested_too_deeply_is_refused() -> None:
    data: Any = None
    for _ in range(500):
        data = [data]
    with pytest.raises(InvalidInputError, match="passthrough_data is nested deeper"):
        read(put("quantum_program", "passthrough_data", to=data))


def places(value: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


JUNK: st.SearchStrategy[object] = st.sampled_from(
    [None, True, -1, 0, 2**70, 0.5, "", "auto", "eJwDAAAAAAE=", [], [[]], [2], {}, {"data": "AA=="}]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.sampled_from(sorted(WRITTEN)), st.data())
def test_whatever_is_changed_in_a_document_ends_in_a_result_or_a_reason(version: str, data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places(WRITTEN[version])[1:]))
    refused_or_run(put(*place, to=data.draw(JUNK)), version)


SAMPLEX = json.loads(WRITTEN["v2.0"]["quantum_program"]["items"][1]["samplex"]["samplex_json"])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.data())
def test_whatever_is_changed_in_a_samplex_ends_in_a_result_or_a_reason(data: st.DataObject) -> None:
    place = data.draw(st.sampled_from(places(SAMPLEX)[1:]))
    junk = data.draw(JUNK | st.sampled_from(["99999", "N3", "N8", "pauli", "z2", '{"a": [{"type": "pauli"}]}']))
    refused_or_run(samplex_with(put(*place, to=junk)), "v2.0")


def refused_or_run(change: Callable[[Params], None], version: str) -> None:
    try:
        read(change, version)
    except JobError as error:
        assert str(error)  # noqa: PT017 - both outcomes are fine, anything else is not
