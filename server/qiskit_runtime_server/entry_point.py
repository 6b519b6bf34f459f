"""The first instructions of the command `qiskit-runtime-server`; it imports nothing heavy before SIGTERM is heard.

The kernel does not let a signal without a handler end process 1, which a command is in its container: a SIGTERM that
came while it was importing was lost, and the pod stayed until its grace period was over.
"""

import os
import signal
import sys
from typing import Final

_FIRST_PROCESS: Final = 1
_EXECUTOR: Final = "executor"


def main() -> None:
    """Run the command line. Until a role has handlers of its own, SIGTERM ends it at once, as any other process."""
    if os.getpid() == _FIRST_PROCESS:
        signal.signal(signal.SIGTERM, lambda number, _: os._exit(128 + number))
    if sys.argv[1:2] == [_EXECUTOR]:
        # It imports for longer than this process, and side by side with it.
        from qiskit_runtime_server.worker.fork_server import start_template  # noqa: PLC0415 - others need none

        start_template()
    from qiskit_runtime_server.__main__ import main as run  # noqa: PLC0415 - see above

    run()
