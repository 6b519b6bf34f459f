"""The published proof is not stale: it was written with the client that is locked, or with one of the two before it."""

import re
from datetime import date

from kit import ROOT
from kit.server.client_environments import CLIENTS

PAGE = ROOT / "docs" / "reference" / "conformance.md"
ROWS = re.findall(r"^\| (\d+\.\d+)\.\d+ \| [\d.]+ \| (\S+) \|", PAGE.read_text(), re.MULTILINE)
MOST_RELEASES = 2


def minor(version: str) -> int:
    return int(version.split(".")[1])


def test_the_report_is_not_older_than_two_releases_of_the_client() -> None:
    locked = re.search(
        r"^qiskit-ibm-runtime==(\d+\.\d+)", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE
    )
    assert locked is not None
    assert minor(locked[1]) - max(minor(client) for client, _ in ROWS) <= MOST_RELEASES
    assert CLIENTS[-1] == locked[1]


def test_the_report_has_every_client_and_says_when_each_was_asked() -> None:
    assert [client for client, _ in ROWS] == list(CLIENTS)
    assert all(date.fromisoformat(day) for _, day in ROWS)
