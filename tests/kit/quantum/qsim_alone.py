"""The executor `qsim` for tests: where its library is, and with qsim for small circuits too."""

import os
import platform
from importlib.util import find_spec
from typing import Final

import pytest

from qiskit_runtime_server.executors.qsim.executor import QsimExecutor
from qiskit_runtime_server.simulation.contract import Offer

PUBLISHED: Final = platform.machine() == "x86_64"
TESTED: Final = PUBLISHED and (find_spec("qsimcirq") is not None or os.environ.get("CI") == "true")
"""Whether tests of it run: in CI they fail where the package is missing."""

needs_qsim: Final = pytest.mark.skipif(
    not TESTED, reason='needs qsimcirq: pip install ".[qsim]"' if PUBLISHED else "qsimcirq is for x86_64 only"
)


class QsimAlone(QsimExecutor):
    """Has qsim take the shots of small circuits too, as of large ones, wherever it can."""

    _least_qubits = 1

    def _prefers(self, own: Offer, other: Offer) -> bool:
        return True
