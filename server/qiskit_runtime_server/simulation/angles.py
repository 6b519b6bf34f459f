"""Angles of gates: expressions in a circuit's parameters, evaluated for many parameter values at once.

Transpilers leave sums and multiples of parameters, as from the decomposition of rotations (Barenco et al., 1995,
https://doi.org/10.1103/PhysRevA.52.3457), so most expressions are linear and cost one product of matrices:

    2 * theta + pi   at theta = 0.1 and 0.2:   [[pi]] + [[0.1], [0.2]] @ [[2]]
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import CircuitError, Parameter, ParameterExpression

from qiskit_runtime_server.errors import InvalidInputError


def evaluated(
    expressions: Sequence[ParameterExpression], parameters: Iterable[Parameter], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the values of `expressions`, shape ``(n, len(expressions))``.

    Args:
        expressions: In `parameters`.
        parameters: Name the columns of `values`.
        values: Shape ``(n, len(parameters))``.

    Raises:
        InvalidInputError: If an expression has no real, finite value.
    """
    columns = {parameter: i for i, parameter in enumerate(parameters)}
    result = np.empty((len(values), len(expressions)))
    for i, expression in enumerate(expressions):
        result[:, i] = _evaluated(expression, columns, values)
    if not np.isfinite(result).all():
        raise InvalidInputError("An angle of a circuit has no finite value.")
    return result


def _evaluated(
    expression: ParameterExpression, columns: Mapping[Parameter, int], values: NDArray[np.float64]
) -> NDArray[np.float64]:
    if isinstance(expression, Parameter):
        return values[:, columns[expression]]
    used = list(expression.parameters)
    table = values[:, [columns[parameter] for parameter in used]]
    slopes = _slopes(expression, used)
    if slopes is not None:
        # Transpilers leave sums like theta + pi; thousands of them are evaluated at once here.
        return _value(expression, used, np.zeros(len(used))) + table @ slopes
    rows, places = np.unique(table, axis=0, return_inverse=True)
    return np.array([_value(expression, used, row) for row in rows])[places.ravel()]


def _slopes(expression: ParameterExpression, parameters: Sequence[Parameter]) -> NDArray[np.float64] | None:
    """Return the derivatives of `expression` if it is a linear one."""
    try:
        slopes = [expression.gradient(parameter) for parameter in parameters]
    except RuntimeError:  # sign has none
        return None
    return np.array(slopes, dtype=np.float64) if all(isinstance(slope, int | float) for slope in slopes) else None


def _value(expression: ParameterExpression, parameters: Sequence[Parameter], row: NDArray[np.float64]) -> float:
    try:
        return float(expression.bind(dict(zip(parameters, row.tolist(), strict=True))))
    except (TypeError, ValueError, ZeroDivisionError, CircuitError) as error:
        raise InvalidInputError(f"The angle {expression} has no value for {row.tolist()}: {error}") from error
