"""How circuits are to be simulated, as the options of a job and of its executor say.

What may be approximated is a state, of which small Schmidt coefficients are left out (Zhou, Stoudenmire, Waintal, 2020,
https://doi.org/10.1103/PhysRevX.10.041038), or errors, which are twirled over the Pauli operators: `clifford.lowering`.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from qiskit_runtime_server.errors import CircuitTooLargeError, InvalidInputError, UnsupportedOptionError


class Method(StrEnum):
    """What the option `simulator.method` takes."""

    AUTOMATIC = "automatic"
    CLIFFORD = "clifford"
    EXECUTOR = "executor"
    NEAR_CLIFFORD = "near-clifford"
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
        by_default: Which of these the job does not say and its executor does, as a sentence; empty if there are none.
    """

    method: Method = Method.AUTOMATIC
    approximation: Approximation | None = None
    max_truncation_error: float = 0.02
    by_default: str = field(default="", compare=False)

    @contextmanager
    def told_in_refusals(self) -> Iterator[None]:
        """Let refusals of circuits say what the executor chose: the job's options alone do not explain them."""
        try:
            yield
        except (CircuitTooLargeError, UnsupportedOptionError) as error:
            if not self.by_default:
                raise
            raise type(error)(f"{error} {self.by_default}") from error


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
        by_default = self._by_default(default)
        if self.max_truncation_error is not None and approximation is not Approximation.TRUNCATED:
            refusal = (
                "Option simulator.max_truncation_error is for simulator.approximation: truncated, which is not given."
            )
            raise InvalidInputError(f"{refusal} {by_default}".rstrip())
        return Wish(
            method=self.method or default.method or AUTOMATIC.method,
            approximation=approximation,
            max_truncation_error=(
                self.max_truncation_error or default.max_truncation_error or AUTOMATIC.max_truncation_error
            ),
            by_default=by_default,
        )

    def _by_default(self, default: "GivenWish") -> str:
        chosen = {name: (getattr(self, name), getattr(default, name)) for name in type(self).__slots__}
        said = [f"simulator.{name} is {own}" for name, (job, own) in chosen.items() if job is None and own is not None]
        return f"By default of this executor, {' and '.join(said)}." if said else ""
