"""How much extrapolated values move with the means that they are fitted to.

Zero-noise extrapolation measures a value at several strengths of the noise, fits a function, and takes its value at 0
(Temme, Bravyi, Gambetta, 2017, https://doi.org/10.1103/PhysRevLett.119.180509; exponentials: Endo, Benjamin, Li, 2018,
https://doi.org/10.1103/PhysRevX.8.031027):

    means at 1, 3, 5     0.82, 0.55, 0.37
    exponential          a exp(b x), with a = 1.00 and b = -0.20: 1.00 at 0
    linear               a + b x, with a = 0.92 and b = -0.11: 0.92 at 0

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
from qiskit_mitigation import PEA, GateFolding, MitigationTask
from scipy.optimize import curve_fit

from qiskit_runtime_server.programs.options.rules import NEEDED_FACTORS
from qiskit_runtime_server.programs.private_names import extrapolation_model

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

        The squares move along, by regression on the eigenvalues, which are their own cubes: by
        ``Cov(x^2, x) / Var(x) = <x> (1 - <x^2>) / Var(x)``.
        """
        step = np.zeros_like(self.values)
        step[number] = way * self.errors[number]
        variances = self.squares - self.values**2
        along = np.divide(self.values * (1 - self.squares), variances, out=np.zeros_like(step), where=variances > 0)
        return type(self)(values=self.values + step, squares=self.squares + along * step, errors=self.errors)


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """How values follow from the means at all noise factors; by default there is one factor, and it is the mean.

    Attributes:
        factors: The noise factors that were measured.
        extrapolators: As the library calls them, in the order they are tried.
        points: The noise factors at which each is evaluated.
    """

    factors: Sequence[float] = (1.0,)
    extrapolators: Sequence[str] = ()
    points: Sequence[float] = ()

    @classmethod
    def of(cls, task: MitigationTask) -> Self:
        """Return the model of a task that was prepared."""
        if not isinstance(task, GateFolding | PEA):
            return cls()
        points = task.extrapolated_noise_factors
        return cls(
            factors=list(task.noise_factors),
            extrapolators=list(task.extrapolator),
            points=np.atleast_1d([] if points is None else points).tolist(),
        )

    def __len__(self) -> int:
        """Return how many estimates there are."""
        extrapolated = len(self.extrapolators) * len(self.points) + len(self.factors)
        return 1 + extrapolated if self.extrapolators else 1

    def estimates(self, term: str, means: Means, selected: str) -> tuple[Floats, Floats]:
        """Return what follows from the means of a term, and how it moves with them.

        Args:
            term: In the letters of an observable.
            means: At each factor.
            selected: The extrapolator whose value at 0 the library took. Where moved means bring that out of range, the
                library would take the next one, and so it is done here.

        Returns:
            The value itself; with extrapolation, followed by what each model says at each point, and by the means.
            Then the slopes of all these with the mean at each factor, shape (factors, estimates): 0 for a mean without
            error, NaN if a model cannot be fitted.
        """
        each = np.eye(len(self.factors))
        if not self.extrapolators:
            return means.values, each
        x, at = np.asarray(self.factors, dtype=np.float64), np.array([0.0, *self.points])
        moving = np.flatnonzero(means.errors)
        cases = [means, *(means.moved(number, way) for number in moving.tolist() for way in (1.0, -1.0))]
        found = [_fitted(name, x, at, cases) for name in self.extrapolators]
        tried = np.array([fit[:, 0] for fit in found[list(self.extrapolators).index(selected) :]])
        values = np.column_stack([_first_usable(tried, term), *(fit[:, 1:] for fit in found)])
        slopes = np.zeros((len(x), values.shape[1]))
        with np.errstate(invalid="ignore"):
            slopes[moving] = (values[1::2] - values[2::2]) / (2 * means.errors[moving, None])
        slopes[~np.isfinite(slopes)] = np.nan
        return np.concatenate([values[0], means.values]), np.hstack([slopes, each])


def _first_usable(tried: Floats, term: str) -> Floats:
    """Return for each case the first value in range, and the first of all for the first case, or if none is.

    The library allows 1 beyond what a term can be: -1 to 1, or 0 to 1 if there is nothing but projectors in it.

    Args:
        tried: Shape (models, cases).
        term: In the letters of an observable.
    """
    least = -2 if set(term) & set("XYZ") else -1
    usable = (tried >= least) & (tried <= 2)  # noqa: PLR2004 - 1 beyond
    usable[:, 0] = False
    return np.asarray(tried[np.argmax(usable, axis=0), np.arange(tried.shape[1])])


def can_fit(name: str, factors: Sequence[float]) -> bool:
    """Whether there are as many different noise factors as an extrapolator needs."""
    return name == "fallback" or len(set(factors)) >= NEEDED_FACTORS[name]


def has_residuals(name: str, factors: Sequence[float]) -> bool:
    """Whether an extrapolator's fit need not go through all points, as it has fewer parameters."""
    return name == "fallback" or len(factors) > NEEDED_FACTORS[name]


def _fitted(name: str, x: Floats, at: Floats, cases: Sequence[Means]) -> Floats:
    """Return what the model says at some points in each case, shape (cases, points); the first is the library's own."""
    if name == "fallback":
        lowest = int(np.argmin(x))
        return np.array([np.full(len(at), case.values[lowest]) for case in cases])
    if not can_fit(name, x.tolist()):
        return np.full((len(cases), len(at)), np.nan)
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
            model, start, bounds = extrapolation_model(name, x, y[0], weights[0])
            optimum, _ = curve_fit(model, x, y[0], p0=start, sigma=1 / weights[0], bounds=bounds)
    except (RuntimeError, ValueError, np.linalg.LinAlgError):
        # The library gives no value then either.
        return np.full((len(cases), len(at)), np.nan)
    parameters = _followed(np.tile(optimum, (len(cases), 1)), x, y, weights, decaying=name == "double_exponential")
    with np.errstate(over="ignore"):
        found: Floats = np.sum(parameters[:, None, ::2] * np.exp(parameters[:, None, 1::2] * at[:, None]), axis=2)
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
        # A step may go far too far; it is undone, as its residuals are large.
        with np.errstate(over="ignore", invalid="ignore"):
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
    decays = np.exp(np.clip(rates * x[:, None], -300, 300))
    jacobian = np.empty((*y.shape, parameters.shape[1]))
    jacobian[..., ::2] = decays
    jacobian[..., 1::2] = amplitudes * x[:, None] * decays
    residuals: Floats = (np.sum(amplitudes * decays, axis=2) - y) * weights
    return residuals, jacobian * weights[..., None]
