"""The five programs: each runs, and its results are those of the circuits."""

import math
from typing import Final

import numpy as np
from qiskit import QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from qiskit_ibm_runtime import EstimatorV2, SamplerV2

from qiskit_runtime_server.conformance.check import check, require
from qiskit_runtime_server.conformance.client_library import of_client, set_options
from qiskit_runtime_server.conformance.target import Target

_SHOTS: Final = 2000
_MOSTLY: Final = 0.75


@check("sampler.counts")
def sample(target: Target) -> None:
    """SamplerV2 returns as many shots as it was asked for, most of them of the Bell state."""
    (pub,) = SamplerV2(mode=target.backend).run([target.measured], shots=_SHOTS).result()
    counts = pub.data.meas.get_counts()
    require(sum(counts.values()) == _SHOTS, counts)
    require(counts.get("00", 0) + counts.get("11", 0) > _MOSTLY * _SHOTS, counts)


@check("sampler.seed")
def sample_with_seed(target: Target) -> None:
    """The option simulator.seed_simulator fixes the counts."""
    sampler = SamplerV2(mode=target.backend, options={"simulator": {"seed_simulator": 7}})
    first, again = (sampler.run([target.measured], shots=_SHOTS).result()[0].data.meas for _ in range(2))
    require(first == again, "two results with one seed differ")


@check("sampler.parameters")
def sample_with_parameters(target: Target) -> None:
    """A circuit with parameters gives an array of bits with the shape of its parameter sets."""
    circuit = QuantumCircuit(1)
    circuit.rx(Parameter("theta"), 0)
    circuit.measure_all()
    data = SamplerV2(mode=target.backend).run([(target.isa(circuit), [[0.0], [math.pi]], 200)]).result()[0].data.meas
    require(data.shape == (2,), data.shape)
    ones = [data[index].get_counts().get("1", 0) for index in range(2)]
    require(ones[0] < (1 - _MOSTLY) * 200 and ones[1] > _MOSTLY * 200, ones)


@check("sampler.metadata")
def sample_says_when(target: Target) -> None:
    """A result of SamplerV2 says when its shots were taken."""
    result = SamplerV2(mode=target.backend).run([target.measured], shots=10).result()
    require(result.metadata["execution"]["execution_spans"].duration > 0, result.metadata)


@check("estimator.values")
def estimate(target: Target) -> None:
    """EstimatorV2 returns expectation values near those of the Bell state, with the shape of the observables."""
    observables = [SparsePauliOp(label).apply_layout(target.bell.layout) for label in ("ZZ", "XX")]
    (pub,) = EstimatorV2(mode=target.backend).run([(target.bell, observables)]).result()
    require(pub.data.evs.shape == pub.data.stds.shape == (2,), pub.data.evs.shape)
    require(np.all(np.abs(pub.data.evs - 1) < 1 - _MOSTLY), pub.data.evs)


@check("noise-learner.layers")
def learn_layers(target: Target) -> None:
    """NoiseLearner learns the layers of a circuit, and EstimatorV2 takes them for PEC."""
    from qiskit_ibm_runtime.noise_learner import NoiseLearner  # noqa: PLC0415 - not in every version

    few = {"num_randomizations": 2, "layer_pair_depths": [0, 1], "max_layers_to_learn": 1}
    layers = list(NoiseLearner(target.backend, few).run([target.bell]).result())
    require(len(layers) == 1, layers)
    resilience = {"pec_mitigation": True, "layer_noise_model": layers}
    observable = SparsePauliOp("ZZ").apply_layout(target.bell.layout)
    estimator = EstimatorV2(mode=target.backend, options={"resilience": resilience})
    (pub,) = estimator.run([(target.bell, observable)], precision=0.1).result()
    require(np.isfinite(pub.data.evs), pub.data.evs)


@check("noise-learner-v3.boxes")
def learn_boxes(target: Target) -> None:
    """NoiseLearnerV3 learns the errors of a twirled measurement."""
    kind = of_client(".noise_learner_v3", "NoiseLearnerV3")
    from samplomatic import Twirl  # noqa: PLC0415 - not beside every version

    circuit = QuantumCircuit(QuantumRegister(target.backend.num_qubits, "q"))
    with circuit.box([Twirl()]):
        circuit.measure_all()
    learner = kind(target.backend)
    set_options(learner.options, {"num_randomizations": 16, "shots_per_randomization": 32})
    (learned,) = learner.run(circuit.data).result()
    require(learned.to_pauli_lindblad_map().num_qubits == target.backend.num_qubits, learned)


@check("executor.circuit")
def execute(target: Target) -> None:
    """Executor runs a quantum program and returns the bits of its circuit."""
    kind, program = of_client("", "Executor"), of_client(".quantum_program", "QuantumProgram")(shots=_SHOTS)
    program.append_circuit_item(target.measured)
    bits = kind(mode=target.backend).run(program).result()[0]["meas"]
    require(bits.shape == (_SHOTS, 2), bits.shape)
    require((bits[:, 0] == bits[:, 1]).mean() > _MOSTLY, bits.mean(0))
