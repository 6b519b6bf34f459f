"""The command `backends`: what a server offers, and how busy it is, as a client with a token sees it."""

from collections.abc import Mapping
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from qiskit_runtime_server.command_line.server import Server, Target

# What only admins are told.
_UNTOLD: Final = "-"


def print_backends(url: str, token: str) -> None:
    """Print the virtual backends of a server.

    Raises:
        RequestError: If it does not answer, or refuses the token.
    """
    table = Table("backend", "qubits", "queued jobs")
    for device in _answer(url, token, "backends")["devices"]:
        table.add_row(device["name"], str(device["qubits"]), str(device["queue_length"]))
    Console().print(table)


def print_loads(url: str, token: str) -> None:
    """Print how busy each executor of a server is; errors as above."""
    table = Table("executor", "ready", "queued", "running", "yours running", "slots", "idle", "busy", "why not ready")
    for executor in _answer(url, token, "executors")["executors"]:
        table.add_row(*map(str, _row(executor)))
    Console().print(table)


def _row(executor: Mapping[str, Any]) -> tuple[object, ...]:
    slots, idle, running = executor["slots"], executor["idle"], executor["running"]
    told = idle is not None
    return (
        executor["name"],
        "yes" if executor["ready"] else "no",
        executor["queued"],
        running if told else _UNTOLD,
        executor["own_running"],
        slots,
        idle if told else _UNTOLD,
        slots - idle if told else _UNTOLD,
        executor["reason"],
    )


def _answer(url: str, token: str, path: str) -> Mapping[str, Any]:
    with Server(Target(url=url, token=token)) as server:
        answer: dict[str, Any] = server.get(path)
    return answer
