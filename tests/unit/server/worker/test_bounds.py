"""What a worker has taken is counted, however it hides it."""

import os
import threading
from pathlib import Path

import pytest

from qiskit_runtime_server.worker.confinement import bounds
from qiskit_runtime_server.worker.confinement.bounds import excess

PAGE = 4096
MIB = 1024**2
NOBODY = 2**30
"""A process that there is not: this one has files of pytest's."""


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_FILES", 3)
    monkeypatch.setattr(bounds, "MOST_BYTES", 4 * PAGE)


def test_what_a_worker_usually_writes_is_no_excess(tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "one").write_bytes(bytes(PAGE))
    (tmp_path / "elsewhere").symlink_to("/usr")
    assert excess(NOBODY, tmp_path) is None


def test_there_is_nothing_to_count_of_a_worker_that_has_gone(tmp_path: Path) -> None:
    assert excess(NOBODY, tmp_path / "gone") is None


def test_files_are_counted_in_all_folders(tmp_path: Path) -> None:
    (tmp_path / "inner").mkdir()
    for number in range(3):
        (tmp_path / "inner" / str(number)).touch()
    assert excess(NOBODY, tmp_path) == "more than 3 files"


def test_bytes_are_counted_of_all_files_together(tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / str(number)).write_bytes(bytes(3 * PAGE))
    assert excess(NOBODY, tmp_path) == "files of more than 0 MiB"


def test_bytes_of_files_without_a_name_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_FILES", 1000)
    monkeypatch.setattr(bounds, "MOST_BYTES", 32 * MIB)
    with (tmp_path / "one").open("wb") as nameless:
        (tmp_path / "one").unlink()
        assert excess(os.getpid(), tmp_path) is None
        os.posix_fallocate(nameless.fileno(), 0, 33 * MIB)
        assert excess(os.getpid(), tmp_path) == "files of more than 32 MiB"


def test_files_below_more_folders_than_anybody_nests_are_an_excess(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MOST_FILES", 1000)
    monkeypatch.setattr(bounds, "MOST_BYTES", MIB)
    (tmp_path / "/".join("x" * 40)).mkdir(parents=True)
    assert excess(NOBODY, tmp_path) == "files where they cannot be counted"


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads every folder")
def test_a_folder_that_cannot_be_read_is_an_excess(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir(mode=0o300)
    assert excess(NOBODY, tmp_path) == "files where they cannot be counted"


def test_threads_are_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MOST_THREADS", 3)
    over = threading.Event()
    threads = [threading.Thread(target=over.wait) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        assert excess(os.getpid(), tmp_path) == "more than 3 threads"
    finally:
        over.set()
        for thread in threads:
            thread.join()
