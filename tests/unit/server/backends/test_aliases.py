"""Names of a server's own for backends: what they stand for, and what cannot be one."""

import pytest

from qiskit_runtime_server.backends.aliases import Aliases
from qiskit_runtime_server.backends.names import ExecutorName, MetadataName, VirtualBackend
from qiskit_runtime_server.errors import StartupError

DEVICES = [MetadataName(name) for name in ("fake_lima", "fake_manila", "ibm_lab", "chaos_fake_manila")]
EXECUTORS = [ExecutorName("aer"), ExecutorName("gpu")]


def aliases(default_executor: str | None = None, **targets: str) -> Aliases:
    return Aliases.read(
        targets, DEVICES, EXECUTORS, default_executor=default_executor, reserved_prefixes=("mock_", "chaos_")
    )


def test_an_alias_stands_for_a_backend_and_so_does_the_name_of_its_dry_runs() -> None:
    found = aliases(class_device="fake_lima@aer", exam="ibm_lab@gpu")
    assert found.find("class_device") == VirtualBackend.parse("fake_lima@aer")
    assert found.find("mock_device") == VirtualBackend.parse("mock_lima@aer")
    assert found.find("exam") == VirtualBackend.parse("ibm_lab@gpu")
    assert found.find("fake_lima@aer") is None
    assert found.find("mock_exam") is None
    assert found.plain("class_device") == "fake_lima@aer"
    assert found.plain("mock_device") == "mock_lima@aer"
    assert found.plain("fake_lima@aer") == "fake_lima@aer"
    assert found.plain("fake_lima") == "fake_lima"
    assert found.names() == ["class_device", "exam"]
    assert found.names(dry_runs=True) == ["class_device", "exam", "mock_device"]


@pytest.mark.parametrize(
    ("name", "target", "problem"),
    [
        ("a", "fake_lime@aer", r"a stands for fake_lime@aer, and there is no such backend. Did you mean fake_lima@aer"),
        ("a", "fake_lima@tpu", r"a stands for fake_lima@tpu, and there is no such backend"),
        ("a", "fake_lima", r"a stands for fake_lima, and there is no such backend"),
        ("a", "mock_lima@aer", r"a stands for mock_lima@aer, and there is no such backend"),
        ("fake_manila", "fake_lima@aer", r"there is a device fake_manila already"),
        ("chaos_fake_manila", "fake_lima@aer", r"there is a device chaos_fake_manila already"),
        ("mock_thing", "fake_lima@aer", r"'mock_thing' cannot be an alias: names that begin with mock_ are taken"),
        ("chaos_thing", "fake_lima@aer", r"'chaos_thing' cannot be an alias: names that begin with chaos_ are taken"),
        ("a@aer", "fake_lima@aer", r"'a@aer' cannot be an alias: it has other characters than letters"),
        ("a/b", "fake_lima@aer", r"'a/b' cannot be an alias"),
    ],
)
def test_what_points_nowhere_or_is_taken_is_refused(name: str, target: str, problem: str) -> None:
    with pytest.raises(StartupError, match=f"^QRS_ALIASES: {problem}"):
        aliases(**{name: target})


def test_two_backends_cannot_have_the_same_name_for_dry_runs() -> None:
    with pytest.raises(StartupError, match="dry runs of class_lab and course_lab would both be called mock_lab"):
        aliases(class_lab="fake_lima@aer", course_lab="fake_manila@aer")
    assert aliases(class_lab="fake_lima@aer", course_lab="fake_lima@aer").find("mock_lab") is not None
    assert aliases(class_lima="fake_manila@aer").find("mock_lima") == VirtualBackend.parse("mock_manila@aer")
    with pytest.raises(StartupError, match="dry runs of class_lima and fake_lima would both be called mock_lima"):
        aliases("aer", class_lima="fake_manila@aer")
    assert aliases("aer", class_lima="fake_lima@aer").find("mock_lima") == VirtualBackend.parse("mock_lima@aer")
