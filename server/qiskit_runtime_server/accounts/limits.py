"""What an account is granted: its share of the executors, and its limits."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountLimits:
    """Under which terms a job is accepted; None is no limit.

    Attributes:
        weight: How many turns the account gets while another of weight 1 gets one.
        running: How many of the account's jobs run at a time on one executor; the others wait.
        queued: How many jobs of the instance may wait.
        seconds_per_day: Slot time of the instance after which no job is accepted until the next day (UTC) begins.
        qubits: The widest part of a circuit, of qubits that depend on each other, that may be simulated.
    """

    weight: int = 1
    running: int | None = None
    queued: int | None = None
    seconds_per_day: float | None = None
    qubits: int | None = None


DEFAULT_TERMS = AccountLimits()
