"""Where trajectories of a circuit may part: its errors and its measurements, and which way each shot goes.

Of an error's operators K the probability of each is at least a number that does not depend on the state: that of a
unitary is its own, that of another one is the least singular value of K, squared. A draw below their sum chooses
without a look at the state; only the rest needs norms (Isakov et al., 2021, https://arxiv.org/abs/2111.02396; of the
method: Moelmer, Castin, Dalibard, 1993, https://doi.org/10.1364/JOSAB.10.000524).

    depolarisation           I, X, Y, Z with probabilities of their own; no draw needs norms
    amplitude damping, p     K0 with 1 - p at least; a draw above that needs norms
"""

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from qiskit_runtime_server.executors.qsim.amplitudes import Amplitudes, Floats, reduced
from qiskit_runtime_server.simulation.statevector.channels import Channel
from qiskit_runtime_server.simulation.statevector.state_port import Matrices

# What a sum of probabilities may lack by rounding.
_TINY: Final = 1e-12


@dataclass(frozen=True, slots=True)
class Site:
    """An error on some qubits.

    Attributes:
        qubits: The first one is the lowest bit of a matrix's index.
        operators: Shape ``(k, d, d)``: unitary ones with the roots of their probabilities, then Kraus operators.
        matrices: The same without these roots; None for the identity.
        bounds: How probable each is at least, shape ``(k,)``.
        usual: The number of the one that is most likely.
        num_unitary: How many are unitary.
        needs_norms: Whether some draws choose by norms.
    """

    qubits: tuple[int, ...]
    operators: Matrices
    matrices: tuple[Matrices | None, ...]
    bounds: Floats
    usual: int
    num_unitary: int
    needs_norms: bool

    @classmethod
    def of(cls, channel: Channel, qubits: tuple[int, ...]) -> "Site":
        """Return an error as a site."""
        rest = 1 - channel.probabilities.sum()
        residual = channel.residual * np.sqrt(max(rest, 0.0))
        least = [np.linalg.svd(operator, compute_uv=False)[-1] ** 2 for operator in residual]
        bounds = np.array([*channel.probabilities, *least])
        weighted = channel.unitaries * np.sqrt(channel.probabilities)[:, None, None]
        return cls(
            qubits=qubits,
            operators=np.concatenate([weighted, residual]),
            matrices=(None, *channel.unitaries[1:], *residual),
            bounds=bounds,
            usual=int(np.argmax(bounds)),
            num_unitary=len(channel.unitaries),
            needs_norms=bool(bounds.sum() < 1 - _TINY),
        )

    def choices(self, draws: Floats) -> NDArray[np.int16]:
        """Return the number of the operator for each draw in [0, 1); their count where the draw needs norms."""
        ends = np.cumsum(self.bounds)
        found = np.searchsorted(ends, draws, side="right")
        most = len(ends) if self.needs_norms else int(np.flatnonzero(self.bounds)[-1])
        return np.minimum(found, most).astype(np.int16)

    def by_norms(self, state: Amplitudes, draw: float) -> tuple[int, float]:
        """Return the number of the operator for a draw above all bounds, and which part of the norm squared it leaves.

        Args:
            state: Of any norm.
            draw: Not below the sum of the bounds.
        """
        density = reduced(state, self.qubits)
        norms = np.einsum("iab,bc,iac->i", self.operators, density, self.operators.conj()).real / np.trace(density).real
        left = np.maximum(norms - self.bounds, 0.0)
        ends = np.cumsum(left)
        point = (draw - self.bounds.sum()) / (1 - self.bounds.sum()) * ends[-1]
        # Rounding must not choose one of probability 0 at the end.
        last = int(np.searchsorted(ends, ends[-1]))
        choice = min(int(np.searchsorted(ends, point, side="right")), last)
        return choice, float(norms[choice])

    def shrinks(self, choice: int) -> float:
        """Return to which part an operator may take a state's norm squared, at least; 1 for a unitary one."""
        return 1.0 if choice < self.num_unitary else float(self.bounds[choice])
