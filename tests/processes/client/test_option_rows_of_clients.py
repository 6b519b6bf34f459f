"""Every option of the classes that run in the client, and of jobs themselves, does what the table of options says."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, get_args

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit.circuit import Parameter, QuantumCircuit
from qiskit.primitives import PrimitiveResult
from qiskit.quantum_info import PauliLindbladMap
from qiskit_ibm_runtime import Calibrator, Executor, IBMBackend, QiskitRuntimeService, RuntimeJobV2, Session
from qiskit_ibm_runtime.exceptions import IBMRuntimeError, RuntimeJobFailureError, RuntimeJobMaxTimeoutError
from qiskit_ibm_runtime.executor_estimator import Estimator
from qiskit_ibm_runtime.executor_sampler import Sampler
from qiskit_ibm_runtime.options_models.zne import ExtrapolatorType
from qiskit_ibm_runtime.quantum_program import QuantumProgram
from qiskit_ibm_runtime.results import QuantumProgramResult
from samplomatic.quantum_program import QuantumProgramItem, SamplexItem
from samplomatic.serialization import samplex_to_json

from kit.quantum.circuits import idling
from kit.server.option_rows import Test, Verdict, proves
from kit.server.server_process import ServerProcess
from qiskit_runtime_server.client import connect

SAMPLER = "executor_sampler.Sampler"
ESTIMATOR = "executor_estimator.Estimator"
EXECUTOR = "Executor"
EVERY = "every job"
PRIMITIVES = (SAMPLER, ESTIMATOR)
GATES = {"twirling": {"enable_gates": True}}


@pytest.fixture(scope="module")
def service(server: ServerProcess) -> QiskitRuntimeService:
    return connect(server.url, "options")


Submit = Callable[..., RuntimeJobV2]


@pytest.fixture
def submit(manila: IBMBackend) -> Submit:
    def run(
        program: str, circuit: QuantumCircuit | None = None, values: Sequence[float] = (), **options: Any
    ) -> RuntimeJobV2:
        circuit = idling(5) if circuit is None else circuit
        options = {**options, "simulator": {"seed_simulator": 5, **options.get("simulator", {})}}
        if program == SAMPLER:
            measured = circuit.copy()
            measured.measure_all()
            return Sampler(mode=manila, options=options).run([(measured, values)])
        return Estimator(mode=manila, options=options).run([(circuit, "IIIZZ", values)])

    return run


def sent(job: RuntimeJobV2) -> str:
    """Return the circuits, samplexes and shapes of a job that ran."""
    job.result()
    return str([_described(item) for item in job.inputs["quantum_program"].items])


def _described(item: QuantumProgramItem) -> tuple[object, ...]:
    circuit = [(part.name, [str(angle) for angle in part.params]) for part in item.circuit.data]
    return item.shape, circuit, samplex_to_json(item.samplex) if isinstance(item, SamplexItem) else ""


def each(option: str, note: str = "", verdict: Verdict = Verdict.HONOURED) -> Callable[[Test], Test]:
    """Put a row for both primitives, and run the test with both."""

    def register(test: Test) -> Test:
        for program in PRIMITIVES:
            test = proves(program, option, note, verdict)(test)
        marked: Test = pytest.mark.parametrize("program", PRIMITIVES)(test)
        return marked

    return register


def bits(result: PrimitiveResult[Any]) -> NDArray[Any]:
    data = result[0].data
    found: NDArray[Any] = data.meas.array if "meas" in data else data.evs
    return found


class TestBoth:
    @each("default_shots")
    def test_default_shots(self, submit: Submit, program: str) -> None:
        assert submit(program, default_shots=77).result().metadata["shots"] == 77

    @each("simulator.seed_simulator", "fixes every bit of the result")
    def test_seed_simulator(self, submit: Submit, program: str) -> None:
        first, again, other = (bits(submit(program, simulator={"seed_simulator": seed}).result()) for seed in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)

    @each("simulator.angle_decimals", "to how many decimals of a quarter turn angles are rounded")
    def test_angle_decimals(self, submit: Submit, program: str) -> None:
        circuit = QuantumCircuit(5)
        circuit.sx(0)
        circuit.rz(Parameter("a"), 0)
        circuit.sx(0)
        twirled = GATES if program == ESTIMATOR else {}
        coarse, fine = (
            submit(program, circuit, [0.7], simulator={"angle_decimals": d}, **twirled).result()[0].data for d in (0, 5)
        )
        # Rounded to nothing, the two gates make an x.
        values = [
            1 - 2 * data.meas.array[:, 0].__and__(1).mean() if program == SAMPLER else float(data.evs)
            for data in (coarse, fine)
        ]
        assert values == pytest.approx([-0.97, -0.97 * np.cos(0.7)], abs=0.09)

    @each("simulator.layer_noise_model", "for the local mode; the client cannot encode one", Verdict.NOT_SENT)
    @proves(SAMPLER, "simulator.warn_absent", "belongs to `layer_noise_model`", Verdict.NOT_SENT)
    @proves(ESTIMATOR, "simulator.warn_absent", "belongs to `layer_noise_model`", Verdict.NOT_SENT)
    def test_layer_noise_model(self, submit: Submit, program: str) -> None:
        submit(program, simulator={"warn_absent": False}).result()
        box = QuantumCircuit(2)
        with box.box():
            box.cx(0, 1)
        known = [(box.data[0], PauliLindbladMap.from_list([("IZ", 0.1)]))]
        with pytest.raises((TypeError, ValueError, RuntimeJobFailureError)):
            submit(program, simulator={"layer_noise_model": known}).result()

    @each(
        "experimental",
        "`seed_simulator`, and `noise: {readout: asymmetric}` and `simulator` as of `sampler`; nothing else",
    )
    def test_experimental(self, submit: Submit, program: str) -> None:
        submit(program, experimental={"seed_simulator": 4}).result()
        symmetric, asymmetric = (
            bits(submit(program, experimental={"noise": {"readout": kind}}).result())
            for kind in ("symmetric", "asymmetric")
        )
        assert not np.array_equal(symmetric, asymmetric)
        with pytest.raises(RuntimeJobFailureError, match=r"experimental\.warp"):
            submit(program, experimental={"warp": 9}).result()

    @each("execution.init_qubits", "`true`; `false` is refused")
    def test_init_qubits(self, submit: Submit, program: str) -> None:
        with pytest.raises(RuntimeJobFailureError, match="init_qubits"):
            submit(program, execution={"init_qubits": False}).result()

    @each("execution.rep_delay", "refused where the device's is fixed, or out of its range")
    def test_rep_delay(self, submit: Submit, program: str) -> None:
        with pytest.raises(RuntimeJobFailureError, match="rep_delay"):
            submit(program, execution={"rep_delay": 10.0}).result()

    @each("execution.scheduler_timing", "from the device's durations")
    def test_scheduler_timing(self, submit: Submit, program: str) -> None:
        metadata = submit(program, execution={"scheduler_timing": True}).result()[0].metadata
        assert metadata["compilation"]["scheduler_timing"]["circuit_duration"] > 0

    @each("execution.stretch_values", "circuits with stretches are refused, so there are none")
    def test_stretch_values(self, submit: Submit, program: str) -> None:
        metadata = submit(program, execution={"stretch_values": True}).result()[0].metadata
        assert not metadata.get("compilation", {}).get("stretch_values")


def waiting() -> QuantumCircuit:
    """Qubit 0 waits from the start, and qubit 3 from its gate on."""
    circuit = QuantumCircuit(5)
    circuit.x(3)
    for _ in range(5):
        circuit.cx(1, 2)
    circuit.cx(0, 1)
    return circuit


def compared(option: str, values: tuple[object, ...], section: str, **others: object) -> Callable[..., None]:
    """Return a test that circuits differ with the values of an option, and run."""

    def check(submit: Submit, program: str, circuit: QuantumCircuit | None = None) -> None:
        programs = [sent(submit(program, circuit, **{section: {**others, option: value}})) for value in values]
        assert len(set(programs)) == len(values)

    return check


DECOUPLE: dict[str, Any] = {"section": "dynamical_decoupling", "enable": True}
TWIRL: dict[str, Any] = {"section": "twirling", "enable_gates": True}


class TestCircuits:
    """The client makes the circuits; the server runs them as they are."""

    @each("dynamical_decoupling.enable")
    def test_enable(self, submit: Submit, program: str) -> None:
        compared("enable", (False, True), "dynamical_decoupling")(submit, program)

    @each("dynamical_decoupling.sequence_type")
    def test_sequence_type(self, submit: Submit, program: str) -> None:
        compared("sequence_type", ("XX", "XpXm", "XY4"), **DECOUPLE)(submit, program)

    @each("dynamical_decoupling.extra_slack_distribution")
    def test_extra_slack_distribution(self, submit: Submit, program: str) -> None:
        compared("extra_slack_distribution", ("middle", "edges"), **DECOUPLE, sequence_type="XY4")(submit, program)

    @each("dynamical_decoupling.scheduling_method")
    def test_scheduling_method(self, submit: Submit, program: str) -> None:
        compared("scheduling_method", ("alap", "asap"), **DECOUPLE)(submit, program, waiting())

    @each("dynamical_decoupling.skip_reset_qubits")
    def test_skip_reset_qubits(self, submit: Submit, program: str) -> None:
        compared("skip_reset_qubits", (False, True), **DECOUPLE)(submit, program, waiting())

    @each("twirling.enable_gates")
    def test_enable_gates(self, submit: Submit, program: str) -> None:
        compared("enable_gates", (False, True), "twirling")(submit, program)

    @each("twirling.enable_measure")
    def test_enable_measure(self, submit: Submit, program: str) -> None:
        level = {"resilience": {"measure_mitigation": False}} if program == ESTIMATOR else {}
        off, on = (sent(submit(program, twirling={"enable_measure": on}, **level)) for on in (False, True))
        assert off != on

    @each("twirling.group")
    def test_group(self, submit: Submit, program: str) -> None:
        compared("group", ("pauli", "balanced_pauli", "local_c1"), **TWIRL)(submit, program)

    @each("twirling.num_randomizations")
    def test_num_randomizations(self, submit: Submit, program: str) -> None:
        compared("num_randomizations", (4, 8, "auto"), **TWIRL)(submit, program)

    @each("twirling.shots_per_randomization")
    def test_shots_per_randomization(self, submit: Submit, program: str) -> None:
        job = submit(program, twirling={"enable_gates": True, "shots_per_randomization": 33})
        job.result()
        assert job.inputs["quantum_program"].shots == 33

    @each("twirling.strategy")
    def test_strategy(self, submit: Submit, program: str) -> None:
        compared("strategy", ("active", "active-accum", "all"), **TWIRL)(submit, program)


class TestSampler:
    @proves(SAMPLER, "execution.meas_type", "points of `kerneled` are a model made from the bits")
    def test_meas_type(self, submit: Submit) -> None:
        data = submit(SAMPLER, execution={"meas_type": "kerneled"}).result()[0].data
        assert np.iscomplexobj(data.meas)


def mitigation() -> Iterator[tuple[str, dict[str, Any], dict[str, Any]]]:
    zne = {"zne_mitigation": True}
    yield "measure_mitigation", {}, {"measure_mitigation": False}
    few, more = ({"measure_noise_learning": {"num_randomizations": number}} for number in (3, 5))
    yield "measure_noise_learning.num_randomizations", few, more
    yield "zne_mitigation", {}, zne
    yield "zne.amplifier", zne, {**zne, "zne": {"amplifier": "gate_folding_front", "noise_factors": [1, 1.5]}}
    yield "zne.noise_factors", zne, {**zne, "zne": {"noise_factors": [1, 2]}}


class TestEstimator:
    @proves(ESTIMATOR, "resilience.measure_mitigation")
    @proves(ESTIMATOR, "resilience.measure_noise_learning.num_randomizations")
    @proves(ESTIMATOR, "resilience.zne_mitigation")
    @proves(ESTIMATOR, "resilience.zne.amplifier")
    @proves(ESTIMATOR, "resilience.zne.noise_factors")
    @pytest.mark.parametrize(("name", "one", "other"), list(mitigation()))
    def test_mitigation_changes_what_is_run(
        self, submit: Submit, name: str, one: dict[str, Any], other: dict[str, Any]
    ) -> None:
        assert len({sent(submit(ESTIMATOR, resilience=resilience)) for resilience in (one, other)}) == 2, name

    @proves(ESTIMATOR, "resilience.zne.extrapolator", "done in the client")
    @proves(ESTIMATOR, "resilience.zne.extrapolated_noise_factors", "done in the client")
    def test_extrapolation(self, submit: Submit) -> None:
        zne = {
            # Odd ones, as for others the client draws the gates that it folds once more, without a seed.
            "noise_factors": list(range(1, 19, 2)),
            "extrapolator": list(get_args(ExtrapolatorType)),
            "extrapolated_noise_factors": [0, 0.5, 1],
        }
        data = submit(ESTIMATOR, resilience={"zne_mitigation": True, "zne": zne}).result()[0].data
        assert data.evs_extrapolated.shape == (11, 3)
        assert np.isfinite(data.evs_extrapolated).all()

    @proves(ESTIMATOR, "resilience.pec_mitigation")
    @proves(ESTIMATOR, "resilience.pec.max_overhead")
    @proves(ESTIMATOR, "resilience.pec.noise_gain")
    @proves(ESTIMATOR, "resilience.layer_noise_model")
    def test_pec(self, manila: IBMBackend) -> None:
        sizes = {}
        for name, pec in {"full": {}, "capped": {"max_overhead": 1.05}, "none": {"noise_gain": 1.0}}.items():
            estimator = Estimator(mode=manila, options={"resilience": {"pec_mitigation": True, "pec": pec}})
            layers = estimator.find_unique_layers([(idling(5), "IIIZZ")])
            errors = [
                PauliLindbladMap.from_sparse_list([("X", [0], 0.01)], num_qubits=len(layer.qubits)) for layer in layers
            ]
            estimator.options.resilience.layer_noise_model = list(zip(layers, errors, strict=True))
            job = estimator.run([(idling(5), "IIIZZ")])
            job.result()
            sizes[name] = job.inputs["quantum_program"].items[0].shape[0]
        assert sizes["full"] > sizes["capped"] >= sizes["none"]

    @proves(ESTIMATOR, "resilience_level")
    def test_resilience_level(self, submit: Submit) -> None:
        assert len({sent(submit(ESTIMATOR, resilience_level=level)) for level in (0, 1, 2)}) == 3

    @proves(ESTIMATOR, "default_precision")
    def test_default_precision(self, submit: Submit) -> None:
        assert submit(ESTIMATOR, default_precision=0.1).result().metadata["shots"] == 100


class TestExecutor:
    @proves(EXECUTOR, "execution.init_qubits", "`true`; `false` is refused")
    def test_init_qubits(self, manila: IBMBackend) -> None:
        self._refused(manila, "init_qubits", execution={"init_qubits": False})

    @proves(EXECUTOR, "execution.rep_delay", "refused where the device's is fixed, or out of its range")
    def test_rep_delay(self, manila: IBMBackend) -> None:
        self._refused(manila, "rep_delay", execution={"rep_delay": 10.0})

    @proves(
        EXECUTOR,
        "experimental",
        "`seed_simulator`, and `noise: {readout: asymmetric}` and `simulator` as of `sampler`; nothing else",
    )
    def test_experimental(self, manila: IBMBackend) -> None:
        self._refused(manila, r"experimental\.warp", experimental={"warp": 9})
        self._refused(manila, "must be one of symmetric", experimental={"noise": {"readout": "odd"}})
        self._refused(manila, "must be one of automatic", experimental={"simulator": {"method": "warp"}})
        results = [self._run(manila, experimental={"seed_simulator": 1})[0]["meas"] for _ in range(2)]
        assert np.array_equal(*results)

    @proves(EXECUTOR, "execution.scheduler_timing", "from the device's durations")
    def test_scheduler_timing(self, manila: IBMBackend) -> None:
        timing = self._run(manila, execution={"scheduler_timing": True})[0].metadata.scheduler_timing
        assert timing.circuit_duration > 0

    @proves(EXECUTOR, "execution.stretch_values", "circuits with stretches are refused, so there are none")
    def test_stretch_values(self, manila: IBMBackend) -> None:
        assert not self._run(manila, execution={"stretch_values": True})[0].metadata.stretch_values

    @proves(EXECUTOR, "simulator.angle_decimals", "for the local mode only", Verdict.NOT_SENT)
    @proves(EXECUTOR, "simulator.layer_noise_model", "for the local mode only", Verdict.NOT_SENT)
    @proves(EXECUTOR, "simulator.seed_simulator", "use `experimental`", Verdict.NOT_SENT)
    @proves(EXECUTOR, "simulator.warn_absent", "for the local mode only", Verdict.NOT_SENT)
    def test_the_client_does_not_send_options_of_its_simulator(self, manila: IBMBackend) -> None:
        job = Executor(mode=manila, options={"simulator": {"seed_simulator": 3}}).run(self._program())
        assert "simulator" not in job.inputs["options"]

    def _program(self) -> QuantumProgram:
        measured = idling(5)
        measured.measure_all()
        program = QuantumProgram(shots=20)
        program.append_circuit_item(measured)
        return program

    def _run(self, backend: IBMBackend, **options: Any) -> QuantumProgramResult:
        return Executor(mode=backend, options=options).run(self._program()).result()

    def _refused(self, backend: IBMBackend, words: str, **options: Any) -> None:
        with pytest.raises(RuntimeJobFailureError, match=words):
            self._run(backend, **options)


class TestJobs:
    @proves(EVERY, "environment.log_level", "which lines the job's log has")
    def test_log_level(self, submit: Submit) -> None:
        lines = {}
        for level in ("INFO", "WARNING"):
            job = submit(SAMPLER, environment={"log_level": level})
            job.result()
            lines[level] = job.logs()
        *methods, total = lines["INFO"].splitlines()
        assert "4096 shots" in total
        assert [method.count("Simulates") for method in methods] == [1] * len(methods) != []
        assert lines["WARNING"] == ""

    @proves(EVERY, "environment.job_tags")
    def test_job_tags(self, service: QiskitRuntimeService, submit: Submit) -> None:
        job = submit(SAMPLER, environment={"job_tags": ["mine"]})
        assert [found.job_id() for found in service.jobs(job_tags=["mine"])] == [job.job_id()]

    @proves(EVERY, "environment.private", "no parameters are shown; the result can be read once")
    def test_private(self, submit: Submit) -> None:
        job = submit(SAMPLER, environment={"private": True})
        assert job.result()[0].data.meas.num_shots == 4096
        assert not job.inputs

    @proves(EVERY, "max_execution_time", "in seconds")
    @proves(EVERY, "environment.max_execution_time", "in seconds; deprecated in the client")
    def test_max_execution_time(self, service: QiskitRuntimeService) -> None:
        circuit = QuantumCircuit(22)
        # Ten times as long as it may take, on a machine with many fast cores, too.
        for layer in range(1000):
            for qubit in range(22):
                circuit.rx(0.1 * layer + qubit, qubit)
            for qubit in range(21):
                circuit.cx(qubit, qubit + 1)
        circuit.measure_all()
        backend = service.backend("fake_quantum_sim@aer")
        job = Sampler(mode=backend, options={"max_execution_time": 1}).run([circuit])
        with pytest.raises(RuntimeJobMaxTimeoutError):
            job.result()

    @proves(EVERY, "environment.image", "there is one image", Verdict.REFUSED)
    def test_image(self, submit: Submit) -> None:
        with pytest.raises(IBMRuntimeError, match="image"):
            submit(SAMPLER, environment={"image": "mine:latest"})

    @proves("Calibrator", "experimental", "an empty one is accepted", Verdict.REFUSED)
    def test_experimental_calibration(self, manila: IBMBackend) -> None:
        with Session(backend=manila) as session:
            job = Calibrator(mode=session, options={"experimental": {"warp": 9}}).run()
            with pytest.raises(RuntimeJobFailureError, match=r"experimental\.warp"):
                job.result()
