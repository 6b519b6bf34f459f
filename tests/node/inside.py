"""The first process of the tests' namespaces: sets them up, runs pytest, and buries orphans until that has ended."""

import os
import subprocess
import sys
from pathlib import Path

ADDRESS = "10.89.0.2"
HOST = "lab.test"


def main(folder: Path, arguments: list[str]) -> int:
    """Run pytest in here and return its exit status."""
    _mount(folder)
    _connect()
    environment = {**os.environ, "E2E_FOLDER": str(folder)}
    settings = ["-o", "pythonpath=tests", "--timeout=900"]
    tests = subprocess.Popen([sys.executable, "-m", "pytest", *settings, "tests/node", *arguments], env=environment)
    while True:
        process, status = os.wait()
        if process == tests.pid:
            return os.waitstatus_to_exitcode(status)


def _mount(folder: Path) -> None:
    """Give the node folders of its own where programs insist on a place, and a name for the ingress."""
    for place in ("/run", "/var/lib/cni", "/var/log/containers", "/var/log/pods"):
        Path(place).mkdir(parents=True, exist_ok=True)
        _do("mount", "-t", "tmpfs", "tmpfs", place)
    hosts = folder / "hosts"
    hosts.write_text(f"127.0.0.1 localhost\n{ADDRESS} {HOST} other.{HOST}\n")
    _do("mount", "--bind", hosts, "/etc/hosts")
    # Volumes of pods are mounted by one process and seen by another.
    _do("mount", "--make-rshared", "/")


def _connect() -> None:
    """Make a network with one address and no way out."""
    _do("ip", "link", "set", "lo", "up")
    # Not every kernel has a dummy device; a bridge without ports carries an address as well.
    _do("ip", "link", "add", "node0", "type", "bridge")
    _do("ip", "address", "add", f"{ADDRESS}/24", "dev", "node0")
    _do("ip", "link", "set", "node0", "up")
    # Leads nowhere, but kubelet and others insist on one.
    _do("ip", "route", "add", "default", "via", ADDRESS, "dev", "node0")
    _do("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv4.conf.all.route_localnet=1")


def _do(*command: str | Path) -> None:
    subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), sys.argv[2:]))
