"""What is answered to probes."""

from typing import Literal

from qiskit_runtime_server.api.models.base import Answer


class Live(Answer):
    """The process works."""

    status: Literal["alive"]


class Slots(Answer):
    """The slots of an executor that this api knows.

    `confinement` names the kernel's features by which worker processes are kept from files, processes and the network,
    and is null while no slot is known.
    """

    slots: int
    idle: int
    confinement: list[str] | None


class Ready(Answer):
    """The server takes jobs."""

    status: Literal["ready"]
    version: str
    executors: dict[str, Slots]
