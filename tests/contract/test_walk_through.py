"""Each file that the walk through the architecture names is there, and has the function that it names."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/explanation/architecture.md").read_text()
BELOW = {
    "One sampler job": ROOT / "server/qiskit_runtime_server",
    "One RuntimeServer": ROOT / "operator/qiskit_runtime_operator",
}


@pytest.mark.parametrize("walk", BELOW)
def test_it_is_true(walk: str) -> None:
    _, _, rest = PAGE.partition(f"## {walk}, from file to file")
    part, _, _ = rest.partition("\n## ")
    named = re.findall(r"`([\w/]+\.py)`(?:, `(\w+)`)?", part)
    assert len(named) > 8
    for file, function in named:
        source = (BELOW[walk] / file).read_text()
        assert not function or re.search(rf"def {function}\b", source), f"{file} has no {function}"
