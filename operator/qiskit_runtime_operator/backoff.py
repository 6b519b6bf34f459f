"""How long to wait before something that failed is tried again: the one rule of all retries of the operator."""

from dataclasses import dataclass
from datetime import timedelta

from qiskit_runtime_operator.errors import ClusterError


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """The time to wait, doubled with each failure in a row, and shortened at random by up to a half.

    Attributes:
        first: After the first failure.
        longest: However many failures there were.
    """

    first: timedelta = timedelta(milliseconds=500)
    longest: timedelta = timedelta(minutes=5)

    def delay(self, failures: int, chance: float) -> timedelta:
        """Return the time to wait after so many failures, at least one; `chance` is from 0 to 1."""
        # The exponent is bounded, for somebody may fail for weeks.
        doubled: timedelta = min(self.first * 2 ** min(failures - 1, 30), self.longest)
        return doubled * (1 - chance / 2)

    def after(self, error: ClusterError, failures: int, chance: float) -> timedelta:
        """Return the same, but no less than the API server asked for in `error`."""
        return max(self.delay(failures, chance), error.retry_after or timedelta())
