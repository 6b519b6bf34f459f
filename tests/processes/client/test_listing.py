"""What it costs the server that a client lists all devices: the client asks for each one's configuration."""

import os
import sys
import time
from pathlib import Path

import pytest

from kit.server.server_process import ServerProcess
from qiskit_runtime_server.client import connect


def cpu_seconds(server: ServerProcess) -> float:
    fields = Path(f"/proc/{server.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def listed(server: ServerProcess) -> float:
    """Return what it costs the server that a client lists all devices, as a share of what it costs the client."""
    # A service keeps what it has read.
    before, own = cpu_seconds(server), time.process_time()
    backends = connect(server.url, "a token").backends()
    took, own = cpu_seconds(server) - before, time.process_time() - own
    print(f"{len(backends)} devices: {took:.2f} s in the server, {own:.2f} s in the client")
    assert len(backends) >= 70
    return took / own


@pytest.mark.skipif(sys.platform != "linux", reason="looks at processes by /proc")
def test_a_listing_takes_the_server_milliseconds_for_each_device(server: ServerProcess) -> None:
    """The client takes a second of a processor, on a slow one more, and both take longer beside other work."""
    assert any(listed(server) < 0.2 for _ in range(3))
