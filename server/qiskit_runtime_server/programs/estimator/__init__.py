"""The program `estimator`."""

from qiskit_runtime_server.programs.estimator.program import execute, num_configurations

__all__ = ["execute", "num_configurations"]
