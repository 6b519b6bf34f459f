"""Every option of the server-side programs does what the table of options says."""

from collections.abc import Callable, Mapping
from typing import Any, get_args

import numpy as np
import pytest
from qiskit.circuit import QuantumCircuit
from qiskit.primitives import PrimitiveResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_ibm_runtime.options_models.zne import ExtrapolatorType

from kit.quantum.circuits import bell, idling
from kit.quantum.pauli_noise import known_layer, misreading, pauli_device, symmetric
from kit.quantum.recording_executor import RecordingExecutor
from kit.server.option_rows import proves
from qiskit_runtime_server.errors import InvalidInputError, JobError, NotIsaError, UnsupportedOptionError

SAMPLER = "sampler"
ESTIMATOR = "estimator"
PRIMITIVES = (SAMPLER, ESTIMATOR)
RATES = symmetric({"XX": 0.01, "IZ": 0.02, "ZI": 0.01})

Run = Callable[..., "Outcome"]


class Outcome:
    """A result, and what the executor did for it."""

    def __init__(self, result: PrimitiveResult[Any], executor: RecordingExecutor) -> None:
        self.executor = executor
        self.metadata: Mapping[str, Any] = result.metadata
        self.pub = result[0]
        self.data = self.pub.data

    @property
    def counts(self) -> dict[str, int]:
        counts: dict[str, int] = self.data.meas.get_counts()
        return counts

    @property
    def value(self) -> float:
        return float(self.data.evs)


def nested(name: str, *, value: object) -> dict[str, Any]:
    *sections, option = name.split(".")
    options: dict[str, Any] = {option: value}
    for section in reversed(sections):
        options = {section: options}
    return options


def merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Return nested options made of dotted names."""
    options: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            *sections, last = name.split(".")
            place = options
            for section in sections:
                place = place.setdefault(section, {})
            place[last] = value
    return options


def run(program: str, circuit: QuantumCircuit | None = None, **changes: Any) -> Outcome:
    """Run one pub on fake_manila; options by their dotted names, with __ for the dots."""
    executor = RecordingExecutor()
    backend = changes.pop("backend", "fake_manila")
    observable = changes.pop("observable", "IIIZZ")
    options = merged({"simulator.seed_simulator": 3}, {name.replace("__", "."): v for name, v in changes.items()})
    circuit = idling() if circuit is None else circuit
    if program == SAMPLER:
        measured = circuit.copy()
        measured.measure_all()
        return Outcome(executor.execute_sampler([SamplerPub.coerce(measured)], options, backend), executor)
    pub = EstimatorPub.coerce((circuit, observable))
    return Outcome(executor.execute_estimator([pub], options, backend), executor)


def each(option: str, note: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Put a row for both primitives, and run the test with both."""

    def register(test: Callable[..., None]) -> Callable[..., None]:
        for program in PRIMITIVES:
            test = proves(program, option, note)(test)
        both: Callable[..., None] = pytest.mark.parametrize("program", PRIMITIVES)(test)
        return both

    return register


class TestBoth:
    @each("default_shots", "for pubs without shots or precision")
    def test_default_shots(self, program: str) -> None:
        assert run(program, default_shots=640).pub.metadata["shots"] == 640

    @each("simulator.noise_model", "takes the place of the device's noise")
    def test_noise_model(self, program: str) -> None:
        outcome = run(program, QuantumCircuit(5), simulator__noise_model=misreading(1, 1), **LEVEL_0[program])
        assert outcome.counts == {"11111": 4096} if program == SAMPLER else outcome.value == 1
        odd = run(program, QuantumCircuit(5), simulator__noise_model=misreading(0, 0), **LEVEL_0[program])
        assert odd.counts == {"00000": 4096} if program == SAMPLER else odd.value == 1

    @each("simulator.seed_simulator", "fixes every bit of the result")
    def test_seed_simulator(self, program: str) -> None:
        first, again, other = (run(program, bell(), simulator__seed_simulator=seed) for seed in (5, 5, 6))
        results = [o.counts if program == SAMPLER else o.value for o in (first, again, other)]
        assert results[0] == results[1] != results[2]

    @each("simulator.coupling_map", "restricts circuits further than the device does")
    def test_coupling_map(self, program: str) -> None:
        run(program, bell(), simulator__coupling_map=[[0, 1]])
        with pytest.raises(NotIsaError, match=r"simulator\.coupling_map"):
            run(program, bell(), simulator__coupling_map=[[1, 2]])

    @each("simulator.basis_gates", "restricts circuits further than the device does")
    def test_basis_gates(self, program: str) -> None:
        run(program, bell(), simulator__basis_gates=["rz", "sx", "cx"])
        with pytest.raises(NotIsaError, match=r"simulator\.basis_gates"):
            run(program, bell(), simulator__basis_gates=["rz", "cx"])

    @each("execution.init_qubits", "`true`; `false` is refused")
    def test_init_qubits(self, program: str) -> None:
        run(program, execution__init_qubits=True)
        with pytest.raises(UnsupportedOptionError, match=r"execution\.init_qubits: false"):
            run(program, execution__init_qubits=False)

    @each("execution.rep_delay", "checked against the device's range; a simulation needs no pause")
    def test_rep_delay(self, program: str) -> None:
        run(program, backend="fake_sherbrooke", circuit=QuantumCircuit(5), execution__rep_delay=0.00025)
        with pytest.raises(InvalidInputError, match=r"execution\.rep_delay"):
            run(program, backend="fake_sherbrooke", circuit=QuantumCircuit(5), execution__rep_delay=10.0)

    @each(
        "experimental",
        "`noise: {readout: asymmetric}`: 0 and 1 are misread as often as calibrated;"
        " `simulator: {method, approximation, max_truncation_error}`: how"
        " [circuits are simulated](../explanation/methods.md); nothing else",
    )
    def test_experimental(self, program: str) -> None:
        # The client merges what it has a section for with it.
        for where in ("simulator", "experimental__simulator"):
            outcome = run(program, bell(), **{f"{where}__method": "clifford"})
            (way,) = [way for way in outcome.pub.metadata["simulation"] if way["method"] != "product"]
            assert (way["method"], way["noise"], set(way["qubits"])) == ("clifford-frames", "pauli-twirled", {0, 1})
            with pytest.raises(UnsupportedOptionError, match="approximation is none"):
                run(program, bell(), **{f"{where}__method": "clifford", f"{where}__approximation": "none"})
            with pytest.raises(InvalidInputError, match=r"simulator\.method must be one of automatic"):
                run(program, bell(), **{f"{where}__method": "warp"})
        run(program, experimental={})
        options = {**LEVEL_0[program], "observable": "IIIIZ"}
        symmetric, asymmetric = (
            run(program, QuantumCircuit(5), **options, experimental__noise__readout=kind)
            for kind in ("symmetric", "asymmetric")
        )
        shares = [
            sum(n for bits, n in outcome.counts.items() if bits[-1] == "1") / 4096
            if program == SAMPLER
            else (1 - outcome.value) / 2
            for outcome in (symmetric, asymmetric)
        ]
        # prob_meas1_prep0 of fake_manila's qubit 0, and its mean with prob_meas0_prep1; five standard deviations.
        assert shares == pytest.approx([0.0353, 0.0158], abs=5 * 0.003)
        with pytest.raises(UnsupportedOptionError, match=r"experimental\.warp is unknown"):
            run(program, experimental={"warp": 9})


LEVEL_0: Mapping[str, Mapping[str, Any]] = {SAMPLER: {}, ESTIMATOR: {"resilience_level": 0}}


class TestDecoupling:
    @each("dynamical_decoupling.enable", "pulses on idle qubits; refused for circuits with control flow")
    def test_enable(self, program: str) -> None:
        plain, decoupled = (run(program, dynamical_decoupling__enable=on) for on in (False, True))
        assert plain.executor.count("delay") == 0
        assert decoupled.executor.count("delay") > 0
        assert decoupled.executor.count("x") > plain.executor.count("x")
        dynamic = QuantumCircuit(5, 1)
        with dynamic.if_test((dynamic.clbits[0], 1)):
            dynamic.x(0)
        with pytest.raises(UnsupportedOptionError, match=r"dynamical_decoupling\.enable"):
            run(program, dynamic, dynamical_decoupling__enable=True)

    @each("dynamical_decoupling.sequence_type", "each of `XX`, `XpXm`, `XY4`")
    def test_sequence_type(self, program: str) -> None:
        pulses = {}
        for sequence in ("XX", "XpXm", "XY4"):
            executor = run(
                program, dynamical_decoupling__enable=True, dynamical_decoupling__sequence_type=sequence
            ).executor
            pulses[sequence] = (executor.count("x"), executor.count("rz"))
        assert pulses["XX"][0] == pulses["XpXm"][0] < pulses["XY4"][0]
        assert pulses["XX"][1] < pulses["XpXm"][1] < pulses["XY4"][1]

    @each("dynamical_decoupling.extra_slack_distribution", "where rounding leaves time over")
    def test_extra_slack_distribution(self, program: str) -> None:
        # Five gates take a time that cannot be divided by four pulses.
        circuit = QuantumCircuit(5)
        circuit.x(0)
        circuit.barrier()
        for _ in range(5):
            circuit.cx(1, 2)
        circuit.barrier()
        circuit.cx(0, 1)
        xy4 = {"dynamical_decoupling__sequence_type": "XY4"}
        assert len(delays(program, "extra_slack_distribution", ("middle", "edges"), circuit, **xy4)) == 2

    @each("dynamical_decoupling.scheduling_method", "`alap` or `asap`")
    def test_scheduling_method(self, program: str) -> None:
        circuit = QuantumCircuit(5)
        circuit.x(0)
        circuit.cx(1, 2)
        circuit.cx(0, 1)
        assert len(delays(program, "scheduling_method", ("alap", "asap"), circuit)) == 2

    @each("dynamical_decoupling.skip_reset_qubits", "no pulses on qubits that were not touched since their reset")
    def test_skip_reset_qubits(self, program: str) -> None:
        circuit = QuantumCircuit(5)
        for _ in range(3):
            circuit.cx(1, 2)
        circuit.cx(0, 1)
        options = {"dynamical_decoupling__enable": True}
        all_of_them = run(program, circuit, **options).executor.count("x")
        fewer = run(program, circuit, **options, dynamical_decoupling__skip_reset_qubits=True).executor.count("x")
        assert fewer < all_of_them


def delays(
    program: str, option: str, values: tuple[str, ...], circuit: QuantumCircuit | None = None, **others: object
) -> set[str]:
    """Return the distinct instructions that the values of an option lead to."""
    found = set()
    for value in values:
        options = {"dynamical_decoupling__enable": True, f"dynamical_decoupling__{option}": value, **others}
        tasks = run(program, circuit, **options).executor.tasks
        found.add(str([(part.name, part.operation.params) for task in tasks for part in task.circuit.data]))
    return found


class TestTwirling:
    @each("twirling.enable_gates", "random Pauli gates around layers of two-qubit gates")
    def test_enable_gates(self, program: str) -> None:
        twirled = run(program, bell(), twirling__enable_gates=True)
        assert max(len(task.parameter_values) for task in twirled.executor.tasks) == 32
        assert twirled.pub.metadata["num_randomizations"] == 32
        assert twirled.metadata["twirling"]["enable_gates"] is True

    @each("twirling.enable_measure", "random flips before measurements, undone in the bits")
    def test_enable_measure(self, program: str) -> None:
        options = {"simulator__noise_model": misreading(0, 0.2), "twirling__num_randomizations": 1024}
        off = {"resilience__measure_mitigation": False} if program == ESTIMATOR else {}
        twirled = run(program, QuantumCircuit(5), **options, twirling__enable_measure=True, **off, observable="IIIIZ")
        plain = run(program, QuantumCircuit(5), **options, twirling__enable_measure=False, **off, observable="IIIIZ")
        shares = [
            sum(n for bits, n in outcome.counts.items() if bits[-1] == "0") / 4096
            if program == SAMPLER
            else (1 + outcome.value) / 2
            for outcome in (twirled, plain)
        ]
        # A ground state is misread only when it was flipped.
        assert shares == pytest.approx([0.9, 1], abs=0.03)

    @each("twirling.num_randomizations", "or `auto`")
    def test_num_randomizations(self, program: str) -> None:
        outcome = run(program, bell(), twirling__enable_gates=True, twirling__num_randomizations=8)
        assert outcome.pub.metadata["num_randomizations"] == 8
        assert outcome.pub.metadata["shots"] == 4096

    @each("twirling.shots_per_randomization", "or `auto`; with both counts set, their product is the shots")
    def test_shots_per_randomization(self, program: str) -> None:
        options = {"twirling__enable_measure": True, "twirling__enable_gates": True, "default_shots": 400}
        outcome = run(program, bell(), **options, twirling__shots_per_randomization=40)
        assert (outcome.pub.metadata["num_randomizations"], outcome.pub.metadata["shots"]) == (10, 400)
        both = {"twirling__shots_per_randomization": 40, "twirling__num_randomizations": 40}
        assert run(program, bell(), **options, **both).pub.metadata["shots"] == 1600

    @each("twirling.strategy", "each of `active`, `active-accum`, `active-circuit`, `all`")
    def test_strategy(self, program: str) -> None:
        # Idle qubits are twirled, too, if all are: their gates have parameters.
        circuit = bell()
        circuit.cx(1, 2)
        sizes = {}
        for strategy in ("active", "active-accum", "active-circuit"):
            options = {"twirling__enable_gates": True, "twirling__strategy": strategy, "observable": "IIZZZ"}
            tasks = run(program, circuit, **options).executor.tasks
            sizes[strategy] = sum(task.parameter_values.shape[1] for task in tasks)
        assert sizes["active"] < sizes["active-accum"] < sizes["active-circuit"]
        run(program, circuit, twirling__enable_gates=True, twirling__strategy="all")


class TestSampler:
    @proves(SAMPLER, "execution.meas_type", "`classified`; `kerneled` and `avg_kerneled` are refused")
    def test_meas_type(self) -> None:
        run(SAMPLER, execution__meas_type="classified")
        for kind in ("kerneled", "avg_kerneled"):
            with pytest.raises(UnsupportedOptionError, match=r"execution\.meas_type"):
                run(SAMPLER, execution__meas_type=kind)


class TestEstimator:
    @proves(ESTIMATOR, "default_precision", "for pubs without precision, unless `default_shots` is set")
    def test_default_precision(self) -> None:
        outcome = run(ESTIMATOR, default_precision=0.05, resilience_level=0)
        assert (outcome.pub.metadata["target_precision"], outcome.pub.metadata["shots"]) == (0.05, 400)

    @proves(ESTIMATOR, "seed_estimator", "fixes every bit of the result, together with `seed_simulator`")
    def test_seed_estimator(self) -> None:
        first, again, other = (run(ESTIMATOR, bell(), seed_estimator=seed).value for seed in (1, 1, 2))
        assert first == again != other

    @proves(ESTIMATOR, "resilience_level", "0, 1, 2; without one 1, or 0 for circuits that 1 cannot treat")
    def test_resilience_level(self) -> None:
        done = [run(ESTIMATOR, bell(), resilience_level=level).metadata["resilience"] for level in (0, 1, 2)]
        assert [resilience["measure_mitigation"] for resilience in done] == [False, True, True]
        assert [resilience["zne_mitigation"] for resilience in done] == [False, False, True]
        assert run(ESTIMATOR, bell()).metadata["resilience_level"] == 1
        lowered = run(ESTIMATOR, bell(), observable="II0ZZ").pub.metadata["resilience"]
        assert lowered == {"resilience_level": 0, "level_reason": "observables with projectors"}
        with pytest.raises(UnsupportedOptionError, match="projectors"):
            run(ESTIMATOR, bell(), observable="II0ZZ", resilience_level=1)


class TestReadoutMitigation:
    @proves(ESTIMATOR, "resilience.measure_mitigation", "TREX; refused for observables with projectors")
    def test_measure_mitigation(self) -> None:
        noise = misreading(0.1, 0.1)
        off, on = (
            run(ESTIMATOR, QuantumCircuit(5), resilience__measure_mitigation=mitigated, simulator__noise_model=noise)
            for mitigated in (False, True)
        )
        assert [off.value, on.value] == pytest.approx([0.8**2, 1], abs=0.06)

    @proves(ESTIMATOR, "resilience.measure_noise_learning.num_randomizations", "of the readout calibration")
    def test_num_randomizations(self) -> None:
        assert self._scale(num_randomizations=1, shots_per_randomization=1) == pytest.approx(1, abs=1e-9)
        assert self._scale(num_randomizations=5000, shots_per_randomization=1) == pytest.approx(1.25, abs=0.03)

    @proves(ESTIMATOR, "resilience.measure_noise_learning.shots_per_randomization", "or `auto`")
    def test_shots_per_randomization(self) -> None:
        assert self._scale(num_randomizations=1, shots_per_randomization=5000) == pytest.approx(1.25, abs=0.03)
        assert self._scale(num_randomizations=1, shots_per_randomization="auto") == pytest.approx(1.25, abs=0.2)

    def _scale(self, **learning: object) -> float:
        """By how much calibration scales a value whose bit is misread in one of ten cases."""
        options = {f"resilience__measure_noise_learning__{name}": value for name, value in learning.items()}
        options["simulator__noise_model"] = misreading(0.1, 0.1)
        raw = run(ESTIMATOR, QuantumCircuit(5), observable="IIIIZ", **options, resilience__measure_mitigation=False)
        mitigated = run(ESTIMATOR, QuantumCircuit(5), observable="IIIIZ", **options)
        return abs(mitigated.value / raw.value)


ZNE = {"resilience__zne_mitigation": True}


class TestZne:
    @proves(ESTIMATOR, "resilience.zne_mitigation", "not together with PEC")
    def test_zne_mitigation(self) -> None:
        data = run(ESTIMATOR, bell(), **ZNE).data
        assert {"evs_noise_factors", "stds_noise_factors", "ensemble_stds_noise_factors"} <= set(data)
        assert {"evs_extrapolated", "stds_extrapolated"} <= set(data)
        with pytest.raises(UnsupportedOptionError, match=r"zne_mitigation and resilience\.pec_mitigation"):
            run(ESTIMATOR, bell(), **ZNE, resilience__pec_mitigation=True)

    @pytest.mark.slow
    @proves(ESTIMATOR, "resilience.zne.amplifier", "each of `gate_folding`, `.._front`, `.._back`, `pea`")
    def test_amplifier(self) -> None:
        # Only the first gate errs, so only folding it makes things worse.
        circuit = QuantumCircuit(5)
        circuit.cx(0, 1)
        circuit.cx(1, 2)
        noise = pauli_device({(0, 1): {"XI": 0.1}})
        options = {"simulator__noise_model": noise, "resilience__zne__noise_factors": [1, 2]}
        options |= {"resilience__zne__extrapolator": "linear", "observable": "IIIZI"}
        worse = {
            amplifier: run(ESTIMATOR, circuit, **ZNE, **options, resilience__zne__amplifier=amplifier)
            for amplifier in ("gate_folding_front", "gate_folding_back", "gate_folding", "pea")
        }
        values = {amplifier: outcome.data.evs_noise_factors[1] for amplifier, outcome in worse.items()}
        once, thrice = np.exp(-0.2), np.exp(-0.6)
        assert values["gate_folding_front"] == pytest.approx(thrice, abs=0.07)
        assert values["gate_folding_back"] == pytest.approx(once, abs=0.07)
        assert values["gate_folding"] < once + 0.07
        # PEA doubles the error rate that it learned.
        assert values["pea"] == pytest.approx(np.exp(-0.4), abs=0.07)

    def test_a_seed_chooses_the_gates_that_are_folded_once_more(self) -> None:
        # As above, so that the value tells which gate was folded.
        circuit = QuantumCircuit(5)
        circuit.cx(0, 1)
        circuit.cx(1, 2)
        noise = pauli_device({(0, 1): {"XI": 0.1}})
        options = {"simulator__noise_model": noise, "observable": "IIIZI"}
        options |= ZNE | {"resilience__zne__noise_factors": [1, 2], "resilience__zne__extrapolator": "linear"}
        values = [
            [run(ESTIMATOR, circuit, **options, seed_estimator=seed).data.evs_noise_factors[1] for _ in range(2)]
            for seed in range(8)
        ]
        assert all(first == again for first, again in values)
        assert max(map(max, values)) - min(map(min, values)) > 0.2

    @proves(ESTIMATOR, "resilience.zne.noise_factors", "any, from 1 on")
    def test_noise_factors(self) -> None:
        data = run(ESTIMATOR, bell(), **ZNE, resilience__zne__noise_factors=[1, 1.5, 2, 3]).data
        assert data.evs_noise_factors.shape == (4,)

    @proves(ESTIMATOR, "resilience.zne.extrapolator", "each of the client's; needs enough noise factors")
    def test_extrapolator(self) -> None:
        every = list(get_args(ExtrapolatorType))
        zne = ZNE | {"resilience__zne__noise_factors": list(range(1, 10)), "resilience__zne__extrapolator": every}
        # Of two gates, each of these factors folds so many more.
        circuit = bell()
        circuit.cx(1, 2)
        outcome = run(ESTIMATOR, circuit, **zne)
        assert outcome.data.evs_extrapolated.shape == (11, 10)
        assert np.isfinite(outcome.data.evs_extrapolated).all()
        assert outcome.pub.metadata["resilience"]["zne"]["extrapolator"] in every
        with pytest.raises(InvalidInputError, match=r"zne\.extrapolator: double_exponential needs 4"):
            run(ESTIMATOR, bell(), **ZNE, resilience__zne__extrapolator="double_exponential")
        with pytest.raises(InvalidInputError, match=r"exponential needs 2 different noise factors; .* has 1"):
            run(ESTIMATOR, bell(), **ZNE, resilience__zne__noise_factors=[3, 3])

    @proves(ESTIMATOR, "resilience.zne.extrapolated_noise_factors", "where fits are evaluated")
    def test_extrapolated_noise_factors(self) -> None:
        data = run(ESTIMATOR, bell(), **ZNE, resilience__zne__extrapolated_noise_factors=[0, 0.5]).data
        assert data.evs_extrapolated.shape == (2, 2)


LEARN = "resilience__layer_noise_learning__"
PEC: dict[str, Any] = {
    "resilience__pec_mitigation": True,
    "simulator__noise_model": pauli_device({(0, 1): RATES}),
    "resilience__layer_noise_model": [known_layer((0, 1), RATES)],
    "twirling__strategy": "active",
}
LEARNED = {name: value for name, value in PEC.items() if "layer_noise_model" not in name}
FEW = {f"{LEARN}num_randomizations": 2, f"{LEARN}layer_pair_depths": [0, 1], f"{LEARN}shots_per_randomization": 16}


class TestPec:
    @proves(ESTIMATOR, "resilience.pec_mitigation", "with learned or given layer noise; not together with ZNE")
    def test_pec_mitigation(self) -> None:
        outcome = run(ESTIMATOR, bell(), **PEC)
        # Two randomizations in a hundred have a minus sign; five standard errors.
        assert outcome.value == pytest.approx(1, abs=5 * float(outcome.data.stds) + 0.01)
        assert outcome.pub.metadata["num_randomizations"] > 64

    @proves(ESTIMATOR, "resilience.pec.max_overhead", "null sets no limit")
    def test_max_overhead(self) -> None:
        limited, unlimited = (run(ESTIMATOR, bell(), **PEC, resilience__pec__max_overhead=o) for o in (1.01, None))
        assert limited.pub.metadata["num_randomizations"] < unlimited.pub.metadata["num_randomizations"]

    @proves(ESTIMATOR, "resilience.pec.noise_gain", "or `auto`")
    def test_noise_gain(self) -> None:
        none, half, all_of_it = (run(ESTIMATOR, bell(), **PEC, resilience__pec__noise_gain=g) for g in (0, 0.5, 1))
        overheads = [o.pub.metadata["num_randomizations"] for o in (none, half, all_of_it)]
        assert overheads[0] > overheads[1] > overheads[2] == 64

    @proves(ESTIMATOR, "resilience.layer_noise_model", "layers that it does not know are taken to be free of errors")
    def test_layer_noise_model(self) -> None:
        known = run(ESTIMATOR, bell(), **PEC).pub.metadata["resilience"]["layer_noise"]
        assert (known["layers_learned"], known["layers_without_noise"]) == (0, 0)
        overhead = np.exp(2 * sum(RATES.values()))
        assert (known["total_mitigated_layers"], known["unique_mitigated_layers"]) == (1, 1)
        assert known["unique_mitigated_layers_noise_overhead"] == pytest.approx([overhead])
        twice = bell()
        twice.barrier()
        twice.cx(0, 1)
        again = run(ESTIMATOR, twice, **PEC).pub.metadata["resilience"]["layer_noise"]
        assert (again["total_mitigated_layers"], again["unique_mitigated_layers"]) == (2, 1)
        assert again["noise_overhead"] == pytest.approx(overhead**2)
        other = {**PEC, "resilience__layer_noise_model": [known_layer((1, 2), RATES)]}
        unknown = run(ESTIMATOR, bell(), **other).pub.metadata["resilience"]["layer_noise"]
        assert (unknown["layers_learned"], unknown["layers_without_noise"]) == (0, 1)
        assert (unknown["total_mitigated_layers"], unknown["unique_mitigated_layers"]) == (0, 0)

    @proves(ESTIMATOR, "resilience.layer_noise_learning.max_layers_to_learn", "null sets no limit")
    def test_max_layers_to_learn(self) -> None:
        circuit = bell()
        circuit.cx(1, 2)
        learned = []
        for most in (0, 1, None):
            options = {**LEARNED, **FEW, f"{LEARN}max_layers_to_learn": most}
            learned.append(run(ESTIMATOR, circuit, **options).pub.metadata["resilience"]["layer_noise"])
        assert [layers["layers_learned"] for layers in learned] == [0, 1, 2]
        assert [layers["layers_without_noise"] for layers in learned] == [2, 1, 0]

    @proves(ESTIMATOR, "resilience.layer_noise_learning.shots_per_randomization")
    def test_shots_per_randomization(self) -> None:
        tasks = run(ESTIMATOR, bell(), **LEARNED, **{**FEW, f"{LEARN}shots_per_randomization": 17}).executor.tasks
        assert 17 in {task.shots for task in tasks}

    @proves(ESTIMATOR, "resilience.layer_noise_learning.num_randomizations")
    def test_num_randomizations(self) -> None:
        one, two = (
            sum(len(t.parameter_values) for t in run(ESTIMATOR, bell(), **LEARNED, **options).executor.tasks)
            for options in (FEW, {**FEW, f"{LEARN}num_randomizations": 4})
        )
        assert two > one + 18

    @proves(ESTIMATOR, "resilience.layer_noise_learning.layer_pair_depths")
    def test_layer_pair_depths(self) -> None:
        deepest = {
            depth: max(
                task.circuit.count_ops().get("cx", 0)
                for task in run(
                    ESTIMATOR, bell(), **LEARNED, **{**FEW, f"{LEARN}layer_pair_depths": [0, depth]}
                ).executor.tasks
            )
            for depth in (1, 5)
        }
        assert deepest == {1: 2, 5: 10}


def test_a_job_error_is_what_all_refusals_are() -> None:
    assert issubclass(UnsupportedOptionError, JobError)
    assert issubclass(InvalidInputError, JobError)
