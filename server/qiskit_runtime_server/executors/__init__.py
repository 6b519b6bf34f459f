"""Simulators: the contract, ours, and how others plug theirs in. A plug-in needs no other module than this one."""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from qiskit_runtime_server.errors import (
        CircuitTooLargeError,
        InvalidInputError,
        JobError,
        OutOfMemoryError,
        UnsupportedOptionError,
    )
    from qiskit_runtime_server.executors.aer import AerExecutor
    from qiskit_runtime_server.executors.base import BaseExecutor
    from qiskit_runtime_server.executors.custatevec.executor import CuStateVecExecutor
    from qiskit_runtime_server.executors.qsim.executor import QsimExecutor
    from qiskit_runtime_server.messages.messages import Capabilities
    from qiskit_runtime_server.simulation.contract import BitTensor, ExpectationTask, SampleTask

__all__ = [
    "AerExecutor",
    "BaseExecutor",
    "BitTensor",
    "Capabilities",
    "CircuitTooLargeError",
    "CuStateVecExecutor",
    "ExpectationTask",
    "InvalidInputError",
    "JobError",
    "OutOfMemoryError",
    "QsimExecutor",
    "SampleTask",
    "UnsupportedOptionError",
]

_MODULES: Final = {
    "AerExecutor": "executors.aer",
    "BaseExecutor": "executors.base",
    "BitTensor": "simulation.contract",
    "Capabilities": "messages.messages",
    "CircuitTooLargeError": "errors",
    "CuStateVecExecutor": "executors.custatevec.executor",
    "ExpectationTask": "simulation.contract",
    "InvalidInputError": "errors",
    "JobError": "errors",
    "OutOfMemoryError": "errors",
    "QsimExecutor": "executors.qsim.executor",
    "SampleTask": "simulation.contract",
    "UnsupportedOptionError": "errors",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - any public name
    """Import public names when they are asked for: the registry must not import a simulator that is not used."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"qiskit_runtime_server.{_MODULES[name]}"), name)
