"""Devices of the server that is shared, for the account of each module of tests."""

import pytest
from qiskit_ibm_runtime import IBMBackend, QiskitRuntimeService


@pytest.fixture(scope="module")
def manila(service: QiskitRuntimeService) -> IBMBackend:
    """Return a device as the `service` of the module has it."""
    return service.backend("fake_manila@aer")
