"""Decisions have numbers of their own, a status and a date, and the index names all of them."""

import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "docs/decisions"
FILES = sorted(FOLDER.glob("[0-9]*.md"))
STATUS = re.compile(r"(Accepted|Replaced by \[decision (\d+)\]\(.+\)), (\d{4}-\d\d-\d\d)\.")


def test_numbers_are_used_once_and_without_gaps() -> None:
    assert [int(file.name[:4]) for file in FILES] == list(range(1, len(FILES) + 1))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name[:4])
def test_the_index_repeats_a_decisions_number_title_status_and_date(file: Path) -> None:
    title, _, status, *_ = file.read_text().splitlines()
    number = int(file.name[:4])
    words = title.removeprefix(f"# {number}. ")
    found = STATUS.fullmatch(status)
    assert words != title
    assert found is not None, status
    spelled = f"replaced by {found[2]}" if found[2] else "accepted"
    row = f"| [{number}]({file.name}) | {words} | {spelled} | {found[3]} |"
    assert row in (FOLDER / "README.md").read_text().splitlines()
