"""Every option of every program is taken, or refused by its name."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from qiskit import QuantumCircuit, QuantumRegister
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import Session
from qiskit_ibm_runtime.exceptions import IBMRuntimeError, RuntimeJobFailureError

from qiskit_runtime_server.conformance.check import CHECKS, Check, DifferenceError, NotOfferedError
from qiskit_runtime_server.conformance.client_library import of_client, require_option, set_options
from qiskit_runtime_server.conformance.option_values import Trial, nested, trials
from qiskit_runtime_server.conformance.target import Target

Options = dict[str, Any]


def _observable(target: Target) -> SparsePauliOp:
    return SparsePauliOp("ZZ").apply_layout(target.bell.layout)


def _few_shots(options: Options) -> Options:
    return {**({} if "default_precision" in options else {"default_shots": 64}), **options}


def _sampler(kind: Any, target: Target, options: Options) -> Any:  # noqa: ANN401 - classes differ between versions
    return kind(mode=target.backend, options=_few_shots(options)).run([target.measured])


def _estimator(kind: Any, target: Target, options: Options) -> Any:  # noqa: ANN401 - as above
    return kind(mode=target.backend, options=_few_shots(options)).run([(target.bell, _observable(target))])


def _noise_learner(kind: Any, target: Target, options: Options) -> Any:  # noqa: ANN401 - as above
    few = {"num_randomizations": 2, "layer_pair_depths": [0, 1]}
    return kind(target.backend, {**few, **options}).run([target.bell])


def _noise_learner_v3(kind: Any, target: Target, options: Options) -> Any:  # noqa: ANN401 - as above
    from samplomatic import Twirl  # noqa: PLC0415 - not beside every version

    circuit = QuantumCircuit(QuantumRegister(target.backend.num_qubits, "q"))
    with circuit.box([Twirl()]):
        circuit.measure_all()
    learner = kind(target.backend)
    set_options(learner.options, {"num_randomizations": 2, "shots_per_randomization": 16, **options})
    return learner.run(circuit.data)


def _client_estimator(kind: Any, target: Target, options: Options) -> Any:  # noqa: ANN401 - as above
    resilience = dict(options.get("resilience", {}))
    given = resilience.pop("layer_noise_model", None)
    estimator = kind(mode=target.backend, options={**_few_shots(options), "resilience": resilience})
    pubs = [(target.bell, _observable(target))]
    if given is not None:
        from qiskit.quantum_info import PauliLindbladMap  # noqa: PLC0415 - not in every version

        layers = estimator.find_unique_layers(pubs)
        rates = [PauliLindbladMap.from_sparse_list([("X", [0], 0.01)], num_qubits=len(one.qubits)) for one in layers]
        estimator.options.resilience.layer_noise_model = list(zip(layers, rates, strict=True))
    return estimator.run(pubs)


def _executor(kind: Any, target: Target, options: Options) -> Any:  # noqa: ANN401 - as above
    program = of_client(".quantum_program", "QuantumProgram")(shots=16)
    program.append_circuit_item(target.measured)
    return kind(mode=target.backend, options=options).run(program)


def _calibrator(kind: Any, target: Target, options: Options) -> Any:  # noqa: ANN401 - as above
    with Session(backend=target.backend) as session:
        return kind(mode=session, options=options).run()


def _of_any_job() -> Any:  # noqa: ANN401 - as above
    try:
        return of_client(".executor_sampler", "Sampler")
    except NotOfferedError:
        return of_client("", "SamplerV2")


_RUN: Final[Mapping[str, tuple[Callable[[], Any], Callable[[Any, Target, Options], Any]]]] = {
    "sampler": (partial(of_client, "", "SamplerV2"), _sampler),
    "estimator": (partial(of_client, "", "EstimatorV2"), _estimator),
    "noise-learner": (partial(of_client, ".noise_learner", "NoiseLearner"), _noise_learner),
    "NoiseLearnerV3": (partial(of_client, ".noise_learner_v3", "NoiseLearnerV3"), _noise_learner_v3),
    "executor_sampler.Sampler": (partial(of_client, ".executor_sampler", "Sampler"), _sampler),
    "executor_estimator.Estimator": (partial(of_client, ".executor_estimator", "Estimator"), _client_estimator),
    "Executor": (partial(of_client, "", "Executor"), _executor),
    "Calibrator": (partial(of_client, "", "Calibrator"), _calibrator),
    "every job": (_of_any_job, _sampler),
}


def _submitted(trial: Trial, target: Target) -> Any:  # noqa: ANN401 - as above
    kind, run = _RUN[trial.program]
    made = kind()
    offered = made(mode=target.backend).options
    for name in (*trial.beside, trial.option):
        require_option(offered, name)
    value = trial.value(target) if callable(trial.value) else trial.value
    return run(made, target, nested({**trial.beside, trial.option: value}))


def attempt(trial: Trial, target: Target) -> None:
    """Run a trial's job.

    Raises:
        NotOfferedError: If this version of the client has no such program or option, or the server refuses the option
            by its name, where it need not.
        Exception: Whatever else the client or the server says: then the trial has failed.
    """
    name = trial.option.rpartition(".")[2]
    try:
        _submitted(trial, target).result()
    except (IBMRuntimeError, RuntimeJobFailureError) as error:
        if name not in str(error):
            raise
        if not trial.refused:
            raise NotOfferedError(f"refused by name: {error}") from error
        return
    if trial.refused:
        raise DifferenceError(f"{trial.value!r} was not refused")


for _one in trials():
    _asks = (
        f"{_one.option} out of every range is refused by name"
        if _one.refused
        else f"A job with {_one.option} set ends well, or is refused by that name"
    )
    CHECKS.append(Check(f"options.{_one.program.replace(' ', '-')}.{_one.option}", _asks, partial(attempt, _one)))
