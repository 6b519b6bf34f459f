"""A storm of faults, at a tenth of the size of `make chaos`."""

from pathlib import Path

import pytest

from kit.faults.chaos import TENTH, endure


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The SamplerV2 class:DeprecationWarning")
@pytest.mark.timeout(900)
def test_no_acknowledged_job_is_lost_or_ends_twice_in_a_storm(tmp_path: Path) -> None:
    report = endure(TENTH, tmp_path, seed=1)
    for name, figure in report.figures.items():
        print(f"{name}: {figure}")
    assert report.problems == []
    assert sum(report.faults.values()) > 5
