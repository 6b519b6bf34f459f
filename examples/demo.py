"""Start a server, run a Bell circuit on it with the real client, say how to connect, and stay up until Ctrl-C.

This is `make demo`. With `--once` the server is stopped after the circuit.
"""

import argparse
import logging
import os
import re
import shlex
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, Queue
from statistics import median

from qiskit import QuantumCircuit
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import QiskitRuntimeService
from qiskit_ibm_runtime.executor_sampler import Sampler

from qiskit_runtime_server import client

DEVICE = "fake_marrakesh@aer"
SHOTS = 1024
WARM_RUNS = 5
START_SECONDS = 60.0
RESULT_SECONDS = 120.0
STOP_SECONDS = 15.0


def main() -> None:
    """Run the demonstration; anything that goes wrong ends it with a traceback, without its server."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--once", action="store_true", help="stop the server after the circuit")
    once = parser.parse_args().once
    # SIGTERM must stop the server as Ctrl-C does.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # Neither the choice of the account nor the coming change of the default primitives matters here.
    logging.getLogger("qiskit_ibm_runtime").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*qiskit-ibm-runtime")

    with tempfile.TemporaryDirectory(prefix="qiskit-runtime-server-demo-") as folder, running_server(folder) as server:
        started = time.perf_counter()
        url = address(server)
        wait_until_ready(url, server)
        print(f"Server ready at {url} after {time.perf_counter() - started:.1f} s", flush=True)
        run_bell(client.connect(url))
        print_connection(url)
        if not once:
            print("\nThe server is up until Ctrl-C.", flush=True)
            stay(server)


@contextmanager
def running_server(folder: str) -> Iterator["subprocess.Popen[str]"]:
    """Start a server of our own and stop it at the end, whatever happens."""
    command = [sys.executable, "-m", "qiskit_runtime_server", "serve"]
    options = ["--port", "0", "--data-dir", folder, "--anonymous", "--log-level", "warning"]
    # Settings that are meant for the user's own server must not reach this one.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QRS_")}
    process = subprocess.Popen(  # noqa: S603 - nothing in it comes from outside
        [*command, *options], stdout=subprocess.PIPE, text=True, env={**environment, "PYTHONUNBUFFERED": "1"}
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def address(server: "subprocess.Popen[str]") -> str:
    """Return where the server listens; its output is read on behind us, lest it should block."""
    found: Queue[str | None] = Queue()

    def read() -> None:
        assert server.stdout is not None  # noqa: S101 - we asked for a pipe
        for line in server.stdout:
            if match := re.search(r"Listening on (http://\S+)", line):
                found.put(match[1])
        found.put(None)

    threading.Thread(target=read, daemon=True).start()
    try:
        url = found.get(timeout=START_SECONDS)
    except Empty:
        sys.exit(f"The server has not said where it listens in {START_SECONDS:.0f} s.")
    if url is None:
        sys.exit(f"The server ended with exit code {server.wait()}.")
    return url


def wait_until_ready(url: str, server: "subprocess.Popen[str]") -> None:
    """Return once a job would be run at once."""
    deadline = time.monotonic() + START_SECONDS
    while not is_ready(url):
        if server.poll() is not None:
            sys.exit(f"The server ended with exit code {server.returncode}.")
        if time.monotonic() > deadline:
            sys.exit(f"The server is not ready after {START_SECONDS:.0f} s.")
        time.sleep(0.1)


def is_ready(url: str) -> bool:
    """Ask the server's health endpoint."""
    try:
        with urllib.request.urlopen(f"{url}/health/ready", timeout=5) as answer:  # noqa: S310 - always http
            return bool(answer.status == 200)  # noqa: PLR2004 - OK
    except (urllib.error.HTTPError, OSError):
        return False


def run_bell(service: QiskitRuntimeService) -> None:
    """Run a Bell circuit several times, print its counts and how long it took until they were here."""
    backend = service.backend(DEVICE)
    circuit = QuantumCircuit(2)
    circuit.h(0)
    circuit.cx(0, 1)
    circuit.measure_all()
    isa_circuit = generate_preset_pass_manager(optimization_level=1, backend=backend).run(circuit)
    sampler = Sampler(mode=backend)
    seconds = []
    for _ in range(1 + WARM_RUNS):
        started = time.perf_counter()
        counts = sampler.run([isa_circuit], shots=SHOTS).result(timeout=RESULT_SECONDS)[0].data.meas.get_counts()
        seconds.append(time.perf_counter() - started)
    if sum(counts.values()) != SHOTS:
        sys.exit(f"{SHOTS} shots were asked for, {counts} came back.")
    print(f"Bell circuit, {SHOTS} shots on {DEVICE} ({backend.num_qubits} qubits): {dict(sorted(counts.items()))}")
    print(f"Round trip: {seconds[0]:.3f} s the first time, {median(seconds[1:]):.3f} s after that", flush=True)


def print_connection(url: str) -> None:
    """Print what a user pastes to connect a client of their own."""
    print("\nConnect your own client, from a shell:\n")
    for name, value in client.environment(url, "anonymous").items():
        print(f"export {name}={shlex.quote(value)}")
    print("python -c 'from qiskit_ibm_runtime import QiskitRuntimeService as Q; print(Q().backends())'")
    print("\nor from Python:\n")
    print("from qiskit_runtime_server.client import connect")
    print(f'service = connect("{url}")', flush=True)


def stay(server: "subprocess.Popen[str]") -> None:
    """Return on Ctrl-C; the server is not expected to end before."""
    try:
        code = server.wait()
    except KeyboardInterrupt:
        print("\nStopping the server.")
    else:
        sys.exit(f"The server ended with exit code {code}.")


if __name__ == "__main__":
    main()
