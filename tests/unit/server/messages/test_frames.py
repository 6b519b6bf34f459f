"""A message in pieces is the message: an executor or an api of another release reads it as it always did."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qiskit_runtime_server.messages.messages import (
    PIECE_BYTES,
    Completed,
    Event,
    Failed,
    Frames,
    Metrics,
    Pieces,
    Task,
    framed,
)

SIZES = [0, 1, PIECE_BYTES, PIECE_BYTES + 1, 3 * PIECE_BYTES, 5_000_001]
EVENTS = msgspec.msgpack.Decoder(Event)


def large(size: int) -> bytes:
    return (bytes(range(256)) * (size // 256 + 1))[:size]


@pytest.mark.parametrize("size", SIZES)
def test_tasks_and_results_of_any_size_are_read_as_they_were(size: int) -> None:
    task = Task(
        job_id="a", fence=1, program_id="b", backend_name="c", calibration_digest="d", seed=2, seconds=3.0,
        params=large(size),
    )  # fmt: skip
    completed = Completed(metrics=Metrics(seconds=1.5, num_qubits=(1, 2)), result=large(size))
    for message in (task, completed):
        pieces = Pieces(message)
        assert msgspec.msgpack.decode(b"".join(pieces), type=type(message)) == message
        assert sum(map(len, pieces)) == pieces.size
        assert all(len(piece) <= PIECE_BYTES + 1024 for piece in pieces)


@pytest.mark.parametrize("message", [Failed(reason="no", code=1), Completed(metrics=Metrics(), result=b"{}")])
def test_what_is_small_is_framed_byte_for_byte_as_before(message: Event) -> None:
    assert list(Pieces(message).framed()) == [framed(message)]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(SIZES), max_size=4), st.integers(1, 2 * PIECE_BYTES))
def test_a_stream_of_pieces_is_cut_into_the_same_messages(sizes: list[int], step: int) -> None:
    messages = [Completed(metrics=Metrics(), result=large(size)) for size in sizes]
    stream = b"".join(piece for message in messages for piece in Pieces(message).framed())
    frames = Frames(EVENTS)
    step = max(step, len(stream) // 50 + 1)
    received = [m for start in range(0, len(stream), step) for m in frames.feed(stream[start : start + step])]
    assert received == messages
    assert frames.pending == 0


def test_the_size_of_a_message_is_known_before_the_message() -> None:
    stream = b"".join(Pieces(Completed(metrics=Metrics(), result=large(5_000_001))).framed())
    frames = Frames(EVENTS)
    assert list(frames.feed(stream[:4])) == []
    assert frames.pending == 0
    assert list(frames.feed(stream[4:2000])) == []
    assert frames.pending == len(stream) - 8
