"""Calibrations wander with time, and stay ones that a device can have."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from qiskit_runtime_server.backends.catalog import Catalog, Metadata
from qiskit_runtime_server.chaos.chaos import Chaos
from qiskit_runtime_server.chaos.faults import Faults
from qiskit_runtime_server.jobs import AccountId

NOW = datetime(2026, 3, 1, 12, 0, 30, tzinfo=UTC)
NAME = "chaos_fake_sherbrooke@aer"


@pytest.fixture(scope="module")
def device() -> Metadata:
    return Catalog().get("fake_sherbrooke", ideal_qubits=4)


def chaos(*words: str, seed: int = 3) -> Chaos:
    return Chaos(["*"], Faults().but(words), seed)


def values(properties: Mapping[str, Any], name: str) -> list[float]:
    qubits = [value["value"] for qubit in properties["qubits"] for value in qubit if value["name"] == name]
    gates = [value["value"] for gate in properties["gates"] for value in gate["parameters"] if value["name"] == name]
    return qubits + gates


def test_two_periods_differ_and_one_period_is_the_same(device: Metadata) -> None:
    drifting = chaos("drift=0.1", "drift_every=60")
    first = drifting.properties(AccountId("alice"), device, NAME, NOW)
    assert first == drifting.properties(AccountId("alice"), device, NAME, NOW + timedelta(seconds=29))
    later = drifting.properties(AccountId("alice"), device, NAME, NOW + timedelta(seconds=30))
    assert first is not None
    assert later is not None
    assert first["last_update_date"] == "2026-03-01T12:00:00+00:00"
    assert later["last_update_date"] == "2026-03-01T12:01:00+00:00"
    for name in ("T1", "T2", "readout_error", "gate_error"):
        assert values(first, name) != values(later, name)
    assert values(first, "gate_length") == values(later, "gate_length")
    assert first == chaos("drift=0.1").properties(AccountId("alice"), device, NAME, NOW)
    assert first != chaos("drift=0.1", seed=4).properties(AccountId("alice"), device, NAME, NOW)


def test_the_spread_is_the_one_that_was_asked_for(device: Metadata) -> None:
    assert device.properties is not None
    drifted = chaos("drift=0.1").properties(AccountId("alice"), device, NAME, NOW)
    assert drifted is not None
    factors = np.log(np.array(values(drifted, "T1")) / np.array(values(device.properties, "T1")))
    assert len(factors) == 127
    # Five standard errors of mean and deviation of 127 draws.
    assert abs(factors.mean()) < 5 * 0.1 / np.sqrt(127)
    assert abs(factors.std() - 0.1) < 5 * 0.1 / np.sqrt(2 * 127)


def test_what_a_device_cannot_have_is_not_reached(device: Metadata) -> None:
    assert device.properties is not None
    wild = chaos("drift=1").properties(AccountId("alice"), device, NAME, NOW)
    assert wild is not None
    for name in ("readout_error", "gate_error"):
        before = np.array(values(device.properties, name))
        assert (np.array(values(wild, name)) <= np.maximum(0.5, before)).all()
    ratio = np.array(values(wild, "T2")) / np.array(values(wild, "T1"))
    assert np.allclose(ratio, np.array(values(device.properties, "T2")) / np.array(values(device.properties, "T1")))


@pytest.mark.parametrize("name", ["fake_sherbrooke@aer", "fake_sherbrooke"])
def test_an_ordinary_device_keeps_its_calibration(device: Metadata, name: str) -> None:
    assert chaos("drift=0.5").properties(AccountId("alice"), device, name, NOW) == device.properties


def test_an_ideal_device_has_none(device: Metadata) -> None:
    assert chaos("drift=0.5").properties(AccountId("alice"), replace(device, properties=None), NAME, NOW) is None
