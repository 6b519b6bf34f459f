"""The template of an executor starts before the executor itself, and does not outlive it."""

import subprocess
import sys
from pathlib import Path

import pytest

import kit
from kit.kubernetes.client import eventually
from kit.server.cluster_processes import is_alive, templates_of, wait_until

_HEAVY = {"asyncio", "logging", "ssl"}


def _huge_pages() -> str:
    """Return to whom the kernel gives huge pages."""
    file = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    return file.read_text() if file.exists() else ""


def test_the_template_starts_without_settings_and_ends_with_a_command_that_fails() -> None:
    program = "from qiskit_runtime_server.entry_point import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "executor", "aer", "--port", "70000"],
        env={
            **kit.environment(),
            "QRS_EXECUTOR_KEY": "a secret",
            "qrs_slots": "1",
            "OTHER": "1",
            "OMP_PROC_BIND": "true",
            "QISKIT_IBM_TOKEN": "a secret",
            "PGPASSWORD": "a secret",
            "A_DATABASE": "postgresql://user:secret@host/name",
            "GLIBC_TUNABLES": "glibc.malloc.tcache_count=7",
        },
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        (template,) = eventually(lambda: templates_of(command.pid), 20)
        # The C library may have put ends where its tunables had colons.
        lines = Path(f"/proc/{template}/environ").read_text().replace(":glibc", "\0glibc").split("\0")
        assert {"OTHER=1", "GLIBC_TUNABLES=glibc.malloc.tcache_count=7", "glibc.malloc.hugetlb=1"} <= set(lines)
        assert [line for line in lines if line.upper().startswith(("QRS_", "OMP_PROC_BIND")) or "secret" in line] == []
        # It reads its settings after the template has begun, and they are all there.
        assert "QRS_PORT" in command.communicate()[1]
    assert command.returncode == 1
    wait_until(lambda: not is_alive(template), seconds=1)


_TAKES_MEMORY = """
import ctypes
from qiskit_runtime_server.worker.fork_server import FORKS, start_template

def show_flags():
    allocate = ctypes.CDLL(None).malloc
    allocate.restype = ctypes.c_size_t
    memory, first, last = allocate(ctypes.c_size_t(1 << 26)), 0, 0
    for line in open("/proc/self/smaps"):
        head, *others = line.split()
        if not head.endswith(":"):
            first, last = (int(end, 16) for end in head.split("-"))
        elif head == "VmFlags:" and first <= memory < last:
            print(*others)

if __name__ == "__main__":
    FORKS.set_forkserver_preload([])
    start_template()
    process = FORKS.Process(target=show_flags)
    process.start()
    process.join()
"""


@pytest.mark.skipif("[madvise]" not in _huge_pages(), reason="the kernel gives huge pages to all, or to none")
def test_large_memory_of_workers_is_in_huge_pages(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(_TAKES_MEMORY)
    command = [sys.executable, str(tmp_path / "script.py")]
    assert b"hg" in subprocess.run(command, env=kit.environment(), stdout=subprocess.PIPE, check=True).stdout.split()


_TRIMS = """
import ctypes
from qiskit_runtime_server.worker.child import _trim

allocate = ctypes.CDLL(None).malloc
allocate.restype = ctypes.c_size_t
for _ in range(200):
    allocate(ctypes.c_size_t(1 << 16))
_trim()
heap = False
for line in open("/proc/self/smaps"):
    heap = line.rstrip().endswith("[heap]") if "-" in line.split()[0] else heap
    if heap and line.startswith("VmFlags:"):
        print("nh" in line.split())
"""


@pytest.mark.skipif("[madvise]" not in _huge_pages(), reason="the kernel gives huge pages to all, or to none")
def test_an_idle_worker_leaves_no_huge_pages_to_be_made_of_what_it_has_freed() -> None:
    environment = {**kit.environment(), "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    command = [sys.executable, "-c", _TRIMS]
    shown = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True).stdout.split()
    assert set(shown) == {b"True"}


def test_nothing_heavy_is_imported_before_the_template_starts() -> None:
    program = "import qiskit_runtime_server.worker.fork_server, sys; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {program}"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    packages = {name.partition(".")[0] for name in loaded}
    assert packages <= {"qiskit_runtime_server", "__main__", "__mp_main__", *sys.stdlib_module_names}
    assert not packages & _HEAVY


_WHAT_A_WORKER_ADDS = """
import sys
import qiskit_runtime_server.worker.template
before = set(sys.modules)
import qiskit_runtime_server.worker.child
print(*set(sys.modules) - before)
"""


def test_the_template_has_all_that_a_worker_begins_with() -> None:
    command = [sys.executable, "-c", _WHAT_A_WORKER_ADDS]
    assert subprocess.run(command, env=kit.environment(), stdout=subprocess.PIPE, check=True).stdout.split() == []


_STARTS_AGAIN = """
import os, signal
from multiprocessing import forkserver
from qiskit_runtime_server.worker.fork_server import FORKS, start

def show_secrets():
    print("QRS_LOAD_KEY" in os.environ, "OTHER" in os.environ, flush=True)

if __name__ == "__main__":
    FORKS.set_forkserver_preload([])
    for _ in range(2):
        process = FORKS.Process(target=show_secrets)
        start(process)
        process.join()
        template = forkserver._forkserver._forkserver_pid
        os.kill(template, signal.SIGKILL)
        os.waitid(os.P_PID, template, os.WEXITED | os.WNOWAIT)
    print("QRS_LOAD_KEY" in os.environ)
"""


def test_a_template_that_the_first_worker_starts_or_that_starts_again_has_no_settings(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(_STARTS_AGAIN)
    environment = {**kit.environment(), "QRS_LOAD_KEY": "a key", "OTHER": "1"}
    command = [sys.executable, str(tmp_path / "script.py")]
    shown = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
    assert shown == ["False True", "False True", "True"]


@pytest.mark.parametrize("bytes_of_path", [70, 80, 90, 200])
def test_a_template_starts_where_the_temporary_folder_has_a_long_name(tmp_path: Path, bytes_of_path: int) -> None:
    (tmp_path / "script.py").write_text(_STARTS_AGAIN)
    temporary = tmp_path / ("x" * max(1, bytes_of_path - len(str(tmp_path)) - 1))
    temporary.mkdir()
    command = [sys.executable, str(tmp_path / "script.py")]
    subprocess.run(command, env={**kit.environment(), "TMPDIR": str(temporary)}, check=True)
    assert list(temporary.iterdir()) == []
