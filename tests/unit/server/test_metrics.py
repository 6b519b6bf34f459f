"""What a process tells Prometheus has one series for each thing."""

import subprocess
import sys


def test_counters_have_no_second_series() -> None:
    # In a process of its own: what is set is set for the whole process.
    code = """
from prometheus_client import Counter, generate_latest
from qiskit_runtime_server.metrics import new_registry
registry = new_registry()
Counter("qrs_things", "For this test.", registry=registry).inc()
print(generate_latest(registry).decode())
"""
    shown = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout
    assert "qrs_things_total 1.0" in shown
    assert "_created" not in shown
