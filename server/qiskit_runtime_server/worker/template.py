"""What workers have in common: imported once, by multiprocessing's fork server, from which each worker is forked.

Qiskit, Aer and the client library take seconds of a core to import. A fork of a process that has done so takes
milliseconds and shares its memory. It is clean: no job ever ran here, nothing that a client sent is decoded here, and
nothing here knows what the server knows. (https://docs.python.org/3/library/multiprocessing.html, "forkserver")
"""

import gc
import os
import signal
from importlib import import_module
from typing import Final

from threadpoolctl import ThreadpoolController

_MODULES: Final = (
    "qiskit_runtime_server.worker.child",
    "qiskit_runtime_server.worker.run",
    "qiskit_runtime_server.executors.ready",
    "qiskit_runtime_server.executors.aer.executor",
)


def _prepare() -> ThreadpoolController:
    # Ctrl-C reaches the whole process group, and the server decides what becomes of its jobs. Workers inherit this.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # A pool of threads does not survive a fork, so that NumPy makes none; workers set what they are to have.
    os.environ.update(OPENBLAS_NUM_THREADS="1")
    # A tenth of the time of the imports would go into looking for garbage, of which there is none.
    gc.disable()
    for name in _MODULES:
        import_module(name)
    from qiskit_runtime_server.executors import registry  # noqa: PLC0415 - it brings NumPy

    registry.entries()
    # What has been imported stays: looking through it again costs some jobs 80 ms, and to write to it is to copy it.
    # What of it is garbage stays, too: to find that 1,500 of 380,000 objects are takes 0.2 s, at every start.
    gc.freeze()
    gc.enable()
    return ThreadpoolController()


LIBRARIES: Final = _prepare()
"""Those that have threads of their own. By itself NumPy takes all cores of the machine for a product of large matrices,
whatever the container's share is."""
