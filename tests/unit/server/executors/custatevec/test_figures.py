"""The script that measures on GPUs, as far as it runs without one."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

PATH = Path(__file__).parents[4] / "benchmarks" / "gpu" / "run.py"

NSYS = """Processing [report.sqlite] with [cuda_gpu_kern_sum.py]...

Time (%),Total Time (ns),Instances,Avg (ns),Med (ns),Min (ns),Max (ns),StdDev (ns),Name
97.0,1000,"1,200",10.0,10.0,9,11,0.1,"void apply<float, 5>(int)"
3.0,30,3,10.0,10.0,9,11,0.1,sample
"""


@pytest.fixture(scope="module")
def figures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("gpu_figures", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["gpu_figures"] = module
    spec.loader.exec_module(module)
    return module


def test_every_measure_runs_on_small_states(figures: ModuleType) -> None:
    rows = [row for measure in figures.MEASURES for row in measure(figures.numpy(), figures.SMALL)]
    assert {row.goal for row in rows} >= {"0.30", "0.25", "the best of the sweep", "50 x", "0.5 s", "runs"}
    assert figures.page(rows, "A device").count("\n| ") == 1 + len(rows)


def test_kernels_are_counted_from_the_report_of_the_profiler(figures: ModuleType) -> None:
    assert figures.kernels(NSYS) == 1203
