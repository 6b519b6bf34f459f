"""Whether shots come from a known distribution: chi-square with rare outcomes pooled."""

from collections.abc import Mapping

import numpy as np
from scipy.stats import binom, chi2

IMPOSSIBLE = 1e-12
"""A chance below this is rounding; no shot may have such an outcome."""
LEAST_EXPECTED = 25
"""Counts of a bin, so that p-values are close to uniform."""


def impossible(counts: Mapping[int, int], exact: Mapping[int, float]) -> dict[int, int]:
    """Return the outcomes that were seen although they cannot be."""
    return {outcome: count for outcome, count in counts.items() if exact.get(outcome, 0) < IMPOSSIBLE}


def too_often(counts: Mapping[int, int], exact: Mapping[int, float]) -> float:
    """Return a p-value for that rare outcomes come too often, which bins with many counts do not show.

    It is a bound, not uniform: the smallest of the binomial tails of the rarest outcome, the two rarest and so on, up
    to `LEAST_EXPECTED`, times their number.
    """
    shots = sum(counts.values())
    ordered = sorted((outcome for outcome in exact if shots * exact[outcome] < LEAST_EXPECTED), key=exact.__getitem__)
    chances = np.cumsum([exact[outcome] for outcome in ordered])
    seen = np.cumsum([counts.get(outcome, 0) for outcome in ordered])
    tails = binom.sf(seen - 1, shots, np.minimum(chances, 1.0))
    return min(1.0, float(len(ordered) * tails.min())) if ordered else 1.0


def p_value(counts: Mapping[int, int], exact: Mapping[int, float]) -> float | None:
    """Return the p-value of `counts`; None if all shots are in one bin, for then there is nothing to compare.

    Outcomes of which fewer than `LEAST_EXPECTED` shots are expected share a bin, and if it is still too small, they
    share it with the next rarest outcome.
    """
    shots = sum(counts.values())
    ordered = sorted(exact, key=lambda outcome: exact[outcome])
    expected = shots * np.array([exact[outcome] for outcome in ordered])
    seen = np.array([counts.get(outcome, 0) for outcome in ordered], dtype=float)
    pooled = int(np.searchsorted(expected, LEAST_EXPECTED))
    if 0 < pooled < len(ordered) and expected[:pooled].sum() < LEAST_EXPECTED:
        pooled += 1
    starts = [0, *range(pooled, len(ordered))] if pooled else list(range(len(ordered)))
    starts = [start for start in starts if start < len(ordered)]
    expected, seen = np.add.reduceat(expected, starts), np.add.reduceat(seen, starts)
    if len(expected) < 2:
        return None
    return float(chi2.sf(((seen - expected) ** 2 / expected).sum(), len(expected) - 1))
