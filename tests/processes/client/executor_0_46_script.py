"""Drives executor and noise learner of qiskit-ibm-runtime 0.46, schemas v0.2 and v0.1, against a running server.

test_clients.py runs it in that client's environment. Primitives that run in the client came with later versions.
"""

import math
import warnings

import numpy as np
from qiskit import QuantumCircuit, QuantumRegister
from qiskit.circuit import Parameter
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import Executor, IBMBackend, QiskitRuntimeService
from qiskit_ibm_runtime.noise_learner_v3 import NoiseLearnerV3
from qiskit_ibm_runtime.options import NoiseLearnerV3Options
from qiskit_ibm_runtime.quantum_program import QuantumProgram
from samplomatic import Twirl, build
from samplomatic.transpiler import generate_boxing_pass_manager

# Of samplomatic: that it is in beta.
warnings.filterwarnings("ignore", category=UserWarning)

SHOTS = 1000
SEED = {"experimental": {"seed_simulator": 5}}


def rotation(backend: IBMBackend) -> QuantumCircuit:
    circuit = QuantumCircuit(2, 2)
    circuit.rx(Parameter("a"), 0)
    circuit.cx(0, 1)
    circuit.measure([0, 1], [0, 1])
    return generate_preset_pass_manager(backend=backend, optimization_level=1).run(circuit)


def check_circuit_item(backend: IBMBackend) -> None:
    program = QuantumProgram(shots=SHOTS, passthrough_data={"mine": [1, 2.5, None]})
    angles = np.array([[[0.0], [math.pi / 2], [math.pi]]])
    program.append_circuit_item(rotation(backend), circuit_arguments=angles, chunk_size=2)
    executor = Executor(mode=backend, options=SEED)
    job = executor.run(program)
    assert job.inputs["schema_version"] == "v0.2", job.inputs["schema_version"]
    result = job.result()
    bits = result[0]["c"]
    assert bits.shape == (1, 3, SHOTS, 2)
    assert (bits[..., 0] == bits[..., 1]).all()
    # Five standard deviations.
    assert np.allclose(bits[0, :, :, 0].mean(-1), [0, 0.5, 1], atol=5 * 0.5 / math.sqrt(SHOTS))
    assert result.passthrough_data == {"mine": [1, 2.5, None]}
    parts = [[(part.idx_item, part.size) for part in span.parts] for span in result.metadata.chunk_timing]
    assert parts == [[(0, 2)], [(0, 1)]], parts
    assert all(span.start <= span.stop for span in result.metadata.chunk_timing)
    again = executor.run(program).result()
    assert (again[0]["c"] == bits).all(), "the seed does not hold"


def check_samplex_item(backend: IBMBackend) -> None:
    boxing = generate_boxing_pass_manager(enable_gates=True, enable_measures=True)
    template, samplex = build(boxing.run(rotation(backend)))
    program = QuantumProgram(shots=SHOTS // 50)
    angles = np.array([[0.0], [math.pi]])[:, np.newaxis]
    program.append_samplex_item(
        template, samplex=samplex, samplex_arguments={"parameter_values": angles}, shape=(2, 50)
    )
    item = Executor(mode=backend, options=SEED).run(program).result()[0]
    assert item["c"].shape == (2, 50, SHOTS // 50, 2)
    flips = item["measurement_flips.c"]
    # 200 fair coins: outside of this once in 10 ** 6.
    assert 0.3 < flips.mean() < 0.7
    straight = item["c"] ^ flips
    assert not straight[0].any()
    assert straight[1].all()


def check_noise_learner(backend: IBMBackend) -> None:
    circuit = QuantumCircuit(QuantumRegister(backend.num_qubits, "q"))
    with circuit.box([Twirl()]):
        circuit.measure_all()
    options = NoiseLearnerV3Options(num_randomizations=256, shots_per_randomization=128)
    job = NoiseLearnerV3(mode=backend, options=options).run(circuit.data)
    assert job.inputs["schema_version"] == "v0.1", job.inputs["schema_version"]
    (errors,) = job.result()
    learned = {qubit: rate for _, (qubit,), rate in errors.to_pauli_lindblad_map().to_sparse_list()}
    flips = np.array([backend.properties().readout_error(qubit) for qubit in range(backend.num_qubits)])
    # However lopsided the errors of reading are, 256 randomizations leave at most 1/16 of them as standard deviation.
    assert np.allclose([learned[qubit] for qubit in range(backend.num_qubits)], -np.log(1 - 2 * flips) / 2, rtol=0.4)


def main() -> None:
    service = QiskitRuntimeService()
    assert {instance["plan"] for instance in service.instances()} == {"self-hosted"}, service.instances()
    ideal = service.backend("fake_quantum_sim@aer")
    check_circuit_item(ideal)
    check_samplex_item(ideal)
    check_noise_learner(service.backend("fake_manila@aer"))
    print("all well")


if __name__ == "__main__":
    main()
