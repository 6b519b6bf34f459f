"""Find the ground energy of a chain of four hydrogen atoms by sample-based diagonalization, with qiskit-addon-sqd.

First: eval "$(qiskit-runtime-server connect http://localhost:8000)"
"""

import json

import numpy as np
from pyscf import ao2mo, gto, scf
from qiskit import QuantumCircuit
from qiskit.circuit.library import CPhaseGate, XXPlusYYGate
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_addon_sqd.fermion import diagonalize_fermionic_hamiltonian
from qiskit_ibm_runtime import QiskitRuntimeService, SamplerV2

ORBITALS = 4
ELECTRONS = (2, 2)
SHOTS = 4000

molecule = gto.M(atom=[("H", (0, 0, 1.2 * site)) for site in range(ORBITALS)], basis="sto-3g", verbose=0)
field = scf.RHF(molecule).run()
one_body = field.mo_coeff.T @ field.get_hcore() @ field.mo_coeff
two_body = ao2mo.restore(1, ao2mo.kernel(molecule, field.mo_coeff), ORBITALS)

# The Hartree-Fock state, then hops between neighbouring orbitals and a repulsion between the spins.
ansatz = QuantumCircuit(2 * ORBITALS)
ansatz.x([0, 1, ORBITALS, ORBITALS + 1])
for layer in range(2):
    for spin in (0, ORBITALS):
        for orbital in (1, 0, 2):
            ansatz.append(XXPlusYYGate(0.9 + 0.3 * layer), [spin + orbital, spin + orbital + 1])
    ansatz.append(CPhaseGate(0.8), [ORBITALS - 1, ORBITALS])
ansatz.measure_all()

backend = QiskitRuntimeService().backend("fake_guadalupe@aer")
isa = generate_preset_pass_manager(optimization_level=3, backend=backend, seed_transpiler=4).run(ansatz)
sampler = SamplerV2(mode=backend, options={"simulator": {"seed_simulator": 23}})
job = sampler.run([isa], shots=SHOTS)
bits = job.result()[0].data.meas

result = diagonalize_fermionic_hamiltonian(
    one_body,
    two_body,
    bits,
    samples_per_batch=60,
    norb=ORBITALS,
    nelec=ELECTRONS,
    num_batches=3,
    max_iterations=5,
    seed=7,
)

print(
    json.dumps(
        {
            "energy": result.energy,
            "one body": np.asarray(one_body).tolist(),
            "two body": np.asarray(two_body).tolist(),
            "counts": bits.get_counts(),
            "dimension": list(result.sci_state.amplitudes.shape),
            "jobs": [job.job_id()],
        }
    )
)
