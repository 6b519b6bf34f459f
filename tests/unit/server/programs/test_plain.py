"""Results for clients without Qiskit."""

import json
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.primitives import BitArray, DataBin, PrimitiveResult, PubResult, SamplerPubResult
from qiskit.quantum_info import PauliList
from qiskit_ibm_runtime.execution_span import DoubleSliceSpan, ExecutionSpans, TwirledSliceSpanV2
from qiskit_ibm_runtime.results import LayerError, PauliLindbladError

from qiskit_runtime_server.errors import InternalError, TooManyShotsError
from qiskit_runtime_server.programs.wire import plain
from qiskit_runtime_server.programs.wire.plain import encode_plain


def encoded(*bins: DataBin, **metadata: Any) -> dict[str, Any]:
    pubs = [PubResult(data, {"circuit_metadata": {"a": 1}}) for data in bins]
    document: dict[str, Any] = json.loads(encode_plain(PrimitiveResult(pubs, {"version": 2, **metadata})))
    return document


@pytest.mark.parametrize("num_bits", [1, 2, 8, 9, 130])
@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (0,)])
def test_samples_are_the_hexadecimal_numbers_of_the_bits(num_bits: int, shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(num_bits)
    bits = rng.integers(2, size=(*shape, 4, num_bits)).astype(bool)
    array = BitArray.from_bool_array(bits, order="little")
    (pub,) = encoded(DataBin(c=array, shape=shape))["results"]
    assert pub["data"]["c"]["num_bits"] == num_bits
    wanted = np.vectorize(hex, otypes=[object])(bits.astype(object) @ [2**place for place in range(num_bits)])
    assert pub["data"]["c"]["samples"] == wanted.tolist()
    assert pub["metadata"] == {"circuit_metadata": {"a": 1}}


def test_numbers_are_lists_in_their_arrays_shape() -> None:
    evs, none = np.array([[0.5, -1.0]]), np.array(np.nan)
    first, second = encoded(DataBin(evs=evs, stds=evs / 2, shape=(1, 2)), DataBin(evs=none, c=np.array([1 + 2j])))[
        "results"
    ]
    assert first["data"] == {"evs": [[0.5, -1.0]], "stds": [[0.25, -0.5]]}
    assert second["data"] == {"evs": None, "c": [[1.0, 2.0]]}


def test_the_jobs_metadata_are_json_as_well() -> None:
    start, stop = datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC)
    spans = ExecutionSpans(
        [
            DoubleSliceSpan(start, stop, {0: ((4, 9), slice(0, 4), slice(0, 9))}),
            TwirledSliceSpanV2(start, stop, {1: ((3, 2), False, slice(0, 3), slice(0, 2), 6)}),
        ]
    )
    error = LayerError(QuantumCircuit(2), [4, 3], PauliLindbladError(PauliList(["XI", "ZZ"]), [0.1, 0.2]))
    metadata = encoded(execution={"execution_spans": spans}, layers=[error], scale=np.float64(2))["metadata"]
    dates = [{"date": "2026-01-02T00:00:00+00:00"}, {"date": "2026-01-03T00:00:00+00:00"}]
    assert metadata["execution"]["execution_spans"] == [
        [*dates, {"0": [[4, 9], [0, 4], [0, 9]]}],
        [*dates, {"1": [[3, 2], False, [0, 3], [0, 2]]}],
    ]
    (layer,) = metadata["layers"]
    assert layer["circuit"].startswith("OPENQASM 3.0;")
    assert layer["qubits"] == [4, 3]
    assert layer["error"] == {"generators": ["XI", "ZZ"], "rates": [0.1, 0.2]}
    assert metadata["scale"] == 2
    assert metadata["version"] == 2


def test_more_text_than_a_result_may_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    result = PrimitiveResult([SamplerPubResult(DataBin(c=BitArray.from_samples(["0x1f"] * 100, 5)))])
    monkeypatch.setattr(plain, "MAX_TEXT_BYTES", 700)
    assert len(encode_plain(result)) < 800
    monkeypatch.setattr(plain, "MAX_TEXT_BYTES", 699)
    with pytest.raises(TooManyShotsError, match="support_qiskit: true"):
        encode_plain(result)


def test_what_has_no_form_in_json_fails_with_its_name() -> None:
    with pytest.raises(InternalError, match="type object"):
        encoded(what=object())
