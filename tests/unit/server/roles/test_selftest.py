"""Executors that raise, lie or can do nothing are found out before they get a job."""

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest

from kit.faults.scripted_executor import ScriptedExecutor
from kit.faults.unsound_executors import (
    EmptyExecutor,
    InexactExecutor,
    LyingExecutor,
    MirroredExecutor,
    RaisingExecutor,
    SingleMindedExecutor,
    StubbornExecutor,
)
from kit.quantum.custatevec_twin import Twin
from kit.quantum.plain_executor import PlainExecutor
from qiskit_runtime_server import Settings, create_app
from qiskit_runtime_server.errors import JobError, StartupError
from qiskit_runtime_server.executors import AerExecutor, BaseExecutor
from qiskit_runtime_server.worker.selftest import examine

DOCS = Path(__file__).parents[4] / "docs/how-to/write-an-executor.md"

UNSOUND = [
    (RaisingExecutor(), "not in a usable state"),
    (LyingExecutor(), "sampler"),
    (MirroredExecutor(threads=1), "sampler"),
    (SingleMindedExecutor(threads=1), "sampler"),
    (StubbornExecutor(threads=1), "sampler"),
    (InexactExecutor(threads=1), "expectation_values"),
    (EmptyExecutor(), "runs only"),
]


@pytest.mark.parametrize(("executor", "names"), UNSOUND, ids=lambda value: type(value).__name__)
def test_what_is_unsound_is_found(executor: BaseExecutor, names: str) -> None:
    with pytest.raises((JobError, RuntimeError), match=names):
        examine(executor)


@pytest.mark.parametrize(
    ("executor", "passed"),
    [
        (AerExecutor(threads=1), ["sampler", "estimator"]),
        (PlainExecutor(), ["sampler", "estimator"]),
        (Twin(), ["sampler", "estimator", "expectation_values"]),
        (ScriptedExecutor(), ["sampler"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_is_sound_passes_whatever_it_is_drawn(executor: BaseExecutor, passed: list[str]) -> None:
    for seed in range(5):
        assert examine(executor, seed=seed) == passed


def test_the_simulator_itself_is_asked() -> None:
    executor = PlainExecutor()
    examine(executor)
    widest = max(executor.tasks, key=lambda task: task.circuit.num_qubits)
    assert widest.circuit.num_qubits > 2
    assert widest.parameter_values.shape == (2, 1)
    measured = [instruction.qubits[0] for instruction in widest.circuit if instruction.operation.name == "measure"]
    assert len(set(measured)) < len(measured), "one is measured, and used again"


def test_the_executor_of_the_docs_passes() -> None:
    [code, *_] = re.findall(r"```python\n(.*?)```", DOCS.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102 - what readers are told to write
    assert examine(names["PlainExecutor"]()) == ["sampler", "estimator"]


@pytest.mark.slow
@pytest.mark.parametrize("executor", [RaisingExecutor(), LyingExecutor()], ids=lambda value: type(value).__name__)
async def test_a_server_does_not_start_with_it(executor: BaseExecutor, tmp_path: Path) -> None:
    app = create_app({"unsound": executor}, Settings(data_dir=tmp_path))
    with pytest.raises(StartupError, match=r"Executor 'unsound' failed its self-test"):
        async with asyncio.timeout(120), app.router.lifespan_context(app):
            pytest.fail("it started")
