"""Executors are found by entry points, and a broken one says why."""

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from qiskit_runtime_server.errors import StartupError, UnknownExecutorError
from qiskit_runtime_server.executors import registry
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.messages.messages import EXECUTORS


def test_the_aer_executor_is_installed() -> None:
    assert "aer" in registry.installed()
    assert registry.load("aer") is AerExecutor


def test_an_unknown_executor_is_named_together_with_those_there_are() -> None:
    with pytest.raises(UnknownExecutorError, match=r"'warp'.*aer"):
        registry.load("warp")


def pretend(monkeypatch: pytest.MonkeyPatch, **values: str) -> None:
    entries = EntryPoints(EntryPoint(name, value, EXECUTORS) for name, value in values.items())
    monkeypatch.setattr(registry, "entries", lambda: entries)


def test_only_the_executor_that_is_asked_for_is_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, good="qiskit_runtime_server.executors.aer:AerExecutor", bad="no_such_package:Executor")
    assert registry.installed() == ["bad", "good"]
    assert registry.load("good") is AerExecutor


def test_a_plug_in_that_cannot_be_imported_fails_with_its_cause(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, bad="no_such_package:Executor")
    with pytest.raises(StartupError, match=r"'bad'.*no_such_package") as failure:
        registry.load("bad")
    assert isinstance(failure.value.__cause__, ModuleNotFoundError)


def test_a_plug_in_must_be_an_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, bad="collections:OrderedDict")
    with pytest.raises(StartupError, match="BaseExecutor"):
        registry.load("bad")


def test_a_plug_in_that_runs_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, bad="qiskit_runtime_server.executors.base:BaseExecutor")
    with pytest.raises(StartupError, match=r"'bad'.*none of sample, execute_sampler, execute_estimator"):
        registry.load("bad")


def test_two_plug_ins_of_one_name_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entries = EntryPoints(
        EntryPoint("twin", value, EXECUTORS)
        for value in ("qiskit_runtime_server.executors.aer:AerExecutor", "elsewhere:Executor")
    )
    monkeypatch.setattr(registry, "entries", lambda: entries)
    with pytest.raises(StartupError, match="elsewhere"):
        registry.load("twin")
