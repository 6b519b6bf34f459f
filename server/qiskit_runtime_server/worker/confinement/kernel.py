"""Takes from a worker process what no simulation needs, before it decodes anything that a client sent (Linux).

Circuits are hostile input. Should a mistake in a decoder let a client's code run in a worker, that code can compute,
and answer on the worker's one socket, and little else:

- **Landlock** (https://docs.kernel.org/userspace-api/landlock.html): files can be read where Python, its packages and
  the system's libraries are, and written in a folder of the worker's own. Data, tokens, other processes and the network
  are out of reach.
- **seccomp** (https://man7.org/linux/man-pages/man2/seccomp.2.html): no sockets, no new processes or programs, no
  signals to others, by whatever way, no tracing; no limits and priorities of others; no characters typed into the
  terminal that the server was started from; none of what only administrators do. Landlock says nothing of modes,
  owners, times and attributes of files, so that these calls are denied, too.
- **no_new_privs**, no core dumps, and a bound of the files that it writes. The server's secrets are not in its
  environment (`worker.fork_server`).

Landlock comes first, as it holds for the thread that asks for it and for those that it starts: libraries start theirs
when they are imported. What a kernel does not have is left out, and told.
"""

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from collections.abc import Iterable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

WHOLE: Final = ("Landlock", "seccomp")
"""What a kernel can do that has everything."""

_PR_SET_NO_NEW_PRIVS: Final = 38
_MOST_WRITTEN: Final = 1 << 30

# include/uapi/linux/landlock.h; numbers of system calls are the same on all architectures here.
_CREATE_RULESET: Final = 444
_ADD_RULE: Final = 445
_RESTRICT_SELF: Final = 446
_VERSION: Final = 1
_PATH_BENEATH: Final = 1
_WRITE_FILE: Final = 1 << 1
_READ_FILE: Final = 1 << 2
_READ_DIR: Final = 1 << 3
_TRUNCATE: Final = 1 << 14
_IOCTL: Final = 1 << 15
_READ: Final = _READ_FILE | _READ_DIR
# All rights to files, by the version of the interface that brought them.
_FILE_RIGHTS: Final = {1: (1 << 13) - 1, 2: 1 << 13, 3: _TRUNCATE, 5: _IOCTL}
_NETWORK: Final = 0b11
_SCOPES: Final = 0b11
_NETWORK_VERSION: Final = 4
_SCOPES_VERSION: Final = 6

_SYSTEM: Final = (
    "/usr", "/lib", "/lib64", "/opt", "/nix/store", "/etc/ld.so.cache", "/etc/localtime", "/etc/nsswitch.conf",
    "/proc/self", "/proc/cpuinfo", "/proc/meminfo", "/proc/stat", "/proc/version", "/proc/sys",
    "/proc/driver", "/proc/devices", "/sys/devices", "/sys/fs/cgroup", "/sys/module", "/sys/class", "/sys/bus",
    "/sys/kernel/mm",
)  # fmt: skip
_DEVICES: Final = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom")

# include/uapi/linux/seccomp.h, filter.h and audit.h
_SECCOMP: Final = {"x86_64": 317, "aarch64": 277}
_AUDIT: Final = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_SET_FILTER: Final = 1
_ALL_THREADS: Final = 1
_ALLOW: Final = 0x7FFF0000
_ERROR: Final = 0x00050000
_LOAD: Final = 0x20
_EQUAL: Final = 0x15
_AT_LEAST: Final = 0x35
_ANY_BIT: Final = 0x45
_RETURN: Final = 0x06
_NUMBER: Final = 0
_ARCHITECTURE: Final = 4
_FIRST_ARGUMENT: Final = 16
_SECOND_ARGUMENT: Final = 24
_X32: Final = 0x40000000
_CLONE_THREAD: Final = 0x10000
_CLONE3: Final = 435

# Numbers on x86_64 and on aarch64; None where there is no such call.
_DENIED: Final[dict[str, tuple[int | None, int | None]]] = {
    "socket": (41, 198), "connect": (42, 203), "bind": (49, 200), "listen": (50, 201), "accept": (43, 202),
    "accept4": (288, 242), "execve": (59, 221), "execveat": (322, 281), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "tkill": (200, 130),
    "rt_sigqueueinfo": (129, 138), "rt_tgsigqueueinfo": (297, 240), "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424), "pidfd_getfd": (438, 438), "mount": (165, 40), "umount2": (166, 39),
    "pivot_root": (155, 41), "chroot": (161, 51), "unshare": (272, 97), "setns": (308, 268),
    "init_module": (175, 105), "finit_module": (313, 273), "delete_module": (176, 106), "kexec_load": (246, 104),
    "kexec_file_load": (320, 294), "bpf": (321, 280), "perf_event_open": (298, 241), "userfaultfd": (323, 282),
    "keyctl": (250, 219), "add_key": (248, 217), "request_key": (249, 218), "open_by_handle_at": (304, 265),
    "io_uring_setup": (425, 425), "reboot": (169, 142), "swapon": (167, 224), "move_mount": (429, 429),
    "open_tree": (428, 428), "fsopen": (430, 430), "fsmount": (432, 432),
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "setxattr": (188, 5), "lsetxattr": (189, 6),
    "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15), "fremovexattr": (199, 16),
    "setxattrat": (463, 463), "removexattrat": (466, 466), "file_setattr": (469, 469), "setpriority": (141, 140),
    "ioprio_set": (251, 30), "sched_setparam": (142, 118), "sched_setscheduler": (144, 119),
    "sched_setattr": (314, 274), "shmget": (29, 194), "shmat": (30, 196), "shmctl": (31, 195), "semget": (64, 190),
    "semop": (65, 193), "semtimedop": (220, 192), "semctl": (66, 191), "msgget": (68, 186), "msgsnd": (69, 189),
    "msgrcv": (70, 188), "msgctl": (71, 187), "mq_open": (240, 180), "mq_unlink": (241, 181),
}  # fmt: skip
_FORKS: Final = {"x86_64": (57, 58), "aarch64": ()}
_CLONE: Final = {"x86_64": 56, "aarch64": 220}
_TO_ITSELF_ONLY: Final = {"x86_64": (62, 234), "aarch64": (129, 131)}
"""kill and tgkill, whose first argument is a process."""
_OF_ITSELF_ONLY: Final = {"x86_64": 302, "aarch64": 261}
"""prlimit64, whose first argument is a process, or 0 for the caller."""
_DENIED_COMMANDS: Final = {
    # fcntl: F_SETOWN, F_SETSIG and F_SETOWN_EX have the kernel signal another process.
    ("x86_64", 72): (8, 10, 15), ("aarch64", 25): (8, 10, 15),
    # ioctl: FIOSETOWN and SIOCSPGRP do that, too; TIOCSTI and TIOCLINUX type into the terminal.
    ("x86_64", 16): (0x8901, 0x8902, 0x5412, 0x541C), ("aarch64", 29): (0x8901, 0x8902, 0x5412, 0x541C),
}  # fmt: skip
"""What calls may not have as their second argument."""


class _RefusedError(OSError):
    """The kernel does not have it."""


def confine_files(folder: Path, readable: Iterable[Path]) -> bool:
    """Let this process, and threads that it starts from now on, write to one folder and read where code is.

    Args:
        folder: Exists.
        readable: What may be read beside Python's own files, the system's, and devices.

    Returns:
        Whether the kernel can do that.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_MOST_WRITTEN, _MOST_WRITTEN))
    if sys.platform != "linux":
        return False
    _library().prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    try:
        version = _call(_CREATE_RULESET, None, 0, _VERSION)
        rights = sum(more for since, more in _FILE_RIGHTS.items() if since <= version)
        attributes = [rights, *[_NETWORK] * (version >= _NETWORK_VERSION), *[_SCOPES] * (version >= _SCOPES_VERSION)]
        ruleset = _call(_CREATE_RULESET, struct.pack(f"{len(attributes)}Q", *attributes), 8 * len(attributes), 0)
    except _RefusedError:
        return False
    try:
        for path in {*map(Path, _SYSTEM), *code_folders(), *readable}:
            _allow(ruleset, path, _READ & rights)
        for path in (*map(Path, _DEVICES), *Path("/dev").glob("nvidia*"), *Path("/dev").glob("dri")):
            _allow(ruleset, path, (_READ | _WRITE_FILE | _TRUNCATE | _IOCTL) & rights)
        _allow(ruleset, folder, rights)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return True


def confine_calls() -> bool:
    """Deny all threads of this process the calls above, for good; return whether the kernel can do that."""
    machine = platform.machine()
    if sys.platform != "linux" or machine not in _SECCOMP:
        return False
    program = b"".join(struct.pack("HBBI", *instruction) for instruction in _filter(machine, os.getpid()))
    held = ctypes.create_string_buffer(program)
    description = struct.pack("HxxxxxxQ", len(program) // 8, ctypes.addressof(held))
    try:
        _call(_SECCOMP[machine], _SET_FILTER, _ALL_THREADS, description)
    except _RefusedError:
        return False
    return True


def code_folders() -> Iterator[Path]:
    """Iterate over where Python finds modules, now and later.

    `python -m` looks in the working folder first, which may be anybody's home: that counts only where it is named.
    """
    named = os.environ.get("PYTHONPATH", "").split(":")
    for text in (sys.prefix, sys.base_prefix, sys.exec_prefix, *sys.path):
        if text and (text in named or Path(text) != Path.cwd()):
            yield Path(text)
    for name in ("LD_LIBRARY_PATH", "CUDA_PATH", "CUDA_HOME"):
        yield from (Path(text) for text in os.environ.get(name, "").split(":") if text)
    # An editable installation need not be on the path.
    yield Path(__file__).parents[3]


def folders_of(module: str) -> Iterator[Path]:
    """Iterate over the folders of a package, which is not imported for that."""
    spec = find_spec(module.partition(".")[0])
    if spec is not None:
        yield from map(Path, spec.submodule_search_locations or ([spec.origin] if spec.origin else []))


def _allow(ruleset: int, path: Path, rights: int) -> None:
    try:
        descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # it is not there
    try:
        if not path.is_dir():
            rights &= _READ_FILE | _WRITE_FILE | _TRUNCATE | _IOCTL
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", rights, descriptor), 0)
    finally:
        os.close(descriptor)


def _filter(machine: str, pid: int) -> list[tuple[int, int, int, int]]:
    """Return the filter: instructions of code, jumps if true and if false, and an operand.

    Each rule falls through to the next one, so that no jump is longer than the rule itself.
    """
    column = 0 if machine == "x86_64" else 1
    denied = [number for numbers in _DENIED.values() if (number := numbers[column]) is not None]
    refused = (_RETURN, 0, 0, _ERROR | errno.EPERM)
    lines = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, _AUDIT[machine]), refused, (_LOAD, 0, 0, _NUMBER)]
    if machine == "x86_64":
        lines += [(_AT_LEAST, 0, 1, _X32), refused]
    for number in (*denied, *_FORKS[machine]):
        lines += [(_EQUAL, 0, 1, number), refused]
    # The C library then makes threads by `clone`, whose flags can be looked at.
    lines += [(_EQUAL, 0, 1, _CLONE3), (_RETURN, 0, 0, _ERROR | errno.ENOSYS)]
    lines += [(_EQUAL, 0, 4, _CLONE[machine]), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_ANY_BIT, 1, 0, _CLONE_THREAD), refused]
    lines += [(_RETURN, 0, 0, _ALLOW)]
    for (where, number), commands in _DENIED_COMMANDS.items():
        if where == machine:
            refuse = [line for command in commands for line in ((_EQUAL, 0, 1, command), refused)]
            lines += [(_EQUAL, 0, len(refuse) + 2, number), (_LOAD, 0, 0, _SECOND_ARGUMENT), *refuse]
            lines += [(_RETURN, 0, 0, _ALLOW)]
    lines += [(_EQUAL, 0, 5, _OF_ITSELF_ONLY[machine]), (_LOAD, 0, 0, _FIRST_ARGUMENT)]
    lines += [(_EQUAL, 2, 0, 0), (_EQUAL, 1, 0, pid), refused, (_RETURN, 0, 0, _ALLOW)]
    for number in _TO_ITSELF_ONLY[machine]:
        lines += [(_EQUAL, 0, 4, number), (_LOAD, 0, 0, _FIRST_ARGUMENT), (_EQUAL, 1, 0, pid), refused]
        lines += [(_RETURN, 0, 0, _ALLOW)]
    return [*lines, (_RETURN, 0, 0, _ALLOW)]


def _library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _call(number: int, *arguments: int | bytes | None) -> int:
    """Make a system call.

    Raises:
        _RefusedError: If it is refused.
    """
    given = [ctypes.c_long(argument) if isinstance(argument, int) else argument for argument in arguments]
    result = int(_library().syscall(ctypes.c_long(number), *given))
    if result < 0:
        code = ctypes.get_errno()
        raise _RefusedError(code, os.strerror(code))
    return result
