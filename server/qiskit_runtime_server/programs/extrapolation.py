"""How much extrapolated values move with the means that they are fitted to.

The client library fits its models by weighted least squares and says what the residuals tell of the error: nothing, if
there are as many points as parameters. Here each mean is moved by a standard error to either side, and the fit follows.
Half the difference is the slope of a secant: the fit bends, and what counts is how it moves within its errors. Weights
move along with the means, as the library makes them of the same shots.

A fit follows by a few damped Gauss-Newton steps (Levenberg-Marquardt; K. Madsen, H. B. Nielsen and O. Tingleff,
Methods for non-linear least squares problems, DTU 2004) from the library's optimum, for all moves at once, which costs
about as much as one fit of the library.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from qiskit_mitigation.zne.extrapolation import _build_model_spec
from scipy.optimize import curve_fit

Floats = NDArray[np.float64]

_STEPS: Final = 20
_CLOSE: Final = 1e-9
"""How much of the sum of squares a last step gains at most; weights are about 1, so that sum is one of variances."""
_EXPONENTIALS: Final = {"exponential": 1, "double_exponential": 2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """The mean of a term at each noise factor.

    Attributes:
        values: Of the term's eigenvalues, which are 1, 0 or -1.
        squares: Means of their squares.
        errors: Standard errors of `values`.
    """

    values: Floats
    squares: Floats
    errors: Floats

    def deviations(self) -> Floats:
        """Return the standard deviations of single shots, which the library weighs by."""
        return np.asarray(np.sqrt(np.clip(self.squares - self.values**2, 0, None)))

    def moved(self, number: int, way: float) -> Self:
        """Return these means with one of them off by so many standard errors.

        The squares move along, by regression on the eigenvalues, which are their own cubes.
        """
        step = np.zeros_like(self.values)
        step[number] = way * self.errors[number]
        variances = self.squares - self.values**2
        along = np.divide(self.values * (1 - self.squares), variances, out=np.zeros_like(step), where=variances > 0)
        return type(self)(values=self.values + step, squares=self.squares + along * step, errors=self.errors)


def extrapolated(
    names: Sequence[str], factors: Sequence[float], points: Sequence[float], means: Means, selected: str, least: float
) -> tuple[Floats, Floats]:
    """Return what models of the library say at 0 and elsewhere, and how it moves.

    Args:
        names: Of the models, in the order in which the library tries them.
        factors: The noise factors that were measured.
        points: Those to extrapolate to.
        means: Of a term.
        selected: The model whose value at 0 the library took. Where the moved means bring that out of range, the
            library would take the next one, and so it is done here.
        least: The smallest value that the term can have; the largest is 1. What is more than 1 beyond is out of range.

    Returns:
        Values, shape (1 + models * points,), that at 0 first, and their slopes with each mean, shape (factors,
        values): 0 for a mean without error, NaN if the model cannot be fitted.
    """
    x, at = np.asarray(factors, dtype=np.float64), np.array([0.0, *points])
    moving = np.flatnonzero(means.errors)
    cases = [means, *(means.moved(number, way) for number in moving.tolist() for way in (1.0, -1.0))]
    found = [_fitted(name, x, at, cases) for name in names]
    tried = np.array([fit[:, 0] for fit in found[list(names).index(selected) :]])
    usable = (tried >= least - 1) & (tried <= 2)  # noqa: PLR2004 - 1 beyond the largest value
    usable[:, 0] = False
    # The first that can be used; if none can, the selected one.
    zero = tried[np.argmax(usable, axis=0), np.arange(len(cases))]
    values = np.column_stack([zero, *(fit[:, 1:] for fit in found)])
    slopes = np.zeros((len(x), values.shape[1]))
    slopes[moving] = (values[1::2] - values[2::2]) / (2 * means.errors[moving, None])
    return values[0], slopes


def _fitted(name: str, x: Floats, at: Floats, cases: Sequence[Means]) -> Floats:
    """Return what the model says at some points in each case, shape (cases, points); the first is the library's own."""
    if name == "fallback":
        lowest = int(np.argmin(x))
        return np.array([np.full(len(at), case.values[lowest]) for case in cases])
    if name in _EXPONENTIALS:
        return _exponentials(name, x, at, cases)
    degree = 1 if name == "linear" else int(name.rpartition("_")[2])
    powers, wanted = np.vander(x, degree + 1), np.vander(at, degree + 1)
    found = []
    for case in cases:
        weights = 1 / _usable(case.deviations())
        found.append(wanted @ np.linalg.lstsq(powers * weights[:, None], case.values * weights, rcond=None)[0])
    return np.array(found)


def _usable(deviations: Floats) -> Floats:
    """Return the deviations as the library weighs by them: 0 counts as the smallest other one."""
    positive = deviations[deviations > 0]
    return np.asarray(np.clip(deviations, positive.min(), None) if len(positive) else np.ones_like(deviations))


def _exponentials(name: str, x: Floats, at: Floats, cases: Sequence[Means]) -> Floats:
    y = np.array([case.values for case in cases])
    weights = 1 / np.array([_usable(case.deviations()) for case in cases])
    try:
        with warnings.catch_warnings():
            # That the errors of parameters cannot be estimated, which nobody asks for.
            warnings.simplefilter("ignore")
            model, start, bounds = _build_model_spec(name, x, y[0], weights[0])
            optimum, _ = curve_fit(model, x, y[0], p0=start, sigma=1 / weights[0], bounds=bounds)
    except (RuntimeError, ValueError, np.linalg.LinAlgError):
        # The library gives no value then either.
        return np.full((len(cases), len(at)), np.nan)
    parameters = _followed(np.tile(optimum, (len(cases), 1)), x, y, weights, decaying=name == "double_exponential")
    with np.errstate(over="ignore"):
        found = np.sum(parameters[:, None, ::2] * np.exp(parameters[:, None, 1::2] * at[:, None]), axis=2)
    found[0] = model(at, *optimum)
    return found


def _followed(parameters: Floats, x: Floats, y: Floats, weights: Floats, *, decaying: bool) -> Floats:
    """Return the parameters of sums of exponentials, moved to the least squares nearby.

    Args:
        parameters: Where to start: amplitudes and rates by turns, shape (cases, parameters).
        x: Where there are points.
        y: Shape (cases, points).
        weights: As `y`.
        decaying: Whether rates must not be above 0.
    """
    damping = np.full(len(y), 1e-4)
    residuals, jacobian = _residuals(parameters, x, y, weights)
    for _ in range(_STEPS):
        normal = np.einsum("cfi,cfj->cij", jacobian, jacobian)
        scale = np.einsum("cii->ci", normal)
        # A parameter that nothing depends on stays where it is.
        ridge = damping[:, None] * scale + 1e-12 * (scale.max(axis=1, keepdims=True) + 1e-300)
        steps = np.linalg.solve(
            normal + ridge[:, :, None] * np.eye(parameters.shape[1]),
            -np.einsum("cfi,cf->ci", jacobian, residuals)[..., None],
        )
        tried = parameters + steps[..., 0]
        if decaying:
            tried[:, 1::2] = np.minimum(tried[:, 1::2], 0)
        tried_residuals, tried_jacobian = _residuals(tried, x, y, weights)
        before, after = np.sum(residuals**2, axis=1), np.sum(tried_residuals**2, axis=1)
        better = after <= before
        parameters = np.where(better[:, None], tried, parameters)
        residuals = np.where(better[:, None], tried_residuals, residuals)
        jacobian = np.where(better[:, None, None], tried_jacobian, jacobian)
        damping = np.clip(np.where(better, damping / 10, damping * 10), 1e-12, 1e12)
        if (np.abs(before - after) <= _CLOSE * (before + _CLOSE)).all():
            break
    return parameters


def _residuals(parameters: Floats, x: Floats, y: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Return weighted residuals, shape (cases, points), and their derivatives, shape (cases, points, parameters)."""
    amplitudes, rates = parameters[:, None, ::2], parameters[:, None, 1::2]
    # A step may go far too far; it is undone as its residuals are large.
    decays = np.exp(np.clip(rates * x[:, None], -300, 300))
    jacobian = np.empty((*y.shape, parameters.shape[1]))
    jacobian[..., ::2] = decays
    jacobian[..., 1::2] = amplitudes * x[:, None] * decays
    return (np.sum(amplitudes * decays, axis=2) - y) * weights, jacobian * weights[..., None]
