"""Makes a worker of a server that root started a process of a user that has nothing, without root's rights.

It keeps one of them, to read files of others, as Python and its packages may lie where only root can read
(https://man7.org/linux/man-pages/man7/capabilities.7.html); what it may read is Landlock's business. Where root has not
got that one, as in containers of Docker, it keeps the one to read and write, which Landlock bounds, too. A worker of
another user has no right that it could lose.
"""

import ctypes
import os
import struct
import sys
from contextlib import suppress
from pathlib import Path
from typing import Final

_NOBODY: Final = 65534
_PR_SET_KEEPCAPS: Final = 8
# include/uapi/linux/capability.h: version and process; then, twice, what it has, may have, and hands on.
_HEADER: Final = struct.pack("Ii", 0x20080522, 0)
_SETS: Final = "6I"
_CHOWN: Final = 1 << 0
_DAC_OVERRIDE: Final = 1 << 1
_DAC_READ_SEARCH: Final = 1 << 2
_SETGID: Final = 1 << 6
_SETUID: Final = 1 << 7
_NEEDED: Final = _CHOWN | _SETGID | _SETUID


def leave_root(folder: Path) -> bool:
    """Make this process, which has one thread yet, that of nobody, and a folder nobody's.

    Returns:
        Whether that was needed and done. Where root may not change users, or can read files of others by no right, or a
        user namespace has no such user, things stay as they are.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    library = ctypes.CDLL(None, use_errno=True)
    sets = ctypes.create_string_buffer(struct.calcsize(_SETS))
    library.capget(_HEADER, sets)
    has = struct.unpack(_SETS, sets.raw)[0]
    kept = next((right for right in (_DAC_READ_SEARCH, _DAC_OVERRIDE) if has & right), 0)
    if not kept or has & _NEEDED != _NEEDED:
        return False
    with suppress(OSError):
        os.chown(folder, _NOBODY, _NOBODY)
        os.setgroups([])
        library.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        if library.capset(_HEADER, struct.pack(_SETS, kept, kept, 0, 0, 0, 0)) < 0:
            raise SystemExit(f"A worker could not give up root's rights: {os.strerror(ctypes.get_errno())}")
        return True
    return False
