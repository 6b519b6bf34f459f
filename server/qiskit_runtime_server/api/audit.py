"""Who did what: one line for each thing that somebody may be asked about later, whatever `QRS_LOG_LEVEL` is."""

import logging
from typing import Final

from fastapi import Request

from qiskit_runtime_server.accounts.identity import Identity
from qiskit_runtime_server.jobs import Job

NAME: Final = "qiskit_runtime_server.audit"

logger = logging.getLogger(NAME)
# A level of its own: a quiet log is no reason to forget who did what.
logger.setLevel(logging.INFO)


def address_of(request: Request) -> str:
    """Return where a request comes from, which behind a proxy that is not trusted is the proxy; empty if unknown."""
    return request.client.host if request.client else ""


def tell(action: str, caller: Identity, **about: object) -> None:
    """Say that a caller did something; `about` names what it was done to."""
    _write(action, {"account": caller.id, "role": str(caller.account.role), "address": caller.address, **about})


def tell_if_foreign(action: str, caller: Identity, job: Job) -> None:
    """Say that a caller did something with a job that is another account's."""
    if job.account != caller.id:
        tell(action, caller, job=job.id, owner=job.account)


def tell_refused(address: str, reason: str, *, untold: int) -> None:
    """Say that somebody could not sign in, and of how many others that was not said before."""
    fields: dict[str, object] = {"account": None, "role": None, "address": address}
    _write("sign-in refused", {**fields, "reason": reason, "untold": untold or None})


def _write(action: str, fields: dict[str, object]) -> None:
    said = ", ".join(f"{name} {value}" for name, value in fields.items() if value not in {None, ""})
    # What a client wrote may be part of it, and must not begin a line of its own.
    logger.info("%s: %s", action, " ".join(said.split()), extra={"action": action, **fields})
