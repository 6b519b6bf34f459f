"""The glossary names classes that there are."""

import re
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).parents[2]
GLOSSARY = (ROOT / "docs/reference/glossary.md").read_text()


def test_every_class_that_it_names_is_there() -> None:
    sources = [*(ROOT / "server").rglob("*.py"), *(ROOT / "operator").rglob("*.py")]
    classes = {name for source in sources for name in re.findall(r"^class (\w+)", source.read_text(), re.MULTILINE)}
    named = set(re.findall(r"\[`(\w+)`\]", GLOSSARY))
    assert len(named) > 20
    assert named <= classes


def test_every_word_has_one_row() -> None:
    words = re.findall(r"^\| ([^|[]+?) (?:\[.*\] )?\|", GLOSSARY, re.MULTILINE)
    assert [word for word, count in Counter(words).items() if count > 1 and word != "word"] == []
