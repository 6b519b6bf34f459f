"""A storm of faults, at a tenth of the size of `make chaos`, and at a thirtieth without long jobs."""

from pathlib import Path

import pytest

from kit.faults.chaos import GUST, TENTH, Size, endure


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The SamplerV2 class:DeprecationWarning")
@pytest.mark.timeout(900)
@pytest.mark.parametrize("size", [GUST, pytest.param(TENTH, marks=pytest.mark.thorough)])
def test_no_acknowledged_job_is_lost_or_ends_twice_in_a_storm(tmp_path: Path, size: Size) -> None:
    report = endure(size, tmp_path, seed=1)
    for name, figure in report.figures.items():
        print(f"{name}: {figure}")
    assert report.problems == []
    assert sum(report.faults.values()) >= size.faults
