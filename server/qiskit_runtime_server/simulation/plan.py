"""What a plan says: how a part of a circuit is simulated, what that takes, and what it changes.

Distributions differ by their total variation, half the sum of the differences of all probabilities: no event's
probability changes by more (Nielsen, Chuang, section 9.1, https://doi.org/10.1017/CBO9780511976667).
"""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from qiskit_runtime_server.machine import in_words

FRAMES: Final = "clifford-frames"
NEAR_CLIFFORD: Final = "near-clifford"
PROPAGATION: Final = "pauli-propagation"
PRODUCT: Final = "product"


class Noise(StrEnum):
    """What becomes of a device's errors, as results call it."""

    NONE = "none"
    DEVICE = "device"
    TWIRLED = "pauli-twirled"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How a part of a circuit is simulated.

    Attributes:
        qubits: Of the device.
        method: As results call it.
        noise: What becomes of the errors.
        seconds: About how long all rows and shots take.
        memory_bytes: What they take beside their bits.
        truncation_error: By how much truncation may change results: the distribution of the outcomes in total variation
            or, of Pauli propagation, each expectation value of a Pauli operator.
        bounded: Whether that is a bound, and no estimate.
        simulator: As in `Offer`.
    """

    qubits: tuple[int, ...]
    method: str
    noise: Noise
    seconds: float = 0.0
    memory_bytes: int = 0
    truncation_error: float = 0.0
    bounded: bool = True
    simulator: str = ""

    @property
    def approximates(self) -> bool:
        """Whether the distribution of the outcomes is not the one that was asked for."""
        return self.noise is Noise.TWIRLED or self.truncation_error > 0

    def document(self) -> dict[str, object]:
        """Return what a result's metadata say of it."""
        return {
            "qubits": list(self.qubits),
            "method": self.method,
            "noise": str(self.noise),
            "truncation_error": self.truncation_error,
            **({} if self.bounded else {"truncation_error_is": "estimate"}),
            **({"simulator": self.simulator} if self.simulator else {}),
        }

    def __str__(self) -> str:
        """Return the plan as a line of a job's log has it."""
        count = len(self.qubits)
        by = f" on {self.simulator}" if self.simulator else ""
        what = f"{count} qubit{'s' * (count != 1)} by {self.method}{by}"
        errors = ", errors twirled over the Pauli operators" if self.noise is Noise.TWIRLED else ""
        if self.truncation_error > 0:
            kind = "at most" if self.bounded else "about"
            errors += f", truncated, which may change results by {kind} {self.truncation_error:.2g}"
        most = "at most" if self.method == PROPAGATION else "about"
        time = "for a time that is not known" if math.isinf(self.seconds) else f"{most} {self.seconds:.2g} s"
        return f"{what}{errors}: {time}, {in_words(self.memory_bytes)}"
