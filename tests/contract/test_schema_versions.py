"""The api and the programs agree on the versions of params that are read."""

from qiskit_runtime_server.messages.programs import SCHEMA_VERSIONS, ProgramName
from qiskit_runtime_server.programs import calibrate, noise_learner
from qiskit_runtime_server.programs.wire.quantum_program import WIRES


def test_the_api_accepts_the_schema_versions_that_programs_read() -> None:
    assert {
        ProgramName.EXECUTOR: tuple(WIRES),
        ProgramName.NOISE_LEARNER: noise_learner.VERSIONS,
        ProgramName.CALIBRATE: (calibrate.VERSION,),
    } == SCHEMA_VERSIONS
