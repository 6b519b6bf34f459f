"""Views of jobs: what a worker makes of circuits and results, within bounds, and how an api asks for it."""

import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.primitives import BitArray, DataBin, PrimitiveResult, PubResult, SamplerPubResult
from qiskit_ibm_runtime.json import RuntimeEncoder

from kit.server.api_in_process import Api, api_in_process, submit
from kit.server.played_pool import PlayedPool, PlayedReservation
from qiskit_runtime_server.api.models.views import Drawings, Outcomes
from qiskit_runtime_server.console.charts import expectation_values
from qiskit_runtime_server.errors import InvalidInputError, OutOfMemoryError
from qiskit_runtime_server.messages.messages import Completed, Failed, Metrics, Started
from qiskit_runtime_server.programs.wire.plain import encode_plain
from qiskit_runtime_server.programs.wire.results import encode_result
from qiskit_runtime_server.worker import outcomes, views

Encode = Callable[[PrimitiveResult], bytes]
HOSTILE = "<script>alert(1)</script>"


def params_of(*circuits: QuantumCircuit, **options: Any) -> bytes:
    document = {"pubs": [[circuit] for circuit in circuits], "options": options, "version": 2, "support_qiskit": True}
    return json.dumps(document, cls=RuntimeEncoder).encode()


def drawings(*circuits: QuantumCircuit, **options: Any) -> Drawings:
    return Drawings.model_validate_json(views.drawing("sampler", params_of(*circuits, **options)))


def bell(name: str = "bell") -> QuantumCircuit:
    circuit = QuantumCircuit(2, name=name)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    return circuit


def test_circuits_are_drawn_with_their_figures() -> None:
    drawn = drawings(bell(), default_shots=100)
    [one] = drawn.circuits
    assert (one.name, one.num_qubits, one.used_qubits, one.num_clbits, one.depth) == ("bell", 2, 2, 2, 3)
    assert dict(one.operations) == {"h": 1, "cx": 1, "measure": 2, "barrier": 1}
    assert "┤ H ├" in one.text
    assert (one.left_out, drawn.more) == ("", 0)
    assert json.loads(drawn.options) == {"default_shots": 100}


def test_what_is_large_is_not_drawn_but_counted() -> None:
    long = QuantumCircuit(1)
    for _ in range(views.MOST_GATES + 1):
        long.x(0)
    wide = QuantumCircuit(views.MOST_QUBITS + 1)
    for qubit in range(views.MOST_QUBITS + 1):
        wide.x(qubit)
    idle = QuantumCircuit(156, 1)
    idle.h(100)
    idle.measure(100, 0)
    drawn = drawings(long, wide, idle, *[bell()] * 10)
    assert len(drawn.circuits) == views.MOST_CIRCUITS
    assert drawn.more == 13 - views.MOST_CIRCUITS
    assert [one.left_out[:17] for one in drawn.circuits] == ["Too large to draw", "Too large to draw", "", ""]
    assert (drawn.circuits[2].used_qubits, drawn.circuits[2].text.count("q_")) == (1, 1)


def test_marks_that_turn_text_around_do_not_pass_and_long_options_are_cut() -> None:
    drawn = drawings(bell(f"{HOSTILE}\u202e\x1b[31m"), simulator={"seed_simulator": 1}, environment={"x": "y" * 5000})
    assert drawn.circuits[0].name == f"{HOSTILE}��[31m"
    assert len(drawn.options) < 500


def test_params_that_cannot_be_read_are_refused_by_a_reason() -> None:
    with pytest.raises(InvalidInputError):
        views.drawing("sampler", b'{"pubs": [["nonsense"]]}')
    with pytest.raises(InvalidInputError):
        views.drawing("sampler", b"\xff")


def shots_of(*rows: str, sets: int = 1) -> BitArray:
    bits = np.array([[int(bit) for bit in row] for row in rows], dtype=bool)
    packed = np.packbits(np.pad(bits, ((0, 0), (-bits.shape[1] % 8, 0))), axis=1)
    return BitArray(np.stack([packed] * sets) if sets > 1 else packed, bits.shape[1])


@pytest.mark.parametrize("encode", [encode_result, encode_plain])
@pytest.mark.parametrize("sets", [1, 3])
def test_the_most_frequent_outcomes_are_counted(encode: Encode, sets: int) -> None:
    data = DataBin(c=shots_of("00", "11", "11", "01", sets=sets), shape=(sets,) if sets > 1 else ())
    result = PrimitiveResult([SamplerPubResult(data, {"simulation": {"method": "exact"}})], {"version": 2})
    [pub] = Outcomes.model_validate_json(outcomes.outcomes(encode(result))).pubs
    [counts] = pub.counts
    assert (counts.name, counts.num_bits, counts.sets, counts.shots, counts.distinct) == ("c", 2, sets, 4, 3)
    assert counts.bars == [("00", 1), ("01", 1), ("11", 2)]
    assert json.loads(pub.metadata) == {"simulation": {"method": "exact"}}


def test_rare_outcomes_are_counted_together() -> None:
    rows = [f"{number:07b}" for number in range(100)] + ["1111111"] * 50
    result = PrimitiveResult([SamplerPubResult(DataBin(c=shots_of(*rows)))])
    [counts] = Outcomes.model_validate_json(outcomes.outcomes(encode_result(result))).pubs[0].counts
    assert (len(counts.bars), counts.distinct, counts.bars[-1]) == (outcomes.MOST_BARS, 101, ("1111111", 50))
    assert counts.others == 150 - sum(count for _, count in counts.bars)


@pytest.mark.parametrize("encode", [encode_result, encode_plain])
def test_a_pub_without_parameter_sets_has_no_outcomes(encode: Encode) -> None:
    nothing = BitArray(np.zeros((0, 4, 1), np.uint8), num_bits=3)
    result = PrimitiveResult([SamplerPubResult(DataBin(c=nothing, shape=(0,)))])
    [pub] = Outcomes.model_validate_json(outcomes.outcomes(encode(result))).pubs
    assert (pub.counts, pub.values) == ([], [])


@pytest.mark.parametrize("encode", [encode_result, encode_plain])
def test_expectation_values_have_their_errors(encode: Encode) -> None:
    data = DataBin(evs=np.array([[0.5, -1.0]]), stds=np.array([[0.01, 0.02]]), shape=(1, 2))
    [pub] = Outcomes.model_validate_json(outcomes.outcomes(encode(PrimitiveResult([PubResult(data)])))).pubs
    assert (pub.values, pub.shape) == ([(0.5, 0.01), (-1.0, 0.02)], [1, 2])
    chart = expectation_values(pub.values, pub.shape)
    assert chart is not None
    assert [point.label for point in chart.points] == ["0, 0", "0, 1"]
    many = DataBin(evs=np.array([np.nan, *np.zeros(99)]), shape=(100,))
    [pub] = Outcomes.model_validate_json(outcomes.outcomes(encode_result(PrimitiveResult([PubResult(many)])))).pubs
    assert (len(pub.values), pub.more_values, pub.values[0]) == (outcomes.MOST_VALUES, 36, (None, None))


@pytest.mark.parametrize(
    "document",
    [
        b"[]",
        b'{"__type__": "PrimitiveResult", "__value__": 3}',
        b'{"results": [{"data": {"evs": {"__type__": "ndarray", "__value__": "AAAA"}}}]}',
        b'{"results": [{"data": {"c": {"samples": ["0xzz"], "num_bits": 2}}}]}',
        b'{"results": [{"data": {"c": {"samples": [], "num_bits": 2}}}]}',
        b'{"results": [{"data": {"evs": {"__type__": "Pickle"}}}]}',
    ],
)
def test_a_damaged_result_is_refused_or_empty_and_harms_nobody(document: bytes) -> None:
    try:
        made = outcomes.outcomes(document)
    except InvalidInputError:
        return
    Outcomes.model_validate_json(made)


MADE = msgspec.json.encode({"pubs": [], "more": 0, "metadata": "{}"})


def play(api: Api, *plays: Any, beside: bool = False) -> PlayedPool:
    pool = RoomyPool(*plays) if beside else PlayedPool(*plays)
    [name] = api.services.pools
    api.services.pools[name] = pool  # type: ignore[index]
    return pool


class RoomyPool(PlayedPool):
    """An executor that looks at jobs beside its slot, too."""

    async def reserve_look(self) -> PlayedReservation:
        return PlayedReservation(self, lambda: None)


async def outcomes_of(client: httpx.AsyncClient, job: str) -> tuple[int, str]:
    answer = await client.get(f"/jobs/{job}/outcomes")
    return answer.status_code, answer.text


async def test_a_view_is_made_once_by_a_worker(api: Api) -> None:
    job = await submit(api.alice)
    assert (await outcomes_of(api.alice, job))[0] == 404  # there is no result yet
    await api.end_next()
    pool = play(api, [Started(), Completed(metrics=Metrics(), result=MADE)])
    for _ in range(2):
        status, text = await outcomes_of(api.alice, job)
        assert (status, json.loads(text)) == (
            200,
            {"kind": "pub", "pubs": [], "layers": [], "more": 0, "metadata": "{}"},
        )
    assert pool.log == ["run 1"]
    assert (await outcomes_of(api.bob, job))[0] == 404
    assert (await outcomes_of(api.ada, job))[0] == 200


async def test_a_view_that_cannot_be_made_says_why_and_frees_its_slot(api: Api) -> None:
    job = await submit(api.alice)
    await api.end_next()
    failed = Failed(reason="It is damaged.", code=1002)
    play(api, [Started(), failed], [Completed(metrics=Metrics(), result=b"x" * 2**21)])
    assert (await outcomes_of(api.alice, job))[0] == 409
    status, text = await outcomes_of(api.alice, job)
    assert (status, "too large" in text) == (409, True)


async def test_without_a_free_slot_the_answer_is_to_try_again(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qiskit_runtime_server.dispatch.views._WAIT_SECONDS", 0.05)
    job = await submit(api.alice)
    await api.end_next()
    pool = play(api)
    await pool.reserve()
    assert (await outcomes_of(api.alice, job))[0] == 503


async def test_while_jobs_have_all_slots_a_view_is_made_beside_them(api: Api) -> None:
    job = await submit(api.alice)
    await api.end_next()
    too_large = Failed(reason="The job needs more memory than its slot has.", code=OutOfMemoryError.code)
    pool = play(api, [Started(), too_large], [Started(), Completed(metrics=Metrics(), result=MADE)], beside=True)
    await pool.reserve()
    status, text = await outcomes_of(api.alice, job)
    assert (status, "it is large: try again when one is free" in text) == (503, True)
    assert (await outcomes_of(api.alice, job))[0] == 200


async def test_private_jobs_have_no_views(api: Api) -> None:
    job = await submit(api.alice, private=True)
    await api.end_next()
    for view in ("drawing", "outcomes"):
        assert (await api.alice.get(f"/jobs/{job}/{view}")).status_code == 403


@pytest.mark.parametrize("program", ["drawing:sampler", "outcomes", "self-test"])
async def test_clients_cannot_submit_what_workers_do_beside_programs(api: Api, program: str) -> None:
    answer = await api.alice.post("/jobs", json={"program_id": program, "backend": "fake_manila@played", "params": {}})
    assert answer.status_code == 404


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_in_process(tmp_path) as served:
        yield served
