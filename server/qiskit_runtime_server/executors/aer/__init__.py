"""The executor `aer`: simulates circuits on processors, with qiskit-aer where that is right and fast."""

from qiskit_runtime_server.executors.aer.executor import AerExecutor

__all__ = ["AerExecutor"]
