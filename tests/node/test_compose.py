"""examples/compose: two apis, PostgreSQL and an executor in containers of one machine, by podman-compose."""

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from qiskit_ibm_runtime.executor_sampler import Sampler

from kit import ROOT
from kit.kubernetes.client import eventually
from kit.quantum.circuits import isa_bell
from node.server_on_node import correct
from qiskit_runtime_server.client import connect

APIS = ("http://127.0.0.1:8001", "http://127.0.0.1:8002")
TOKEN = secrets.token_hex(32)

# A container may ask for no more descriptors than the tests have.
CONFIGURATION = """
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
[network]
network_backend = "netavark"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
"""


class Compose:
    """A project in a folder, and a podman whose containers and images are there too."""

    def __init__(self, folder: Path, variables: dict[str, str], packages: str) -> None:
        self._folder = folder
        (folder / "containers.conf").write_text(CONFIGURATION)
        self._podman = folder / "podman"
        program = shutil.which("podman")
        self._podman.write_text(f'#!/bin/sh\nexec {program} --root {folder}/root --runroot {folder}/run "$@"\n')
        self._podman.chmod(0o755)
        own = {"CONTAINERS_CONF": str(folder / "containers.conf"), "PYTHONPATH": packages}
        self._environment = {**os.environ, **variables, **own}

    def podman(self, *arguments: str) -> str:
        """Run podman itself and return what it says."""
        return self._run(str(self._podman), *arguments)

    def __call__(self, *arguments: str) -> str:
        """Run podman-compose and return what it says."""
        compose = (sys.executable, "-m", "podman_compose", f"--podman-path={self._podman}", "--in-pod=false")
        return self._run(*compose, *arguments)

    def _run(self, *command: str) -> str:
        done = subprocess.run(
            command, cwd=self._folder, env=self._environment, capture_output=True, text=True, check=False, timeout=300
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
        return done.stdout


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a name that is short enough for podman."""
    with tempfile.TemporaryDirectory(prefix="qrs-", ignore_cleanup_errors=True) as path:
        yield Path(path)


@pytest.fixture
def compose(setup: dict[str, Any], folder: Path) -> Iterator[Compose]:
    """What a reader has who has done what docs/how-to/run-in-a-container.md says."""
    shutil.copy(ROOT / "examples/compose/compose.yaml", folder)
    names = ("DATABASE_PASSWORD", "SIGNING_KEY", "EXECUTOR_KEY")
    (folder / ".env").write_text("".join(f"{name}={secrets.token_hex(32)}\n" for name in names))
    (folder / "tokens").mkdir()
    (folder / "tokens/ada").write_text(TOKEN)
    folder.chmod(0o755)
    images = {
        variable: next((image for image in setup["archives"] if f"/{name}:" in image), None)
        for variable, name in {
            "API_IMAGE": "qiskit-runtime-server-api",
            "EXECUTOR_IMAGE": "qiskit-runtime-server-executor",
            "DATABASE": "postgres",
        }.items()
    }
    built = {variable: image for variable, image in images.items() if image is not None}
    if len(built) < len(images):
        pytest.skip("a run of all tests builds PostgreSQL's image; this is a run of some")
    compose = Compose(folder, built, setup["packages"])
    for image in built.values():
        compose.podman("load", "--quiet", "--input", setup["archives"][image])
    try:
        compose("up", "--detach")
        yield compose
    finally:
        compose("down", "--volumes")
        eventually(groups_are_gone)


def groups_are_gone() -> bool:
    """Remove what podman leaves of its control groups: those of containers end a little after them."""
    for group in sorted(Path("/sys/fs/cgroup").glob("*/libpod_parent/**/"), reverse=True):
        with suppress(OSError):
            group.rmdir()
    return not list(Path("/sys/fs/cgroup").glob("*/libpod_parent"))


def has_slots(url: str) -> bool:
    try:
        answer = httpx.get(f"{url}/health/ready")
    except httpx.TransportError:
        return False
    return answer.is_success and answer.json()["executors"]["aer"]["slots"] > 0


@pytest.mark.skipif(
    os.environ.get("COMPOSE") != "true",
    reason='its network and mounts disturb the node of the other tests: COMPOSE=true make e2e ARGS="-k either_api"',
)
@pytest.mark.timeout(900)
def test_jobs_run_on_either_api_and_survive_the_end_of_one(compose: Compose) -> None:
    for url in APIS:
        eventually(lambda url=url: has_slots(url), 120)  # type: ignore[misc]
    first, second = (connect(url, TOKEN) for url in APIS)
    backend = first.backend("fake_marrakesh@aer")
    job = Sampler(mode=backend).run([isa_bell(backend)], shots=1024)
    assert correct(job)
    assert second.job(job.job_id()).status() == "DONE"
    compose("kill", "api-1")
    backend = second.backend("fake_marrakesh@aer")
    assert correct(Sampler(mode=backend).run([isa_bell(backend)], shots=1024))
