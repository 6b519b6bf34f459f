"""How circuits are to be simulated, as the options of a job and of its executor say.

What may be approximated is a state, of which small Schmidt coefficients are left out (Zhou, Stoudenmire, Waintal, 2020,
https://doi.org/10.1103/PhysRevX.10.041038), or errors, which are twirled over the Pauli operators: `clifford.lowering`.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from qiskit_runtime_server.errors import InvalidInputError


class Method(StrEnum):
    """What the option `simulator.method` takes."""

    AUTOMATIC = "automatic"
    CLIFFORD = "clifford"
    EXECUTOR = "executor"
    PROPAGATION = "pauli-propagation"


class Approximation(StrEnum):
    """What the option `simulator.approximation` takes."""

    NONE = "none"
    TWIRLED_NOISE = "twirled-noise"
    TRUNCATED = "truncated"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """How a job is to be simulated.

    Attributes:
        method: Which methods may be taken for parts of more than one qubit.
        approximation: None: errors are twirled only where nothing else can run the circuit.
        max_truncation_error: The most that what is left out may change a result, where leaving out is allowed.
    """

    method: Method = Method.AUTOMATIC
    approximation: Approximation | None = None
    max_truncation_error: float = 0.02


AUTOMATIC: Final = Wish()
"""What jobs without options wish."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GivenWish:
    """What options say of a wish; None where they say nothing. The attributes are those of `Wish`."""

    method: Method | None = None
    approximation: Approximation | None = None
    max_truncation_error: float | None = None

    def over(self, default: "GivenWish") -> Wish:
        """Return the wish of a job that says this, on an executor whose default is used for what it does not say.

        Raises:
            InvalidInputError: If the job has a truncation error, and nothing may be truncated.
        """
        approximation = self.approximation or default.approximation
        if self.max_truncation_error is not None and approximation is not Approximation.TRUNCATED:
            raise InvalidInputError(
                "Option simulator.max_truncation_error is for simulator.approximation: truncated, which is not given."
            )
        return Wish(
            method=self.method or default.method or AUTOMATIC.method,
            approximation=approximation,
            max_truncation_error=(
                self.max_truncation_error or default.max_truncation_error or AUTOMATIC.max_truncation_error
            ),
        )
