"""The command `accounts usage`: what accounts have used of a server's executors."""

from collections import defaultdict
from typing import Any

from qiskit_runtime_server.command_line.server import Server, Target
from qiskit_runtime_server.command_line.tables import duration, show, show_json, table


def print_usage(at: Target, *, since: str | None, until: str | None, as_json: bool) -> None:
    """Print slot time and jobs of each account and executor between two days.

    Raises:
        RequestError: If the server does not answer, refuses the token, or it is neither an admin's nor a teacher's.
    """
    with Server(at) as server:
        found = server.get(server.of_others("usage"), since=since, until=until)
    if as_json:
        show_json(found)
        return
    show(table(("account", "executor", "jobs", "slot time", "running", "for"), _rows(found)))


def _rows(found: dict[str, Any]) -> list[tuple[object, ...]]:
    """Return a row for each account and executor, the largest users first."""
    sums: defaultdict[tuple[str, str], list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0, 0.0])
    for place, entries in ((0, found["usage"]), (2, found["running"])):
        for entry in entries:
            row = sums[entry["account"], entry["executor"]]
            row[place] += entry["jobs"]
            row[place + 1] += entry["seconds"]
    return [
        (account, executor, int(jobs), duration(seconds), int(running), duration(running_seconds))
        for (account, executor), (jobs, seconds, running, running_seconds) in sorted(
            sums.items(), key=lambda item: (-item[1][1], item[0])
        )
    ]
