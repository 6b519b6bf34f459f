"""What clients send is read, everything else is refused with a reason, and results are what clients read."""

import base64
import io
import json
import struct
import zlib
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
import qiskit
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray
from qiskit import qpy
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.primitives import BitArray, DataBin, PrimitiveResult, PubResult, SamplerPubResult
from qiskit.primitives.containers.bindings_array import BindingsArray
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.observables_array import ObservablesArray
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparseObservable, SparsePauliOp
from qiskit_aer.noise import NoiseModel, ReadoutError, depolarizing_error
from qiskit_ibm_runtime.decoders.result_decoder import ResultDecoder
from qiskit_ibm_runtime.execution_span import DoubleSliceSpan, ExecutionSpans
from qiskit_ibm_runtime.json import RuntimeEncoder

from kit.quantum.circuits import in_qpy
from qiskit_runtime_server.errors import InternalError, InvalidInputError, JobError, UnsupportedOptionError
from qiskit_runtime_server.programs.wire import reading
from qiskit_runtime_server.programs.wire.params import decode_params, estimator_pub, sampler_pub
from qiskit_runtime_server.programs.wire.results import encode_result


def bell() -> QuantumCircuit:
    circuit = QuantumCircuit(2, metadata={"name": "bell"})
    circuit.sx(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def rotation() -> QuantumCircuit:
    circuit = QuantumCircuit(2)
    circuit.rz(Parameter("a"), 0)
    circuit.rz(Parameter("b") * 2, 1)
    return circuit


def document(pubs: list[Any], options: dict[str, Any] | None = None, **more: object) -> bytes:
    params = {"pubs": pubs, "options": options or {}, "version": 2, "support_qiskit": True, **more}
    return json.dumps(params, cls=RuntimeEncoder).encode()


def with_circuit(data: bytes) -> bytes:
    """Params whose one circuit is the given bytes, compressed as the client does."""
    text = base64.b64encode(zlib.compress(data)).decode()
    return document([[{"__type__": "QuantumCircuit", "__value__": text}, None, None]])


def with_array(text: str) -> bytes:
    return document([[bell(), {"__type__": "ndarray", "__value__": text}, None]])


def read_sampler(data: bytes) -> list[SamplerPub]:
    return [sampler_pub(pub, f"pubs[{i}]") for i, pub in enumerate(decode_params(data).pubs)]


def read_estimator(data: bytes) -> list[EstimatorPub]:
    return [estimator_pub(pub, f"pubs[{i}]") for i, pub in enumerate(decode_params(data).pubs)]


def round_trip(result: PrimitiveResult[Any]) -> Any:  # noqa: ANN401 - whatever the client makes of it
    return ResultDecoder.decode(encode_result(result).decode())


# Made once, as names and ids in them are new every time, and damage is drawn by place.
INTACT_CIRCUITS = [in_qpy(bell(), version=version) for version in (13, 15, 17, 18)]
INTACT_DOCUMENT = document(
    [[rotation(), [{"ZZ": 1.0, "0+": 0.5}], np.array([[0.5, 1.5]]), 0.1]], {"simulator": {"seed_simulator": 3}}
)


class TestParams:
    def test_sampler_pubs_of_the_client_are_read_as_they_were(self) -> None:
        values = np.linspace(0, 1, 6).reshape(3, 2)
        sent = [SamplerPub.coerce(bell()), SamplerPub.coerce((rotation(), values, 200))]
        got = read_sampler(document(sent, {"default_shots": 512}))
        assert [pub.circuit for pub in got] == [pub.circuit for pub in sent]
        assert got[0].circuit.metadata == {"name": "bell"}
        assert [pub.shots for pub in got] == [None, 200]
        assert [pub.shape for pub in got] == [(), (3,)]
        np.testing.assert_array_equal(got[1].parameter_values.as_array(rotation().parameters), values)

    def test_estimator_pubs_of_the_client_are_read_as_they_were(self) -> None:
        observables = ObservablesArray([[SparsePauliOp(["ZZ", "XX"], [1, 0.5])], [SparsePauliOp("IZ")]])
        values = np.arange(8.0).reshape(4, 2)
        (pub,) = read_estimator(document([EstimatorPub.coerce((rotation(), observables, values, 0.05))]))
        assert pub.shape == (2, 4)
        assert pub.precision == 0.05
        assert pub.observables.equivalent(observables)

    def test_projectors_are_read_as_observables(self) -> None:
        (pub,) = read_estimator(document([[bell(), [{"0r": 1.0}, {"+-": 2.0}], None, None]]))
        assert pub.observables.slice(1) == SparseObservable("+-") * 2

    def test_parameter_values_may_come_by_name(self) -> None:
        by_name = BindingsArray({("a", "b"): [[1, 2], [3, 4]]})
        (pub,) = read_sampler(document([[rotation(), by_name, None]]))
        np.testing.assert_array_equal(pub.parameter_values.as_array(rotation().parameters), [[1, 2], [3, 4]])
        (pub,) = read_sampler(document([[rotation(), {"b": [1, 2], "a": [3, 4]}, None]]))
        np.testing.assert_array_equal(pub.parameter_values.as_array(rotation().parameters), [[3, 1], [4, 2]])

    def test_a_noise_model_in_the_options_is_rebuilt(self) -> None:
        model = NoiseModel()
        model.add_all_qubit_quantum_error(depolarizing_error(0.01, 1), ["x", "sx"])
        model.add_all_qubit_readout_error(ReadoutError([[0.9, 0.1], [0.2, 0.8]]))
        options = decode_params(document([bell()], {"simulator": {"noise_model": model}})).options
        assert options["simulator"]["noise_model"] == model

    def test_resilience_level_joins_the_options(self) -> None:
        assert decode_params(document([[bell()]], resilience_level=2)).options == {"resilience_level": 2}

    def test_every_qpy_version_that_clients_write_is_read(self) -> None:
        for version in range(13, qpy.common.QPY_VERSION + 1):
            (pub,) = read_sampler(with_circuit(in_qpy(bell(), version=version)))
            assert pub.circuit == bell()

    @given(
        hnp.arrays(
            np.float64, hnp.array_shapes(min_dims=2, max_dims=3, min_side=2, max_side=2), elements=st.floats(-9, 9)
        )
    )
    @settings(max_examples=25, deadline=None)
    def test_any_finite_parameter_values_survive(self, values: object) -> None:
        (pub,) = read_sampler(document([(rotation(), values, None)]))
        np.testing.assert_array_equal(pub.parameter_values.as_array(rotation().parameters), values)


class TestHostileParams:
    @pytest.mark.parametrize(
        ("data", "reason"),
        [
            (b"", "not a JSON document"),
            (b"{", "not a JSON document"),
            (b"\xff\xfe", "not a JSON document"),
            (b"[1]", "params: an object is needed"),
            (b"{}", "no pubs"),
            (b'{"pubs": []}', "no pubs"),
            (b'{"pubs": [NaN]}', "not a JSON document"),
            (b'{"pubs": [1], "version": 1}', "version 1"),
            (b'{"pubs": [1], "options": 3}', "options: an object is needed"),
            (b'{"pubs": ' + b"[" * 100 + b"]" * 100 + b"}", "nested deeper"),
            (b'{"pubs": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "not a JSON document"),
            (b'{"pubs": [1]}', "a pub is a list"),
            (b'{"pubs": [[]]}', "a pub is a list"),
            (b'{"pubs": [[1]]}', "must be a circuit"),
            (b'{"pubs": [["OPENQASM 3.0; x"]]}', "OpenQASM"),
            (b'{"pubs": [[{"__type__": "QuantumCircuit"}]]}', "without a value"),
            (b'{"pubs": [[{"__type__": "QuantumCircuit", "__value__": 3}]]}', "base64"),
            (b'{"pubs": [[{"__type__": "QuantumCircuit", "__value__": "%"}]]}', "cannot be read"),
            (b'{"pubs": [[{"__type__": "QuantumCircuit", "__value__": "AAAA"}]]}', "cannot be read"),
        ],
    )
    def test_a_document_that_makes_no_sense_is_refused_with_the_reason(self, data: bytes, reason: str) -> None:
        with pytest.raises(InvalidInputError, match=reason):
            read_sampler(data)

    @pytest.mark.parametrize("tag", ["settings", "_json", "to_json", "Result", "Instruction", "spmatrix", "os.system"])
    def test_values_that_would_load_classes_are_refused(self, tag: str) -> None:
        value = {"__type__": tag, "__module__": "qiskit.quantum_info.operators", "__class__": "Pauli", "__value__": {}}
        with pytest.raises(UnsupportedOptionError, match=rf"pubs\[0\]\[1\]: values of type '{tag}"):
            decode_params(document([[bell(), value]]))

    def test_unknown_parts_are_refused_by_name(self) -> None:
        with pytest.raises(UnsupportedOptionError, match="shots_per_pub"):
            decode_params(document([[bell()]], shots_per_pub=3))

    @pytest.mark.parametrize(("said", "plain"), [({"support_qiskit": False}, True), ({"support_qiskit": True}, False)])
    def test_a_client_says_which_results_it_reads(self, said: dict[str, Any], plain: bool) -> None:  # noqa: FBT001
        assert decode_params(document([[bell()]], **said)).plain is plain

    def test_a_client_that_says_nothing_of_qiskit_gets_plain_json(self) -> None:
        params = json.loads(document([[bell()]]))
        del params["support_qiskit"]
        assert decode_params(json.dumps(params).encode()).plain
        with pytest.raises(InvalidInputError, match="support_qiskit must be true or false"):
            decode_params(document([[bell()]], support_qiskit="no"))

    def test_shots_and_precision_of_all_pubs_belong_to_their_programs(self) -> None:
        assert decode_params(document([[bell()]], shots=7)).goal == 7
        assert decode_params(document([[bell()]], precision=0.1), "precision").goal == 0.1
        with pytest.raises(UnsupportedOptionError, match="'precision'"):
            decode_params(document([[bell()]], precision=1), "shots")
        with pytest.raises(UnsupportedOptionError, match="'shots'"):
            decode_params(document([[bell()]], shots=1), "precision")
        assert sampler_pub([bell(), None, 3], "pub", 7).shots == 3
        assert sampler_pub([bell()], "pub", 7).shots == 7
        with pytest.raises(InvalidInputError, match="shots must be a positive integer"):
            sampler_pub([bell()], "pub", 0)

    def test_only_a_level_of_transpilation_is_taken(self) -> None:
        level = {"optimization_level": 1}
        params = decode_params(document([[bell()]], {"transpilation": level, "default_shots": 5}))
        assert params.transpilation == level
        assert params.options == {"default_shots": 5}
        with pytest.raises(UnsupportedOptionError, match=r"options\.transpilation has an unknown part 'layout'"):
            decode_params(document([[bell()]], {"transpilation": {"layout": [1]}}))

    def test_a_pub_may_be_a_bare_circuit(self) -> None:
        assert sampler_pub(bell(), "pub").circuit == bell()
        text = 'OPENQASM 3.0; include "stdgates.inc"; bit[1] c; x $0; c[0] = measure $0;'
        assert sampler_pub(text, "pub").circuit.count_ops() == {"x": 1, "measure": 1}

    @pytest.mark.slow
    def test_a_circuit_that_unpacks_to_gigabytes_is_refused_before_it_does(self) -> None:
        with pytest.raises(InvalidInputError, match=r"pubs\[0\]\[0\].*more than 256 MiB"):
            decode_params(with_circuit(bytes(300 * 2**20)))

    def test_the_limit_holds_for_all_parts_together(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(reading, "MAX_UNPACKED", 100_000)
        values = np.zeros((30, 10, 2, 10))
        decode_params(document([[bell(), values]]))
        with pytest.raises(InvalidInputError, match="unpacks to more"):
            decode_params(document([[bell(), values]] * 3))

    @pytest.mark.parametrize(
        ("version", "reason"), [(12, "upgrade the client"), (19, "this server runs Qiskit"), (255, "255")]
    )
    def test_a_qpy_version_out_of_range_is_refused_naming_both_versions(self, version: int, reason: str) -> None:
        data = bytearray(in_qpy(bell()))
        data[6] = version
        with pytest.raises(InvalidInputError, match=reason) as caught:
            decode_params(with_circuit(bytes(data)))
        assert f"version {version}" in str(caught.value)
        assert f"13 to {qpy.common.QPY_VERSION}" in str(caught.value)
        assert qiskit.__version__ in str(caught.value)

    def test_a_truncated_circuit_is_refused(self) -> None:
        data = in_qpy(bell())
        for length in (0, 5, 7, 20, len(data) // 2, len(data) - 3):
            with pytest.raises(InvalidInputError, match="QuantumCircuit cannot be read"):
                decode_params(with_circuit(data[:length]))

    def test_a_qpy_with_many_circuits_is_refused(self) -> None:
        with pytest.raises(InvalidInputError, match="the QPY holds 2"):
            decode_params(with_circuit(in_qpy(bell(), bell())))

    @pytest.mark.parametrize("version", [13, 17])
    def test_a_circuit_that_announces_a_billion_qubits_is_refused(self, version: int) -> None:
        data = in_qpy(QuantumCircuit(0x1234, 0x5678), version=version)
        for bits in (b"\x00\x00\x12\x34", b"\x00\x00\x56\x78"):
            with pytest.raises(InvalidInputError, match="at most 100000"):
                decode_params(with_circuit(data.replace(bits, b"\x7f" + bits[1:], 1)))

    def test_an_array_with_an_absurd_shape_is_refused(self) -> None:
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"shape": (10**15,), "fortran_order": False, "descr": "<f8"})
        text = base64.b64encode(zlib.compress(header.getvalue())).decode()
        with pytest.raises(InvalidInputError, match=r"pubs\[0\]\[1\].*an array of shape"):
            decode_params(with_array(text))

    def test_an_array_of_objects_is_not_unpickled(self) -> None:
        stream = io.BytesIO()
        np.save(stream, np.array([{"a": 1}], dtype=object), allow_pickle=True)
        text = base64.b64encode(zlib.compress(stream.getvalue())).decode()
        with pytest.raises(InvalidInputError, match="dtype object"):
            decode_params(with_array(text))

    def test_endless_parameter_sets_without_parameters_are_refused(self) -> None:
        with pytest.raises(InvalidInputError, match="parameter sets"):
            read_sampler(document([(bell(), np.empty((10**9, 0)), None)]))

    @pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
    def test_values_that_are_not_finite_are_refused_naming_the_parameter(self, value: object) -> None:
        with pytest.raises(InvalidInputError, match="'b' has a value that is not finite"):
            read_sampler(document([(rotation(), np.array([[0, 1], [0, value]]), None)]))

    @pytest.mark.parametrize(
        "values", [[1.0], [1.0, 2.0, 3.0], [[1.0], [2.0]], ["a", "b"], [1j, 0], [[1, 2], [3]], {"c": 1}]
    )
    def test_values_that_do_not_fit_the_circuit_are_refused(self, values: object) -> None:
        with pytest.raises(InvalidInputError, match=r"pubs\[0\]"):
            read_sampler(document([(rotation(), values, None)]))

    @pytest.mark.parametrize("shots", [0, -1, 1.5, True, "10", [1]])
    def test_shots_that_are_no_positive_integer_are_refused(self, shots: object) -> None:
        with pytest.raises(InvalidInputError, match=r"pubs\[0\]: shots"):
            read_sampler(document([(bell(), None, shots)]))

    @pytest.mark.parametrize("precision", [0, -0.1, True, "x", [0.1]])
    def test_a_precision_that_is_no_positive_number_is_refused(self, precision: object) -> None:
        with pytest.raises(InvalidInputError, match=r"pubs\[0\]: precision"):
            read_estimator(document([(bell(), "ZZ", None, precision)]))

    @pytest.mark.parametrize(
        "observables",
        [
            None,
            [],
            {},
            "ZZZ",
            "QQ",
            {"ZZ": "1"},
            {"ZZ": [1]},
            [["ZZ"], "ZZ"],
            5,
            [{"ZZ": 1}, {"Z": 1}],
            {"ZZ": {"a": 1}},
        ],
    )
    def test_observables_that_make_no_sense_are_refused(self, observables: object) -> None:
        with pytest.raises(InvalidInputError, match=r"pubs\[0\]"):
            read_estimator(document([(bell(), observables, None, None)]))

    def test_more_expectation_values_than_fit_are_refused(self) -> None:
        observables = ObservablesArray([["ZZ"]] * 20_000, validate=True)
        with pytest.raises(InvalidInputError, match="expectation values"):
            read_estimator(document([(bell(), observables, np.empty((20_000, 0)), None)]))

    def test_a_noise_model_on_a_billion_qubits_is_refused(self) -> None:
        model = NoiseModel()
        model.add_all_qubit_quantum_error(depolarizing_error(0.01, 1), ["x"])
        data = model.to_dict()
        data["errors"][0]["instructions"][0][0]["qubits"] = [10**9]
        with pytest.raises(InvalidInputError, match="more than 8 qubits"):
            reading.noise_model(data)

    @given(st.data())
    @settings(max_examples=150, deadline=None)
    def test_damaged_circuits_never_raise_anything_else(self, data: st.DataObject) -> None:
        damaged = bytearray(data.draw(st.sampled_from(INTACT_CIRCUITS)))
        for _ in range(data.draw(st.integers(1, 4))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= data.draw(st.integers(1, 255))
        try:
            read_sampler(with_circuit(bytes(damaged)))
        except JobError as error:
            assert str(error)  # noqa: PT017 - damage that changes nothing of importance is read

    @given(st.data())
    @settings(max_examples=150, deadline=None)
    def test_damaged_documents_never_raise_anything_else(self, data: st.DataObject) -> None:
        damaged = bytearray(INTACT_DOCUMENT)
        for _ in range(data.draw(st.integers(1, 4))):
            damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(32, 126))
        try:
            read_estimator(bytes(damaged))
        except JobError as error:
            assert str(error)  # noqa: PT017 - damage that changes nothing of importance is read

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
            _nested := lambda inner: (
                st.lists(inner, max_size=4)
                | st.dictionaries(
                    st.sampled_from(["__type__", "__value__", "data", "shape", "errors"]) | st.text(),
                    inner | st.sampled_from(sorted(reading._TAGS)),
                    max_size=4,
                )
            ),
        )
    )
    @settings(max_examples=150, deadline=None)
    def test_arbitrary_json_as_a_pub_never_raises_anything_else(self, value: object) -> None:
        data = json.dumps({"pubs": [value]}, allow_nan=False, default=str).encode()
        for read in (read_sampler, read_estimator):
            with pytest.raises(JobError):
                read(data)


class TestResults:
    def test_a_sampler_result_is_decoded_by_the_client_as_it_was(self) -> None:
        bits = BitArray(np.random.default_rng(1).integers(0, 256, (3, 50, 2), dtype=np.uint8), 16)
        span = DoubleSliceSpan(
            datetime(2026, 1, 1, tzinfo=UTC),
            datetime(2026, 1, 2, tzinfo=UTC),
            {0: ((3, 50), slice(0, 3), slice(0, 50))},
        )
        metadata = {"execution": {"execution_spans": ExecutionSpans([span])}, "version": 2}
        result = PrimitiveResult([SamplerPubResult(DataBin(shape=(3,), meas=bits), {"circuit_metadata": {}})], metadata)
        got = round_trip(result)
        assert isinstance(got[0], SamplerPubResult)
        assert got[0].data.meas == bits
        assert got[0].data.shape == (3,)
        assert got.metadata == metadata

    def test_numbers_arrive_as_arrays_without_dimensions(self) -> None:
        for number in (0.5, np.float64(0.5), np.float32(0.5), np.asarray(0.5)):
            got = round_trip(PrimitiveResult([PubResult(DataBin(evs=number, stds=np.asarray(0.1)))]))
            assert isinstance(got[0].data.evs, np.ndarray)
            assert got[0].data.evs.shape == ()
            assert got[0].data.evs == 0.5

    @given(
        hnp.arrays(
            hnp.integer_dtypes() | hnp.floating_dtypes() | hnp.boolean_dtypes() | hnp.complex_number_dtypes(),
            hnp.array_shapes(min_dims=0, min_side=0),
        ),
        st.booleans(),
    )
    @settings(max_examples=60, deadline=None)
    def test_any_array_survives(self, array: NDArray[Any], transposed: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
        array = array.T if transposed else array
        got = round_trip(PrimitiveResult([PubResult(DataBin(field=array))]))[0].data.field
        assert got.dtype == array.dtype
        assert got.shape == array.shape
        np.testing.assert_array_equal(got, array)

    def test_what_clients_cannot_read_is_an_error_of_the_server(self) -> None:
        with pytest.raises(InternalError, match="cannot be sent"):
            encode_result(PrimitiveResult([PubResult(DataBin(evs=np.asarray(0.5)), {"what": object()})]))


def test_the_qpy_header_is_where_the_check_looks_for_it() -> None:
    assert struct.unpack_from("!6sB", in_qpy(bell(), version=15)) == (b"QISKIT", 15)
