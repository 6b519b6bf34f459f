"""The template of an executor starts before the executor itself, and does not outlive it."""

import subprocess
import sys
from pathlib import Path

import kit
from kit.kubernetes.client import eventually
from kit.server.cluster_processes import is_alive, templates_of, wait_until

_HEAVY = {"asyncio", "logging", "ssl"}


def test_the_template_starts_without_settings_and_ends_with_a_command_that_fails() -> None:
    program = "from qiskit_runtime_server.entry_point import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "executor", "aer", "--port", "70000"],
        env={**kit.environment(), "QRS_EXECUTOR_KEY": "a secret", "qrs_slots": "1", "OTHER": "1"},
        stderr=subprocess.PIPE,
        text=True,
    ) as command:
        (template,) = eventually(lambda: templates_of(command.pid), 20)
        names = [line.partition(b"=")[0] for line in Path(f"/proc/{template}/environ").read_bytes().split(b"\0")]
        assert b"OTHER" in names
        assert [name for name in names if name.upper().startswith(b"QRS_")] == []
        # It reads its settings after the template has begun, and they are all there.
        assert "QRS_PORT" in command.communicate()[1]
    assert command.returncode == 1
    wait_until(lambda: not is_alive(template), seconds=1)


def test_nothing_heavy_is_imported_before_the_template_starts() -> None:
    program = "import qiskit_runtime_server.worker.fork_server, sys; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {program}"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    packages = {name.partition(".")[0] for name in loaded}
    assert packages <= {"qiskit_runtime_server", "__main__", "__mp_main__", *sys.stdlib_module_names}
    assert not packages & _HEAVY
