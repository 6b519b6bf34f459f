"""Quantities: the same amount, in the form in which the API server gives it back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qiskit_runtime_operator.resource.quantities import PATTERN, amount, canonical

quantities = st.from_regex(PATTERN, fullmatch=True).map(str.strip)


@given(quantities)
def test_the_canonical_form_is_stable_and_rounds_up_below_a_billionth_only(quantity: str) -> None:
    once = canonical(quantity)
    assert canonical(once) == once
    assert 0 <= amount(once) - amount(quantity) < amount("1n")


@pytest.mark.parametrize(
    ("given", "canonical_form"),
    [
        (2, "2"),
        ("0.5", "500m"),
        ("1000m", "1"),
        ("1024Mi", "1Gi"),
        ("0.5Gi", "512Mi"),
        ("0.5Ki", "512"),
        ("2000", "2k"),
        ("1.5Gi", "1536Mi"),
        ("0", "0"),
    ],
)
def test_known_forms(given: str | int, canonical_form: str) -> None:
    assert canonical(given) == canonical_form


@pytest.mark.parametrize(
    ("written", "short"),
    [("6e9", "6G"), ("1E3", "1k"), ("+5Gi", "5Gi"), ("5.Gi", "5Gi"), (".5", "500m"), ("1e-3", "1m"), ("5E", "5000P")],
)
def test_what_somebody_has_written_in_another_form_is_as_much(written: str, short: str) -> None:
    """As the size of a claim that was made by hand: the API server gives such forms back as they are."""
    assert amount(written) == amount(short)


@pytest.mark.parametrize("text", ["1e9999", "1e", "-1", "1 Gi", "1KiB", ".", ""])
def test_what_has_no_amount_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        amount(text)


@pytest.mark.parametrize("text", ["", "two", "1e3", "-1", "1 Gi", "1KiB", ".5"])
def test_what_is_no_quantity_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a quantity"):
        canonical(text)
