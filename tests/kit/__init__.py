"""What tests are made of: real processes, control planes, exact physics, and faults.

Whatever imports it has the folder `tests` on its path: `PYTHONPATH=tests python -m kit.kubernetes.control_plane`.
"""

import fcntl
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TESTS = Path(__file__).parents[1]
ROOT = TESTS.parent


def trusted(url: str) -> ssl.SSLContext | bool:
    """Return what httpx is to verify a server by.

    By default it reads all certificate authorities for each client and each call without one, for plain HTTP too, which
    takes 20 ms of a core.
    """
    return True if url.startswith("https:") else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def environment(*folders: Path) -> dict[str, str]:
    """Return the variables with which a process imports this package, and what lies in the given folders."""
    path = (*map(str, (*folders, TESTS)), *filter(None, [os.environ.get("PYTHONPATH")]))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process has locked a file, which is made if it is not there, and lock it meanwhile."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
