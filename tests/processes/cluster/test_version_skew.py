"""Apis and executors one minor version apart: messages may gain fields with defaults, and lose none."""

from typing import Any

import msgspec
import pytest

from qiskit_runtime_server.messages import messages

# What the first release sends of each message. A later one may send more, and must not ask for more.
FIRST_RELEASE: dict[type[msgspec.Struct], dict[str, Any]] = {
    messages.Task: {
        "type": "task",
        "job_id": "a",
        "fence": 1,
        "program_id": "sampler",
        "backend_name": "fake_manila@aer",
        "calibration_digest": "0",
        "seed": 1,
        "seconds": 60.0,
        "params": b"{}",
    },
    messages.Ready: {"type": "ready", "capabilities": {"num_qubits": 5}},
    messages.Started: {"type": "started"},
    messages.Heartbeat: {"type": "heartbeat"},
    messages.Log: {"type": "log", "text": "x"},
    messages.Completed: {"type": "completed", "metrics": {}, "result": b"{}"},
    messages.Failed: {"type": "failed", "reason": "no", "code": 1},
    messages.HandedBack: {"type": "handed_back"},
    messages.Occupancy: {"boot_id": "a", "revision": 1, "slots": 1, "idle": 1, "capabilities": {"num_qubits": 5}},
    messages.Confirmation: {"fence": 1},
}


def test_every_message_between_api_and_executor_is_looked_at() -> None:
    parts = {
        *(messages.Capabilities, messages.Holder, messages.Metrics, messages.Progress, messages.Stage),
        *(messages.Candidate, messages.Fitted, messages.Prediction, messages.Routing),
    }
    found = {kind for kind in vars(messages).values() if isinstance(kind, type) and issubclass(kind, msgspec.Struct)}
    assert found - parts == FIRST_RELEASE.keys()


@pytest.mark.parametrize("kind", FIRST_RELEASE, ids=lambda kind: kind.__name__)
def test_a_message_of_the_first_release_is_understood(kind: type[msgspec.Struct]) -> None:
    message = msgspec.msgpack.decode(msgspec.msgpack.encode(FIRST_RELEASE[kind]), type=kind)
    sent = msgspec.to_builtins(message, builtin_types=(bytes,))
    assert FIRST_RELEASE[kind].items() <= (sent | {"capabilities": {"num_qubits": 5}, "metrics": {}}).items()


@pytest.mark.parametrize("kind", FIRST_RELEASE, ids=lambda kind: kind.__name__)
def test_a_message_of_a_later_release_is_understood(kind: type[msgspec.Struct]) -> None:
    first = FIRST_RELEASE[kind]
    later = {field: value | {"new": 1} if isinstance(value, dict) else value for field, value in first.items()} | {
        "new": {"of": "a later release"}
    }
    decode = msgspec.msgpack.Decoder(kind).decode
    assert decode(msgspec.msgpack.encode(later)) == decode(msgspec.msgpack.encode(first))
