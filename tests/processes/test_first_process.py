"""Commands as process 1 of their container: SIGTERM ends them at every moment of their start."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

import kit

_SIGTERM_BIT = 1 << (signal.SIGTERM - 1)
_ENDS_SECONDS = 20
# The last is longer than any of them needs to start on an idle machine.
_MOMENTS = [0.0, 0.3, 1.0, 2.5]
_MOMENTS_BETWEEN = [0.1, 0.6, 1.5]
_ROLES = {
    "serve": ("qiskit_runtime_server", "serve", "--port", "0", "--anonymous", "--executors", "aer=1"),
    "api": ("qiskit_runtime_server", "api", "--port", "0", "--anonymous", "--executors", "aer=http://127.0.0.1:9"),
    "executor": ("qiskit_runtime_server", "executor", "aer", "--port", "0", "--slots", "1"),
    "operator": ("qiskit_runtime_operator", "run"),
}
_UNSHARE = ["unshare", "--pid", "--fork", "--kill-child", *(() if os.geteuid() == 0 else ("--user", "--map-root-user"))]


def _available() -> bool:
    try:
        return subprocess.run([*_UNSHARE, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        return False


pytestmark = pytest.mark.skipif(
    os.environ.get("CI") != "true" and not _available(), reason="PID namespaces cannot be made here"
)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """The settings of all roles; nobody listens where the operator looks for its API server."""
    kubeconfig = tmp_path / "kubeconfig"
    document = {
        "clusters": [{"name": "none", "cluster": {"server": "http://127.0.0.1:9"}}],
        "users": [{"name": "none", "user": {"token": "none"}}],
        "contexts": [{"name": "none", "context": {"cluster": "none", "user": "none"}}],
        "current-context": "none",
    }
    kubeconfig.write_text(json.dumps(document))
    images = {f"QRO_{image}_IMAGE": "registry.test/image:1" for image in ("API", "EXECUTOR", "EXECUTOR_GPU")}
    ports = {"QRO_HEALTH_PORT": "0", "QRO_METRICS_PORT": "0"}
    return {
        **kit.environment(),
        **images,
        **ports,
        "QRO_NAMESPACE": "default",
        "KUBECONFIG": str(kubeconfig),
        "QRS_DATA_DIR": str(tmp_path / "data"),
    }


@contextmanager
def first_process(role: str, environment: dict[str, str]) -> Iterator[tuple["subprocess.Popen[bytes]", int]]:
    """Start a role as process 1 of a namespace; give what waits for it, and the process id that it has outside."""
    package, *arguments = _ROLES[role]
    program = f"from {package}.entry_point import main; main()"
    waiting = subprocess.Popen(
        [*_UNSHARE, sys.executable, "-c", program, *arguments],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        children = Path(f"/proc/{waiting.pid}/task/{waiting.pid}/children")
        while not (found := children.read_text().split()):
            time.sleep(0.001)
        yield waiting, int(found[0])
    finally:
        waiting.kill()
        waiting.wait()


def wait_for_handler(pid: int) -> None:
    """Wait until a process has begun to run its program: before that, Python itself is starting."""
    deadline = time.monotonic() + _ENDS_SECONDS
    while time.monotonic() < deadline:
        status = Path(f"/proc/{pid}/status").read_text()
        caught = next(line.split()[1] for line in status.splitlines() if line.startswith("SigCgt:"))
        if int(caught, 16) & _SIGTERM_BIT:
            return
        time.sleep(0.002)
    raise AssertionError("no handler for SIGTERM")


@pytest.mark.parametrize(
    "moment", [*_MOMENTS, *(pytest.param(moment, marks=pytest.mark.thorough) for moment in _MOMENTS_BETWEEN)]
)
@pytest.mark.parametrize("role", _ROLES)
def test_sigterm_ends_a_role_at_every_moment_of_its_start(
    role: str, moment: float, environment: dict[str, str]
) -> None:
    with first_process(role, environment) as (waiting, pid):
        wait_for_handler(pid)
        time.sleep(moment)
        os.kill(pid, signal.SIGTERM)
        # Ended at once while it was starting, or in an orderly way once it was there.
        assert waiting.wait(_ENDS_SECONDS) in {128 + signal.SIGTERM, 0}


@pytest.mark.parametrize("package", sorted({role[0] for role in _ROLES.values()}))
def test_nothing_heavy_is_imported_before_the_handler_stands(package: str) -> None:
    program = f"import {package}.entry_point, sys; print(*sys.modules)"
    command = [sys.executable, "-I", "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {program}"]
    loaded = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    packages = {name.partition(".")[0] for name in loaded}
    assert f"{package}.entry_point" in loaded
    assert packages <= {package, "__main__", *sys.stdlib_module_names}
    assert not packages & {"asyncio", "logging", "multiprocessing", "socket", "ssl"}
