"""Bits that are drawn for parities have these parities with the right distribution."""

import numpy as np
import pytest

from qiskit_runtime_server.simulation.pauli_propagation.parities import ParityBits, TooManyParitiesError, check

SHOTS = 200_000


def parity(bits: np.ndarray, places: tuple[int, ...]) -> np.ndarray:
    return np.asarray(1.0 - 2.0 * (bits[:, list(places)].sum(axis=1) % 2))


def known(rng: np.random.Generator, width: int, masks: tuple[int, ...]) -> np.ndarray:
    """Return the values of some parities in a random distribution of `width` bits."""
    chances = rng.dirichlet(np.full(2**width, 0.3))
    outcomes = np.arange(2**width)
    return np.array([(1.0 - 2.0 * (np.bitwise_count(outcomes & mask) & 1)) @ chances for mask in masks])


@pytest.mark.parametrize(
    "asked",
    [
        [(0,)],
        [(0, 1, 2, 3, 4)],
        [(0,), (1,), (0, 1)],
        [(0, 1), (1, 2), (2, 3), (0, 3)],
        [(0, 1, 2), (2, 3, 4), (1,), (4,), (0, 4)],
    ],
)
def test_parities_and_their_products_have_their_values(asked: list[tuple[int, ...]]) -> None:
    bits_of = ParityBits(asked, 5)
    means = known(np.random.default_rng(3), 5, bits_of.masks)
    assert [bits_of.masks[number] for number in bits_of.wanted] == [sum(1 << bit for bit in one) for one in asked]
    bits, changed = bits_of.draw(means, SHOTS, 7)
    assert changed == 0
    for mask, mean in zip(bits_of.masks, means, strict=True):
        places = tuple(bit for bit in range(5) if mask >> bit & 1)
        # Five standard errors, of some 60 values that are looked at in all.
        assert abs(parity(bits, places).mean() - mean) <= 5 * np.sqrt((1 - mean**2) / SHOTS) + 1e-12


def test_many_independent_parities_are_drawn_each_for_itself() -> None:
    asked = [(bit,) for bit in range(40)]
    bits_of = ParityBits(asked, 40)
    assert len(bits_of.masks) == 40
    means = np.linspace(-1, 1, 40)
    bits, _ = bits_of.draw(means, SHOTS, 1)
    found = np.array([parity(bits, one).mean() for one in asked])
    assert (np.abs(found - means) <= 5 * np.sqrt((1 - means**2) / SHOTS) + 1e-12).all()


def test_many_parities_with_products_among_them_are_refused() -> None:
    asked = [*((bit,) for bit in range(10)), (0, 1)]
    with pytest.raises(TooManyParitiesError, match="10 independent terms"):
        check(asked)
    check(asked[:-1])
    check([(0,), (1,), (0, 1), ()])


def test_values_of_no_distribution_are_changed_and_it_is_said_how_far() -> None:
    bits_of = ParityBits([(0,), (1,), (0, 1)], 2)
    bits, changed = bits_of.draw(np.array([0.9, 0.9, 0.5]), SHOTS, 1)
    found = [parity(bits, places).mean() for places in ((0,), (1,), (0, 1))]
    assert 0.01 < changed < 0.2
    assert np.abs(np.array(found) - [0.9, 0.9, 0.5]).max() <= changed + 0.01


def test_a_seed_fixes_the_bits() -> None:
    bits_of = ParityBits([(0, 1)], 3)
    one, again, other = (bits_of.draw(np.array([0.2]), 1000, seed)[0] for seed in (1, 1, 2))
    assert (one == again).all()
    assert (one != other).any()
