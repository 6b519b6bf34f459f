"""The first instructions of the command `qiskit-runtime-operator`; it imports nothing heavy before SIGTERM is heard.

The kernel does not let a signal without a handler end process 1, which a command is in its container: a SIGTERM that
came while it was importing was lost, and the pod stayed until its grace period was over.
"""

import os
import signal
import sys
from typing import Final

_FIRST_PROCESS: Final = 1
# What the extra `operator` brings, as it is imported; a test compares it with pyproject.toml.
_EXTRA: Final = frozenset({"aiohttp", "cryptography", "kopf", "kubernetes", "prometheus_client", "yaml"})


def main() -> None:
    """Run the command line. Until a role has handlers of its own, SIGTERM ends it at once, as any other process."""
    if os.getpid() == _FIRST_PROCESS:
        signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    try:
        from qiskit_runtime_operator.__main__ import main as run  # noqa: PLC0415 - see above
    except ModuleNotFoundError as error:
        sys.exit(f"error: {_explained(error)}")
    run()


def _explained(error: ModuleNotFoundError) -> str:
    """Return what to install for a module that is missing; the error itself is raised if it is none of the extra's."""
    module = (error.name or "").partition(".")[0]
    if module not in _EXTRA:
        raise error
    return (
        f"The package of the module {module!r} is not installed, which the operator needs: "
        'pip install "qiskit-runtime-server[operator]", or, in a checkout, pip install ".[operator]".'
    )
