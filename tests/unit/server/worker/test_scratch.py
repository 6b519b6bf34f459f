"""What a server that was killed has left in the temporary folder is removed by the next one, and nothing else."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest

import kit
from kit.kubernetes.client import eventually
from qiskit_runtime_server.worker.confinement import scratch

LOCK = ".qiskit-runtime-server"
MAKES_A_HOME = """
from qiskit_runtime_server.worker.confinement.scratch import home, new_scratch
(new_scratch() / "what a job had").write_text("secret")
print(home(), flush=True)
input()
"""
KEEPS_A_HOME = """
import sys
from pathlib import Path
from qiskit_runtime_server.worker.confinement.scratch import keep
keep(Path(sys.argv[1]))
print("kept", flush=True)
input()
"""


@contextmanager
def running(temporary: Path, program: str, *arguments: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """Run a program whose temporary folder is `temporary`, until it is killed; yield it and the line that it prints."""
    environment = {**kit.environment(), "TMPDIR": str(temporary)}
    command = [sys.executable, "-c", program, *arguments]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline().strip()
        finally:
            process.kill()


def abandoned(temporary: Path, name: str = "qrs-abandoned") -> Path:
    folder = temporary / name
    folder.mkdir()
    (folder / LOCK).touch()
    (folder / "worker-1").mkdir()
    (folder / "worker-1" / "file").write_text("x")
    return folder


def test_a_home_is_swept_once_no_process_keeps_it_and_not_before(tmp_path: Path) -> None:
    with running(tmp_path, MAKES_A_HOME) as (server, line):
        home = Path(line)
        assert home.parent == tmp_path
        assert home.stat().st_mode & 0o777 == 0o700
        with running(tmp_path, KEEPS_A_HOME, line) as (_, kept):
            assert kept == "kept"
            scratch.sweep(tmp_path)
            assert [path.read_text() for path in home.glob("worker-*/*")] == ["secret"]
            server.send_signal(signal.SIGKILL)
            server.wait()
            scratch.sweep(tmp_path)
            assert home.exists()
    scratch.sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_ends_by_itself_leaves_nothing_and_sweeps_what_another_has_left(tmp_path: Path) -> None:
    abandoned(tmp_path)
    with running(tmp_path, MAKES_A_HOME) as (process, home):
        eventually(lambda: list(tmp_path.iterdir()) == [Path(home)])
        process.communicate("\n")
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_home_or_is_reached_by_a_link_is_left_alone(tmp_path: Path) -> None:
    temporary, elsewhere = tmp_path / "temporary", tmp_path / "elsewhere"
    temporary.mkdir()
    elsewhere.mkdir()
    target = abandoned(elsewhere)
    (temporary / "qrs-linked").symlink_to(target)
    (temporary / "qrs-projects").mkdir()
    (temporary / "qrs-projects" / "mine").write_text("mine")
    linked_lock = temporary / "qrs-locked"
    linked_lock.mkdir()
    (linked_lock / LOCK).symlink_to(target / LOCK)
    (linked_lock / "mine").write_text("mine")
    (temporary / "qrs-file").write_text("mine")
    before = sorted(tmp_path.rglob("*"))
    scratch.sweep(temporary)
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to another user")
@pytest.mark.parametrize("whose", ["folder", "lock"])
def test_what_belongs_to_another_user_is_left_alone(tmp_path: Path, whose: str) -> None:
    folder = abandoned(tmp_path)
    os.chown(folder if whose == "folder" else folder / LOCK, 12345, 12345)
    scratch.sweep(tmp_path)
    assert (folder / "worker-1" / "file").exists()


def test_a_home_is_not_swept_while_it_is_being_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    done = Event()

    def go_on_sweeping() -> None:
        while not done.is_set():
            scratch.sweep(tmp_path)

    sweeping = Thread(target=go_on_sweeping)
    sweeping.start()
    try:
        homes = [scratch._new_home() for _ in range(100)]
    finally:
        done.set()
        sweeping.join()
    assert [home for home in homes if not (home / LOCK).exists()] == []


def test_what_is_nested_deeply_or_has_no_rights_is_removed_and_links_are_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("mine")
    folder = tmp_path / "worker"
    folder.mkdir()
    (folder / "link").symlink_to(outside)
    (folder / "folder").symlink_to(tmp_path)
    closed = folder / "closed"
    (closed / "inner").mkdir(parents=True)
    (closed / "inner" / "file").touch()
    closed.chmod(0)
    here = os.open(folder, os.O_RDONLY)
    # By descriptors, as the whole path is longer than any may be.
    for _ in range(1100):
        os.mkdir("d" * 200, dir_fd=here)
        deeper = os.open("d" * 200, os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = deeper
    os.close(here)
    scratch.remove(folder)
    assert list(tmp_path.iterdir()) == [outside]
    assert outside.read_text() == "mine"
