"""Where the qubits of a device are drawn, and in which colour its couplings.

Devices that say where their qubits are (`coords`) are drawn so. Large ones that do not are heavy-hex lattices whose
qubits are numbered along rows; all others are drawn so that distances are about those along couplings, by stress
majorization (Gansner, Koren, North, Graph Drawing by Stress Majorization, https://doi.org/10.1007/978-3-540-31843-9_25).
"""

import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

Edge = tuple[int, int]
Place = tuple[float, float]

MOST_QUBITS: Final = 512
CLASSES: Final = 5
_STEP: Final = 26.0
_MARGIN: Final = 16.0
_MOST_BY_STRESS: Final = 48
_ROUNDS: Final = 200
_SPREAD: Final = 1.6
# The error that calibrations give a coupling that does not work.
_BROKEN: Final = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnQubit:
    """A qubit, and where it is."""

    number: int
    x: float
    y: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DrawnCoupling:
    """A coupling, from where to where, and what is known of its gate.

    Attributes:
        error: Of the two-qubit gate; None if unknown.
        colour: Class of its error, 0 the least; None if unknown, and if nothing is left of a state behind it.
    """

    one: DrawnQubit
    other: DrawnQubit
    gate: str
    error: float | None
    colour: int | None

    @property
    def broken(self) -> bool:
        """Whether its calibration says that it is."""
        return self.error is not None and self.error >= _BROKEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing:
    """A map of a device.

    Attributes:
        bounds: The least and largest error of each class that has couplings, by class.
    """

    width: float
    height: float
    qubits: Sequence[DrawnQubit]
    couplings: Sequence[DrawnCoupling]
    bounds: Mapping[int, tuple[float, float]]


def drawing(configuration: Mapping[str, Any], errors: Mapping[Edge, tuple[str, float]]) -> Drawing | None:
    """Return the map of a device; None if all its qubits are coupled, or they are more than can be drawn.

    Args:
        configuration: Its document.
        errors: Gate and error of each coupling, by its qubits in ascending order.
    """
    number, pairs = int(configuration["n_qubits"]), configuration.get("coupling_map")
    if not pairs or number > MOST_QUBITS:
        return None
    edges = tuple(sorted({(min(pair), max(pair)) for pair in pairs}))
    given = configuration.get("coords")
    places = _given_places(given) if given and len(given) == number else places_of(number, edges)
    left, top = min(x for x, _ in places), min(y for _, y in places)
    qubits = [
        DrawnQubit(number=index, x=(x - left) * _STEP + _MARGIN, y=(y - top) * _STEP + _MARGIN)
        for index, (x, y) in enumerate(places)
    ]
    known = sorted(errors[edge][1] for edge in edges if edge in errors and errors[edge][1] < _BROKEN)
    couplings = []
    for one, other in edges:
        gate, error = errors.get((one, other), ("", None))
        colour = None
        if error is not None and error < _BROKEN:
            colour = min(CLASSES - 1, CLASSES * known.index(error) // len(known))
        couplings.append(DrawnCoupling(one=qubits[one], other=qubits[other], gate=gate, error=error, colour=colour))
    return Drawing(
        width=max(qubit.x for qubit in qubits) + _MARGIN,
        height=max(qubit.y for qubit in qubits) + _MARGIN,
        qubits=qubits,
        couplings=couplings,
        bounds=_bounds(couplings),
    )


def _bounds(couplings: Sequence[DrawnCoupling]) -> dict[int, tuple[float, float]]:
    found: dict[int, list[float]] = {}
    for coupling in couplings:
        if coupling.colour is not None and coupling.error is not None:
            found.setdefault(coupling.colour, []).append(coupling.error)
    return {colour: (min(values), max(values)) for colour, values in sorted(found.items())}


def _given_places(coords: Sequence[Sequence[float]]) -> list[Place]:
    """Return the places that a document gives as row and column of each qubit."""
    return (
        [(float(x), float(y)) for y, x in coords]
        if _is_row_first(coords)
        else [(float(x), float(y)) for x, y in coords]
    )


def _is_row_first(coords: Sequence[Sequence[float]]) -> bool:
    return max(first for first, _ in coords) <= max(second for _, second in coords)


@lru_cache(maxsize=64)
def places_of(number: int, edges: tuple[Edge, ...]) -> tuple[Place, ...]:
    """Return a place for each qubit, about one apart from those that it is coupled with."""
    if number > _MOST_BY_STRESS and (rows := _by_rows(number, edges)) is not None:
        return rows
    return _by_stress(number, edges) if number <= _MOST_BY_STRESS else _on_a_circle(number)


def _by_rows(number: int, edges: tuple[Edge, ...]) -> tuple[Place, ...] | None:
    """Return places for qubits that are numbered along rows, with single ones between rows; None if they are not."""
    neighbours = _neighbours(number, edges)
    places: dict[int, Place] = {}
    start = 0
    while start < number:
        end = start
        while end + 1 < number and end + 1 in neighbours[end]:
            end += 1
        # The column is that of a neighbour in the row above, if one is known.
        above = [
            (places[other][0] - (qubit - start), places[other][1] + 1)
            for qubit in range(start, end + 1)
            for other in neighbours[qubit]
            if other in places
        ]
        if above:
            left, y = above[0][0], max(row for _, row in above)
        else:
            # A coupling of the row is missing: it goes on beside the last qubit.
            left, y = (places[start - 1][0] + 1, places[start - 1][1]) if start else (0.0, 0.0)
        for qubit in range(start, end + 1):
            places[qubit] = (left + qubit - start, y)
        start = end + 1
    return tuple(places[qubit] for qubit in range(number)) if len(set(places.values())) == number else None


def _by_stress(number: int, edges: tuple[Edge, ...]) -> tuple[Place, ...]:
    distances = _distances(number, edges)
    places = _spread_out(distances)
    for _ in range(_ROUNDS):
        for one in range(number):
            x_sum = y_sum = weights = 0.0
            x, y = places[one]
            for other in range(number):
                if other == one:
                    continue
                wanted = distances[one][other]
                other_x, other_y = places[other]
                apart = math.hypot(x - other_x, y - other_y) or 1e-9
                weight = 1 / wanted**2
                x_sum += weight * (other_x + wanted * (x - other_x) / apart)
                y_sum += weight * (other_y + wanted * (y - other_y) / apart)
                weights += weight
            if weights:
                places[one] = (x_sum / weights, y_sum / weights)
    return tuple(_upright(places))


def _spread_out(distances: list[list[float]]) -> list[Place]:
    """Return places to begin with, of which none is past another: along two long ways that cross each other."""
    qubits = range(len(distances))
    left = max(qubits, key=lambda qubit: distances[0][qubit])
    right = max(qubits, key=lambda qubit: distances[left][qubit])
    top = max(qubits, key=lambda qubit: min(distances[left][qubit], distances[right][qubit]))
    bottom = max(qubits, key=lambda qubit: distances[top][qubit])
    # Those at one place could not get away from each other.
    return [
        (
            distances[left][qubit] - distances[right][qubit] + qubit / 1000,
            distances[top][qubit] - distances[bottom][qubit] + qubit**2 / 1e5,
        )
        for qubit in qubits
    ]


def _upright(places: list[Place]) -> list[Place]:
    """Return the places turned so that they are as wide and as low as they can be: along their principal axis."""
    middle = [sum(place[axis] for place in places) / len(places) for axis in (0, 1)]
    moved = [(x - middle[0], y - middle[1]) for x, y in places]
    angle = math.atan2(2 * sum(x * y for x, y in moved), sum(x * x - y * y for x, y in moved)) / 2
    cosine, sine = math.cos(angle), math.sin(angle)
    return [(_SPREAD * (x * cosine + y * sine), _SPREAD * (y * cosine - x * sine)) for x, y in moved]


def _on_a_circle(number: int) -> tuple[Place, ...]:
    radius = max(1.0, number / (2 * math.pi))
    # A little spiral, or those opposite each other could not pass.
    return tuple(
        (radius * (1 + index / 100) * math.cos(turn), radius * math.sin(turn))
        for index in range(number)
        for turn in [2 * math.pi * index / number]
    )


def _distances(number: int, edges: tuple[Edge, ...]) -> list[list[float]]:
    """Return how many couplings are between any two qubits; those in different parts count as far."""
    neighbours, far = _neighbours(number, edges), float(number)
    found = []
    for start in range(number):
        row, waiting = {start: 0.0}, deque([start])
        while waiting:
            qubit = waiting.popleft()
            for other in neighbours[qubit]:
                if other not in row:
                    row[other] = row[qubit] + 1
                    waiting.append(other)
        found.append([row.get(other, far) for other in range(number)])
    return found


def _neighbours(number: int, edges: tuple[Edge, ...]) -> list[set[int]]:
    neighbours: list[set[int]] = [set() for _ in range(number)]
    for one, other in edges:
        neighbours[one].add(other)
        neighbours[other].add(one)
    return neighbours
