"""The command `backends`: what a server offers, and how busy it is, as a client with a token sees it."""

from collections.abc import Mapping
from typing import Any

from qiskit_runtime_server.command_line.server import Server, Target
from qiskit_runtime_server.command_line.tables import show, show_json, table


def print_backends(at: Target, *, as_json: bool) -> None:
    """Print the virtual backends of a server.

    Raises:
        RequestError: If it does not answer, or refuses the token.
    """
    found = _answer(at, "backends")["devices"]
    if as_json:
        show_json(found)
    else:
        rows = [(device["name"], device["qubits"], device["queue_length"]) for device in found]
        show(table(("backend", "qubits", "queued jobs"), rows))


def print_loads(at: Target, *, as_json: bool) -> None:
    """Print how busy each executor of a server is; errors as above."""
    found = _answer(at, "executors")["executors"]
    if as_json:
        show_json(found)
    else:
        columns = ("executor", "ready", "queued", "running", "yours running", "slots", "idle", "busy", "why not ready")
        show(table(columns, map(_row, found)))


def _row(executor: Mapping[str, Any]) -> tuple[object, ...]:
    # What only admins are told is None to others.
    slots, idle = executor["slots"], executor["idle"]
    return (
        executor["name"],
        "yes" if executor["ready"] else "no",
        executor["queued"],
        executor["running"],
        executor["own_running"],
        slots,
        idle,
        None if idle is None else slots - idle,
        executor["reason"],
    )


def _answer(at: Target, path: str) -> Mapping[str, Any]:
    with Server(at) as server:
        answer: dict[str, Any] = server.get(path)
    return answer
