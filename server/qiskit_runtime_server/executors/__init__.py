"""Simulators: the contract, ours, and how others plug theirs in."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qiskit_runtime_server.executors.aer import AerExecutor
    from qiskit_runtime_server.executors.base import BaseExecutor, ExpectationTask, SampleTask

__all__ = ["AerExecutor", "BaseExecutor", "ExpectationTask", "SampleTask"]

_MODULES = {"AerExecutor": "aer", "BaseExecutor": "base", "ExpectationTask": "base", "SampleTask": "base"}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    """Import public names when they are asked for: the registry must not import a simulator that is not used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
