"""Kubernetes quantities as the API server writes them, so that what is asked for equals what is there."""

import re
from fractions import Fraction
from math import ceil
from typing import Final

# What the CRD accepts; the API server would take exponents, too.
PATTERN: Final = r"^[0-9]+(\.[0-9]{1,9})?(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"

# What the API server gives back as somebody wrote it; an exponent of more digits would take for ever.
_WRITTEN: Final = re.compile(r"\+?([0-9]+\.?[0-9]*|\.[0-9]+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]{1,3})?")
_BINARY: Final = ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")
_DECIMAL: Final = ("n", "u", "m", "", "k", "M", "G", "T", "P", "E")
_NANO: Final = Fraction(1, 10**9)
# Below this the API server writes binary quantities as decimal ones.
_BINARY_FROM: Final = 1024


def amount(quantity: str) -> Fraction:
    """Return how much a quantity is, in any form that Kubernetes knows.

    Raises:
        ValueError: If it is none.
    """
    written = _WRITTEN.fullmatch(quantity)
    if written is None:
        raise _no_quantity(quantity)
    number, suffix = Fraction(written[1]), written[2] or ""
    if suffix in _BINARY:
        return number * Fraction(1024) ** _BINARY.index(suffix)
    if suffix in _DECIMAL:
        return number * _NANO * Fraction(1000) ** _DECIMAL.index(suffix)
    return number * Fraction(10) ** int(suffix[1:])


def canonical(quantity: str | int) -> str:
    """Return the quantity in the form in which the API server gives it back: the largest suffix without a fraction.

    Raises:
        ValueError: If it is none.
    """
    if re.match(PATTERN, str(quantity)) is None:
        raise _no_quantity(quantity)
    value = amount(str(quantity))
    if str(quantity).endswith("i") and value.denominator == 1 and value >= _BINARY_FROM:
        return _with_suffix(int(value), 1024, _BINARY)
    return _with_suffix(ceil(value / _NANO), 1000, _DECIMAL)


def _no_quantity(text: object) -> ValueError:
    return ValueError(f"{text!r} is not a quantity, as in 500m or 2Gi")


def _with_suffix(value: int, base: int, suffixes: tuple[str, ...]) -> str:
    if value == 0:
        return "0"
    index = 0
    while index < len(suffixes) - 1 and value % base == 0:
        value, index = value // base, index + 1
    return f"{value}{suffixes[index]}"
