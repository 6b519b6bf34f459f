"""Calibrations that wander with time, as those of hardware do between one calibration and the next.

Only the documents wander that clients read: jobs are simulated with the device's own errors, so that a result does not
depend on the minute in which its job ran.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from math import exp
from random import Random
from typing import Any, Final

_TIMES: Final = frozenset({"T1", "T2"})
_ERRORS: Final = frozenset({"readout_error", "prob_meas0_prep1", "prob_meas1_prep0", "gate_error"})


def drifted(
    properties: Mapping[str, Any], seed: str, now: datetime, *, deviation: float, every: float
) -> dict[str, Any]:
    """Return a device's properties as they are calibrated at `now`.

    Times and errors are multiplied by factors that are log-normal around 1, one for each gate, one for the times and
    one for the readout errors of each qubit, so that T2 stays below 2 T1. Errors end at 1/2, where nothing is left, or
    where they are already if that is more. Equal seeds, and times in the same period, give equal properties.

    Args:
        properties: As of IBM's API.
        seed: Says how they wander.
        now: With its time zone.
        deviation: Standard deviation of the logarithm of the factors.
        every: How many seconds a calibration lasts.
    """
    period = int(now.timestamp() // every)
    date = datetime.fromtimestamp(period * every, UTC).isoformat()
    draws = Random(f"{seed}/{period}")  # noqa: S311 - nobody is to be kept from guessing

    def factor() -> float:
        return exp(draws.gauss(0.0, deviation))

    return {
        **properties,
        "last_update_date": date,
        "qubits": [_scaled(values, factor(), factor(), date) for values in properties["qubits"]],
        "gates": [
            {**gate, "parameters": _scaled(gate["parameters"], 1.0, factor(), date)} for gate in properties["gates"]
        ],
    }


def _scaled(values: list[dict[str, Any]], times: float, errors: float, date: str) -> list[dict[str, Any]]:
    scaled = []
    for value in values:
        if value["name"] in _TIMES:
            scaled.append({**value, "value": value["value"] * times, "date": date})
        elif value["name"] in _ERRORS:
            most = max(0.5, value["value"])
            scaled.append({**value, "value": min(most, value["value"] * errors), "date": date})
        else:
            scaled.append(value)
    return scaled
