"""What `accounts remove` does on a running server: ends the jobs of accounts and deletes what they have there."""

import time
from typing import Final

from qiskit_runtime_server.command_line.server import Server, Target
from qiskit_runtime_server.jobs import AccountId, exact

# A server follows its folder within two seconds; what is submitted until then ends, too.
_FOLLOWS_SECONDS: Final = 2.5
_TIMEOUT_SECONDS: Final = 300.0


class AdminCalls:
    """An admin's calls of a server.

    Raises:
        RequestError: Here if it does not answer, or the token is no admin's; later if a call fails.
    """

    def __init__(self, at: Target) -> None:
        self._server = Server(at, _TIMEOUT_SECONDS)
        self._server.get("admin/executors")

    def end_jobs(self, account: AccountId) -> int:
        """End all jobs of an account and return how many there were."""
        cancelled, more = 0, True
        while more:
            answer = self._server.change("POST", f"admin/accounts/{exact(account)}/cancel")
            cancelled, more = cancelled + answer["cancelled"], answer["more"]
        return cancelled

    def delete_data(self, account: AccountId) -> tuple[int, int]:
        """Delete all that an account has, and return how many jobs it was, and how many of them had not ended."""
        jobs, cancelled, more = 0, 0, True
        while more:
            answer = self._server.change("DELETE", f"admin/accounts/{exact(account)}/data")
            jobs, cancelled, more = jobs + answer["jobs"], cancelled + answer["cancelled"], answer["more"]
        return jobs, cancelled


def wait_for_the_server() -> None:
    """Return when the server has seen that tokens are gone."""
    time.sleep(_FOLLOWS_SECONDS)
