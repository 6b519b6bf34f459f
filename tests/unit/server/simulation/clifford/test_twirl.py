"""How far the twirl of a device's errors is from the errors themselves, in exact distributions."""

from collections.abc import Callable

import pytest

from kit.quantum.twirl import moved
from qiskit_runtime_server.programs.device.device import Device


@pytest.mark.parametrize("depth", [2, 5, 10])
def test_the_twirl_moves_a_distribution_by_little_of_what_the_noise_does(
    device: Callable[[str], Device], depth: int
) -> None:
    found = [moved(device("fake_sherbrooke"), depth, seed) for seed in range(4)]
    twirl = [each.twirl for each in found]
    assert min(twirl) > 0
    assert max(twirl) < 0.005
    # Not for each circuit: if all outcomes are as likely without noise, what the twirl drops is all that noise does.
    assert sum(twirl) < sum(each.noise for each in found) / 10
