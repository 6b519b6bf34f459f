"""What multiprocessing's fork server has no public name for; the only module of `worker` with a private name.

The fork server ends once nobody holds the other end of its pipe "alive" any more. Python gives that end to each process
that it forks too, so that a worker in the middle of a job would keep alive the very process whose end is to be its own:

    server killed, pipe held by the worker    fork server stays, and the worker computes until its job is over
    server killed, pipe held by the server    fork server ends, and the kernel kills the worker with it
"""

import os
from multiprocessing import forkserver
from typing import Any


def let_fork_server_end() -> None:
    """Close this process's end of the pipe; nothing happens in a process that was not forked by a fork server."""
    server: Any = forkserver._forkserver
    if server._forkserver_alive_fd is not None:
        os.close(server._forkserver_alive_fd)
        server._forkserver_alive_fd = None
