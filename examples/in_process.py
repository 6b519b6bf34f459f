"""Run on the simulator of the server without a server: nothing to start, nothing to connect to."""

from qiskit import QuantumCircuit
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime.fake_provider import FakeSherbrooke

from qiskit_runtime_server.executors import AerExecutor

circuit = QuantumCircuit(2)
circuit.h(0)
circuit.cx(0, 1)

manager = generate_preset_pass_manager(optimization_level=1, backend=FakeSherbrooke())
isa_circuit = manager.run(circuit)
isa_measured = manager.run(circuit.measure_all(inplace=False))
observable = SparsePauliOp(["ZZ", "XX"], [0.5, 0.5]).apply_layout(isa_circuit.layout)

executor = AerExecutor()
sampled = executor.execute_sampler([SamplerPub.coerce(isa_measured, shots=1024)], {}, "fake_sherbrooke")
print("counts", sampled[0].data.meas.get_counts())

pub = EstimatorPub.coerce((isa_circuit, observable), precision=0.02)
estimated = executor.execute_estimator([pub], {"resilience_level": 0}, "fake_sherbrooke")
print(f"(<ZZ> + <XX>) / 2 = {float(estimated[0].data.evs):.3f} +- {float(estimated[0].data.stds):.3f}, without noise 1")
