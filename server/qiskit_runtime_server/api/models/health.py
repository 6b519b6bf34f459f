"""What is answered to probes."""

from typing import Literal

from qiskit_runtime_server.api.models.base import Answer


class Live(Answer):
    """The process works."""

    status: Literal["alive"]


class Slots(Answer):
    """The slots of an executor that this api knows.

    `confinement` names what keeps worker processes from files, processes and the network: `Landlock` and `seccomp`,
    features of the kernel, and `user`, another user than that of a server that root started. It is null while no slot
    is known.
    """

    slots: int
    idle: int
    confinement: list[str] | None


class Ready(Answer):
    """The server answers.

    `takes_jobs` is false while the disk has too little room for new ones; all else goes on.
    """

    status: Literal["ready"]
    version: str
    takes_jobs: bool
    executors: dict[str, Slots]
