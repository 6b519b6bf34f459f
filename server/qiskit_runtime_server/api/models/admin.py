"""What is answered to admins."""

from datetime import date

from qiskit_runtime_server.api.models.base import Answer


class Executor(Answer):
    """An executor of this api."""

    name: str
    queued: int
    running: int
    slots: int
    """That this api knows."""
    draining: bool


class Executors(Answer):
    """The executors of this api."""

    executors: list[Executor]


class UsageDay(Answer):
    """What an instance has used of an executor by jobs that ended on one day."""

    account: str
    instance: str
    """CRN."""
    executor: str
    day: date
    """UTC."""
    seconds: float
    jobs: int


class UsageDays(Answer):
    """Slot time by day, account, instance and executor."""

    usage: list[UsageDay]
