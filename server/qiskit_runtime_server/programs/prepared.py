"""What the programs have in common: a device, its noise and a source of shots, as a job's options choose them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit

from qiskit_runtime_server.programs.device import isa
from qiskit_runtime_server.programs.device.device import Device, load_device
from qiskit_runtime_server.programs.device.shots import ShotSource
from qiskit_runtime_server.programs.mitigation.measurement_twirling import apply_readout_errors
from qiskit_runtime_server.programs.options.mitigation import Randomizations
from qiskit_runtime_server.programs.options.options import Options
from qiskit_runtime_server.simulation.contract import BitTensor, Parities
from qiskit_runtime_server.simulation.noise import DeviceNoise
from qiskit_runtime_server.simulation.plan import Plan
from qiskit_runtime_server.simulation.seeds import SeedPath
from qiskit_runtime_server.simulation.wish import Wish

BATCH_BITS: Final = 64 * 2**20
"""How many bits are simulated at once, a byte each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PreparedDevice:
    """A device that is ready to take shots.

    Attributes:
        noise: That of the job's own noise model, or else the device's; None for an ideal device.
        wish: How circuits are to be simulated, as the job says, or else its executor's default.
        plans: How the circuits since the last call of `simulated` were run.
    """

    source: ShotSource
    device: Device
    noise: DeviceNoise | None
    options: Options
    wish: Wish
    plans: list[Plan] = field(default_factory=list)

    @classmethod
    def of(cls, source: ShotSource, options: Options, backend_name: str) -> Self:
        """Return the device that a job asks for, ready to take shots.

        Raises:
            JobError: If the device cannot do what the options say, or they contradict each other.
        """
        device = load_device(source.catalog, backend_name, ideal_qubits=source.ideal_qubits)
        isa.check_rep_delay(options, device)
        noise = device.asymmetric_noise if options.asymmetric_readout else device.noise
        if options.noise_model is not None:
            noise = DeviceNoise.from_model(options.noise_model, device.num_qubits)
        wish = options.wish.over(source.default_wish)
        return cls(source=source, device=device, noise=noise, options=options, wish=wish)

    def sample(
        self,
        circuit: QuantumCircuit,
        values: NDArray[np.float64],
        shots: int,
        seeds: SeedPath,
        parities: Sequence[Parities] | None = None,
    ) -> Iterator[tuple[slice, BitTensor]]:
        """Yield the bits of all rows of `values`, some rows at a time, and which rows they are.

        Args:
            circuit: Has classical bits; its qubits are the first ones of the device.
            values: Shape ``(n, k)``, columns in the order of ``circuit.parameters``.
            shots: For every row.
            seeds: Of this circuit; they fix every bit.
            parities: For each row, if they are all that is made of its bits; then these alone are sure to be right.
        """
        return self._sample(self.noise, circuit, values, shots, seeds, parities)

    def sample_twirled(  # noqa: PLR0913, PLR0917 - as in `sample`, and what twirling needs
        self,
        circuit: QuantumCircuit,
        values: NDArray[np.float64],
        randomizations: Randomizations,
        readouts: Mapping[int, NDArray[np.float64]],
        seeds: SeedPath,
        parities: Sequence[Parities] | None = None,
    ) -> Iterator[tuple[slice, BitTensor]]:
        """Yield what `sample` yields, with random flips before the last measurements that the bits do not show.

        Args:
            circuit: As in `sample`.
            values: As in `sample`.
            randomizations: Of every row; all shots of a randomization are neighbours.
            readouts: Of the measured bits, as from `readouts`.
            seeds: As in `sample`.
            parities: As in `sample`.
        """
        noise = None if self.noise is None else self.noise.unread
        for rows, bits in self._sample(noise, circuit, values, randomizations.total, seeds, parities):
            apply_readout_errors(bits, readouts, randomizations.number, seeds.readout.rows(rows))
            yield rows, bits

    def readouts(self, clbits: Mapping[int, int]) -> dict[int, NDArray[np.float64]] | None:
        """Return how each bit is misread, if it is; None if more than that goes wrong when qubits are measured.

        Args:
            clbits: For each measured qubit, the bit that it ends in.
        """
        found = {} if self.noise is None else self.noise.readouts(clbits)
        return None if found is None else {clbits[qubit]: matrix for qubit, matrix in found.items()}

    def simulated(self) -> list[dict[str, object]]:
        """Return how the circuits since the last call were simulated, as a pub's metadata have it.

        Each way stands there once, with the largest of its errors, which is an estimate if one of them is.
        """
        found: dict[tuple[object, ...], Plan] = {}
        for plan in self.plans:
            key = plan.qubits, plan.method, plan.noise, plan.simulator
            known = found.get(key, plan)
            error = max(plan.truncation_error, known.truncation_error)
            found[key] = replace(plan, truncation_error=error, bounded=plan.bounded and known.bounded)
        self.plans.clear()
        return [plan.document() for plan in found.values()]

    def _sample(  # noqa: PLR0913, PLR0917 - as in `sample`, with the noise
        self,
        noise: DeviceNoise | None,
        circuit: QuantumCircuit,
        values: NDArray[np.float64],
        shots: int,
        seeds: SeedPath,
        parities: Sequence[Parities] | None,
    ) -> Iterator[tuple[slice, BitTensor]]:
        step = max(1, BATCH_BITS // max(1, shots * circuit.num_clbits))
        for start in range(0, len(values), step):
            rows = slice(start, min(len(values), start + step))
            bits = self.source.sample(
                circuit,
                values[rows],
                shots,
                device=self.device,
                rep_delay=self.options.rep_delay,
                noise=noise,
                seeds=seeds,
                first=start,
                wish=self.wish,
                parities=None if parities is None else parities[rows],
                report=self.plans.append,
            )
            yield rows, bits
