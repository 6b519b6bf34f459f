"""The speed of this machine is measured with circuits that go the way of jobs, by the methods that are named."""

from dataclasses import replace

import pytest

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.roles.speed import HEADER, row
from qiskit_runtime_server.worker import speed

WANTED = {
    "no errors": "statevector",
    "errors of a device": "density-matrix",
    "errors, a measurement midway": "statevector",
    "Clifford gates, errors twirled": "clifford-frames",
}


@pytest.fixture(scope="module")
def executor() -> AerExecutor:
    made = AerExecutor(memory_bytes=2**28, threads=1)
    made.catalog = Catalog()
    return made


def test_each_series_is_run_by_the_method_that_it_is_for(executor: AerExecutor) -> None:
    small = [replace(series, sizes=series.sizes[:1], shots=20) for series in speed.ALL]
    found = list(speed.measure(executor, small))
    assert {one.what: one.method for one in found} == WANTED
    assert all(one.seconds > 0 and one.expected_seconds > 0 for one in found)
    assert all(len(row(one)) == len(HEADER) for one in found)


def test_a_series_ends_where_a_circuit_takes_seconds(executor: AerExecutor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "_ENOUGH_SECONDS", 0.0)
    [found] = speed.measure(executor, [replace(speed.ALL[0], sizes=(2, 3, 4), shots=10)])
    assert found.qubits == 2


def test_a_series_ends_where_a_circuit_does_not_fit() -> None:
    tight = AerExecutor(memory_bytes=2**12, threads=1)
    tight.catalog = Catalog()
    found = speed.measure(tight, [replace(speed.ALL[0], sizes=(3, 5, 20, 22), shots=10)])
    assert [one.qubits for one in found] == [3, 5]
