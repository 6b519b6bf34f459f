"""The command `backends`: what a server offers, and how busy it is, as a client with a token sees it."""

from collections.abc import Mapping
from typing import Any, Final

import httpx
from rich.console import Console
from rich.table import Table

from qiskit_runtime_server.client import address_of, sign_in
from qiskit_runtime_server.errors import RequestError

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
    headers = {"Authorization": f"Bearer {sign_in(url, token)}"}
    url = address_of(url)
    try:
        answer: dict[str, Any] = httpx.get(f"{url}/api/v1/{path}", headers=headers).raise_for_status().json()
    except httpx.HTTPStatusError as error:
        raise RequestError(f"{url} answered {error.response.status_code}: {error.response.text}") from error
    except httpx.HTTPError as error:
        raise RequestError(f"No server answers at {url}: {error}") from error
    return answer
