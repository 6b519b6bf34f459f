"""What a sampler or estimator job may do against noise, as its options say it: twirling, decoupling, mitigation."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

from qiskit_ibm_runtime.executor.calculate_twirling_shots import calculate_twirling_shots
from qiskit_ibm_runtime.executor_estimator.pec import calculate_pec_twirling_shots
from qiskit_ibm_runtime.results import LayerError

from qiskit_runtime_server.errors import UnsupportedOptionError

Auto = Literal["auto"]
AUTO: Final[Auto] = "auto"


@dataclass(frozen=True, slots=True)
class Randomizations:
    """How the shots of a parameter set, or of a basis measured for it, are shared out.

    Attributes:
        number: How many randomizations are drawn; 1 where nothing is random.
        shots: Of each.
    """

    number: int
    shots: int

    @property
    def total(self) -> int:
        """The shots of all together."""
        return self.number * self.shots


@dataclass(frozen=True, slots=True, kw_only=True)
class Twirling:
    """Random gates that undo each other.

    Attributes:
        enable_gates: Around layers of two-qubit gates; None leaves it to the program and its resilience level.
        enable_measure: Before measurements; None as above.
        strategy: Which qubits take part in a layer.
    """

    enable_gates: bool | None = None
    enable_measure: bool | None = None
    num_randomizations: int | Auto = AUTO
    shots_per_randomization: int | Auto = AUTO
    strategy: str = "active-accum"

    @property
    def enabled(self) -> bool:
        """Whether anything is twirled."""
        return bool(self.enable_gates or self.enable_measure)

    @property
    def product(self) -> int | None:
        """The shots that the two counts make together; None unless both are set."""
        if AUTO in {self.num_randomizations, self.shots_per_randomization}:
            return None
        return int(self.num_randomizations) * int(self.shots_per_randomization)

    def randomizations(self, shots: int, *, pub_says: bool, pec: bool = False) -> Randomizations:
        """Return how many randomizations there are, and how many shots each takes.

        Args:
            shots: Are reached or exceeded, unless both counts are set and the pub leaves them the choice.
            pub_says: Whether the pub itself asks for `shots`.
            pec: Whether errors are cancelled, which takes more randomizations.
        """
        if pub_says and self.product is not None:
            each = int(self.shots_per_randomization)
            return Randomizations(math.ceil(shots / each), each)
        calculate = calculate_pec_twirling_shots if pec else calculate_twirling_shots
        return Randomizations(*calculate(shots, self.num_randomizations, self.shots_per_randomization))


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoupling:
    """Pulses on idle qubits."""

    enable: bool = False
    sequence_type: str = "XX"
    extra_slack_distribution: str = "middle"
    scheduling_method: str = "alap"
    skip_reset_qubits: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Zne:
    """How noise is amplified, and extrapolated to none."""

    amplifier: str = "gate_folding"
    noise_factors: Sequence[float] = (1, 3, 5)
    extrapolator: str | Sequence[str] = ("exponential", "linear")
    extrapolated_noise_factors: Sequence[float] | Auto = AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Pec:
    """How errors are cancelled; `max_overhead` None sets no limit."""

    max_overhead: float | None = 100.0
    noise_gain: float | Auto = AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadoutLearning:
    """How often the readout errors of TREX are measured."""

    num_randomizations: int = 32
    shots_per_randomization: int | Auto = AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerLearning:
    """How the errors of layers are learned; `max_layers_to_learn` None sets no limit."""

    max_layers_to_learn: int | None = 4
    shots_per_randomization: int = 128
    num_randomizations: int = 32
    layer_pair_depths: Sequence[int] = (0, 1, 2, 4, 16, 32)


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """Whether a slow pulse has to flip every bit, or else the shot is dropped.

    Attributes:
        strategy: "node" drops a shot if any bit stays, "edge" only if two neighbours do.
    """

    enable: bool = False
    x_pulse_type: str = "xslow"
    strategy: str = "node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Checks:
    """The checks before and after the circuits that errors are learned with."""

    pre: Check = field(default_factory=Check)
    post: Check = field(default_factory=Check)


@dataclass(frozen=True, slots=True, kw_only=True)
class Resilience:
    """The estimator's mitigation.

    Attributes:
        level: Sets what is None below; None itself is level 1 for pubs that it can treat, and 0 for others.
        layer_noise_model: What is known of the layers; None has it learned.
    """

    level: int | None = None
    measure_mitigation: bool | None = None
    measure_noise_learning: ReadoutLearning = field(default_factory=ReadoutLearning)
    zne_mitigation: bool | None = None
    zne: Zne = field(default_factory=Zne)
    pec_mitigation: bool | None = None
    pec: Pec = field(default_factory=Pec)
    layer_noise_learning: LayerLearning = field(default_factory=LayerLearning)
    layer_noise_model: Sequence[LayerError] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Methods:
    """What is done for one pub, after everything was decided.

    Attributes:
        level: The resilience level that set what the options leave open.
    """

    level: int = 0
    twirl_gates: bool = False
    twirl_measure: bool = False
    trex: bool = False
    zne: bool = False
    pec: bool = False
    pea: bool = False
    decouple: bool = False

    @property
    def twirls(self) -> bool:
        """Whether there are randomizations."""
        return self.twirl_gates or self.twirl_measure

    @property
    def needs_layers(self) -> bool:
        """Whether the errors of layers must be known."""
        return self.pec or self.pea

    @property
    def rewrites(self) -> bool:
        """Whether circuits change beyond their last measurement, so that a samplex has to draw them."""
        return self.twirl_gates or self.zne or self.pec

    def names(self) -> str:
        """Return what is done, for messages."""
        words = {
            "twirling.enable_gates": self.twirl_gates,
            "twirling.enable_measure": self.twirl_measure,
            "resilience.measure_mitigation": self.trex,
            "resilience.zne_mitigation": self.zne,
            "resilience.pec_mitigation": self.pec,
            "dynamical_decoupling.enable": self.decouple,
        }
        return ", ".join(word for word, used in words.items() if used)


def decide(twirling: Twirling, decoupling: Decoupling, resilience: Resilience, level: int) -> Methods:
    """Return what is done at a level, which fills in what the options leave open.

    Raises:
        UnsupportedOptionError: If two of the options cannot be had together; the message names them.
    """
    zne = _first(resilience.zne_mitigation, level == 2 and not resilience.pec_mitigation)  # noqa: PLR2004 - a level
    pec = bool(resilience.pec_mitigation)
    pea = zne and resilience.zne.amplifier == "pea"
    trex = _first(resilience.measure_mitigation, level > 0)
    if resilience.measure_mitigation is None and resilience.level is None and twirling.enable_measure is False:
        # Nobody asked for mitigation, and somebody for no twirling.
        trex = False
    if zne and pec:
        raise UnsupportedOptionError(
            "Options resilience.zne_mitigation and resilience.pec_mitigation are not supported together."
        )
    layered = "resilience.pec_mitigation" if pec else "resilience.zne.amplifier: pea"
    _check_needed(pec or pea, layered, "twirling.enable_gates", twirling.enable_gates)
    _check_needed(pec or pea, layered, "twirling.enable_measure", twirling.enable_measure)
    _check_needed(trex, "resilience.measure_mitigation", "twirling.enable_measure", twirling.enable_measure)
    return Methods(
        level=level,
        twirl_gates=pec or pea or _first(twirling.enable_gates, level == 2),  # noqa: PLR2004 - a level
        twirl_measure=pec or pea or trex or _first(twirling.enable_measure, level > 0),
        trex=trex,
        zne=zne,
        pec=pec,
        pea=pea,
        decouple=decoupling.enable,
    )


def _first(value: bool | None, default: bool) -> bool:  # noqa: FBT001 - an option and what it is by default
    return default if value is None else value


def _check_needed(used: bool, one: str, other: str, value: bool | None) -> None:  # noqa: FBT001 - two switches
    if used and value is False:
        raise UnsupportedOptionError(f"Option {one} is not supported with {other}: false, as it is made of it.")
