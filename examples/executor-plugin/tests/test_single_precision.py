"""The executor does what every executor must."""

import pytest
from single_precision import SinglePrecisionExecutor

from qiskit_runtime_server.executors import BaseExecutor
from qiskit_runtime_server.testing import ExecutorConformance


class TestSinglePrecision(ExecutorConformance):
    """All tests are inherited."""

    @pytest.fixture
    def executor(self) -> BaseExecutor:
        """Return an executor for 21 qubits."""
        return SinglePrecisionExecutor(memory_bytes=2**24)
