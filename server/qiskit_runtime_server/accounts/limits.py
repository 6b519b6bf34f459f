"""What an account is granted: its share of the executors, and its limits."""

import re
from dataclasses import dataclass, replace
from typing import Final

from qiskit_runtime_server.errors import LimitError
from qiskit_runtime_server.jobs import AccountId, name_of


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLimits:
    """What an account, or one of its instances, may take of the executors; None is no limit.

    Attributes:
        weight: How many claims make a turn of the account, while one makes a turn of an account of weight 1.
        running: How many of the account's jobs run at a time on one executor; the others wait.
        stored_bytes: How much the params, results and logs of all jobs of the account may take, as they are kept,
            before none is accepted.
        sessions: How many sessions of the account in which no job has started may have been opened in a day.
        queued: How many jobs of the instance may wait.
        seconds_per_day: Slot time of the instance after which no job is accepted or started until the next day (UTC)
            begins, and a run is ended.
        seconds_per_job: How long a job of the instance may run.
        qubits: The widest part of a circuit, of qubits that depend on each other, that may be simulated.
    """

    weight: int = 1
    running: int | None = 64
    stored_bytes: int | None = None
    sessions: int | None = 1000
    queued: int | None = None
    seconds_per_day: float | None = None
    seconds_per_job: float | None = None
    qubits: int | None = None

    def granting(self, seconds_per_day: float | None) -> "AccountLimits":
        """Return them with what an admin has set over the API in place of what the file says, if one has."""
        return self if seconds_per_day is None else replace(self, seconds_per_day=seconds_per_day)

    def check_queued(self, instance: str, queued: int) -> None:
        """Refuse one more job of an instance that has `queued` jobs in the queue.

        Raises:
            LimitError: If it has as many as it may.
        """
        if self.queued is not None and queued >= self.queued:
            raise LimitError(f"{_named(instance)} has {queued} queued jobs; its limit is {self.queued}.")

    def check_seconds(self, instance: str, used: float) -> None:
        """Refuse one more job of an instance that has used `used` seconds of slot time on this day (UTC).

        Raises:
            LimitError: If that is as much as it may.
        """
        if self.seconds_per_day is not None and used >= self.seconds_per_day:
            raise LimitError(
                f"{_named(instance)} has used {used:.1f} s of slot time today; its limit is"
                f" {self.seconds_per_day:g} s per day (UTC)."
            )

    def check_stored(self, account: AccountId, stored_bytes: int, more: int) -> None:
        """Refuse a job with `more` bytes of an account whose jobs take `stored_bytes`.

        Raises:
            LimitError: If that is more than they may.
        """
        if self.stored_bytes is not None and stored_bytes + more > self.stored_bytes:
            raise LimitError(
                f"The jobs of account {name_of(account)} take {stored_bytes} bytes, and this one {more}; its limit is"
                f" {self.stored_bytes}. Delete jobs to make room."
            )

    def check_sessions(self, account: AccountId, unused: int) -> None:
        """Refuse one more session of an account that has opened `unused` within a day in which no job has started.

        Raises:
            LimitError: If that is as many as it may.
        """
        if self.sessions is not None and unused >= self.sessions:
            raise LimitError(
                f"Account {name_of(account)} has opened {unused} sessions within a day in which no job has started; its"
                f" limit is {self.sessions}."
            )


def _named(crn: str) -> str:
    """Return what people call an instance: its name and its account's, as `Account.crn` has put them together."""
    parts = re.fullmatch(r"crn:.*:a/(.*):([^:]*)::", crn)
    return f"Instance {parts[2]} of account {parts[1]}" if parts else f"Instance {crn}"


USUAL_LIMITS: Final = AccountLimits()
"""Of those of whom nothing else is said."""

NO_LIMITS: Final = AccountLimits(running=None, sessions=None)
