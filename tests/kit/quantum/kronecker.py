"""Kronecker products of any number of factors."""

from collections.abc import Iterable
from functools import reduce

import numpy as np
from numpy.typing import NDArray

ComplexArray = NDArray[np.complex128]


def kronecker_product(factors: Iterable[ComplexArray]) -> ComplexArray:
    """Return the product, whose highest index digits are those of the first factor."""
    return reduce(lambda one, other: np.asarray(np.kron(one, other), dtype=np.complex128), factors)
