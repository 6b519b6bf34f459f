"""What the container allows."""

from pathlib import Path

import pytest

from qiskit_runtime_server.machine import Cores, cpu_limit, in_words, qubits_in, usable_bytes, usable_cores


@pytest.mark.parametrize(("text", "cores"), [("max 100000", None), ("200000 100000", 2), ("50000 100000", 1)])
def test_version_2_quotas_are_cores_rounded_up(tmp_path: Path, text: str, cores: int | None) -> None:
    (tmp_path / "cpu.max").write_text(text + "\n")
    assert cpu_limit(tmp_path) == cores


@pytest.mark.parametrize(("quota", "cores"), [("-1", None), ("150000", 2)])
def test_version_1_quotas_are_cores_rounded_up(tmp_path: Path, quota: str, cores: int | None) -> None:
    (tmp_path / "cpu").mkdir()
    (tmp_path / "cpu" / "cpu.cfs_quota_us").write_text(quota + "\n")
    (tmp_path / "cpu" / "cpu.cfs_period_us").write_text("100000\n")
    assert cpu_limit(tmp_path) == cores


def test_without_a_group_there_is_no_limit(tmp_path: Path) -> None:
    assert cpu_limit(tmp_path) is None


def test_this_machine_has_something() -> None:
    assert usable_bytes() > 2**28
    assert usable_cores() >= 1


def test_runs_share_the_cores_by_how_many_there_are_when_they_start() -> None:
    cores = Cores(5)
    assert [cores.take() for _ in range(7)] == [5, 2, 1, 1, 1, 1, 1]
    for _ in range(6):
        cores.give_back()
    assert cores.take() == 2


@pytest.mark.parametrize(("size", "qubits"), [(16 * 2**20, 20), (16 * 2**20 - 1, 19), (1, 1)])
def test_a_state_of_n_qubits_needs_16_times_2_to_the_n_bytes(size: int, qubits: int) -> None:
    assert qubits_in(size) == qubits


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (0, "0 bytes"),
        (1, "1 bytes"),
        (1023, "1023 bytes"),
        (1024, "1 KiB"),
        (1536, "1.5 KiB"),
        (1000 * 2**10, "1000 KiB"),
        (2**20 - 1, "1 MiB"),
        (123 * 2**30 + 2**29, "124 GiB"),
        (2**54, "16 PiB"),
        (2**64, "16 EiB"),
        (2**70 - 1, "1024 EiB"),
        (2**131, "2^131 bytes"),
    ],
)
def test_sizes_are_written_in_units_that_people_read(size: int, words: str) -> None:
    assert in_words(size) == words
