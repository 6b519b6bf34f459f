"""Makes a worker of a server that root started a process of a user that has nothing, without root's rights.

It keeps one of them, to read files of others, as Python and its packages may lie where only root can read
(https://man7.org/linux/man-pages/man7/capabilities.7.html); what it may read is Landlock's business. A worker of
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
# include/uapi/linux/capability.h: version and process; then what it has, may have, and hands on.
_HEADER: Final = struct.pack("Ii", 0x20080522, 0)
_CAP_DAC_READ_SEARCH: Final = 1 << 2
_CAPABILITIES: Final = struct.pack("6I", _CAP_DAC_READ_SEARCH, _CAP_DAC_READ_SEARCH, 0, 0, 0, 0)


def leave_root(folder: Path) -> bool:
    """Make this process, which has one thread yet, that of nobody, and a folder nobody's.

    Returns:
        Whether that was needed and done. A user namespace that has no such user leaves things as they are.
    """
    if sys.platform != "linux" or os.geteuid() != 0:
        return False
    library = ctypes.CDLL(None, use_errno=True)
    with suppress(OSError):
        os.chown(folder, _NOBODY, _NOBODY)
        os.setgroups([])
        library.prctl(_PR_SET_KEEPCAPS, 1, 0, 0, 0)
        os.setresgid(_NOBODY, _NOBODY, _NOBODY)
        os.setresuid(_NOBODY, _NOBODY, _NOBODY)
        if library.capset(_HEADER, _CAPABILITIES) < 0:
            raise SystemExit(f"A worker could not give up root's rights: {os.strerror(ctypes.get_errno())}")
        return True
    return False
