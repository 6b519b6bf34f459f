"""Expectation values of 30 entangled noisy qubits through the real client, beside those of exact density matrices."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import PrimitiveResult
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_ibm_runtime import EstimatorV2, IBMBackend, QiskitRuntimeService, RuntimeJobFailureError

from kit.server.server_process import ServerProcess
from qiskit_runtime_server.client import connect

# Version 2 of the primitives is deprecated in the client, and what everybody uses.
pytestmark = pytest.mark.filterwarnings("ignore:The .*V2 class is deprecated:DeprecationWarning")

WIDTH = 30
ANGLES = [0.3, 0.9]


@pytest.fixture(scope="module")
def service(server: ServerProcess) -> QiskitRuntimeService:
    return connect(server.url, "propagation")


@pytest.fixture(scope="module")
def sherbrooke(service: QiskitRuntimeService) -> IBMBackend:
    return service.backend("fake_sherbrooke@aer")


@pytest.fixture(scope="module")
def line(sherbrooke: IBMBackend) -> list[int]:
    """Return neighbours of neighbours, whose couplers all work."""
    neighbours: dict[int, list[int]] = {qubit: [] for qubit in range(sherbrooke.num_qubits)}
    for (one, other), known in sorted(sherbrooke.target["ecr"].items()):
        if known.error < 1:
            neighbours[one].append(other)
            neighbours[other].append(one)

    def longer(path: list[int]) -> list[int] | None:
        if len(path) == WIDTH:
            return path
        ways = (longer([*path, qubit]) for qubit in neighbours[path[-1]] if qubit not in path)
        return next((way for way in ways if way), None)

    found = longer([18])
    assert found is not None
    return found


def kicked(device: IBMBackend, line: Sequence[int], steps: int) -> QuantumCircuit:
    """Return so many steps of a kicked Ising chain on the qubits of `line`."""
    theta = Parameter("theta")
    circuit = QuantumCircuit(WIDTH)
    for _ in range(steps):
        circuit.rx(theta, range(WIDTH))
        for start in (0, 1):
            for qubit in range(start, WIDTH - 1, 2):
                circuit.rzz(-math.pi / 2, qubit, qubit + 1)
    manager = generate_preset_pass_manager(
        backend=device, optimization_level=2, initial_layout=list(line), seed_transpiler=1
    )
    return manager.run(circuit)


def magnetizations(isa: QuantumCircuit, qubits: Sequence[int]) -> list[list[SparsePauliOp]]:
    found = [SparsePauliOp.from_sparse_list([("Z", [qubit], 1.0)], WIDTH).apply_layout(isa.layout) for qubit in qubits]
    return [[observable] for observable in found]


def estimated(
    device: IBMBackend, pubs: Sequence[tuple[Any, ...]], seed: int, **simulator: str | float
) -> PrimitiveResult[Any]:
    options = {"resilience_level": 0, "seed_estimator": seed, "experimental": {"simulator": simulator}}
    return EstimatorV2(mode=device, options=options).run(pubs, precision=0.005).result()


def ways_of(result: PrimitiveResult[Any], pub: int = 0) -> list[dict[str, Any]]:
    ways: list[dict[str, Any]] = result[pub].metadata["simulation"]
    return [way for way in ways if way["method"] != "product"]


def test_values_of_thirty_qubits_are_those_of_their_exact_light_cones(
    sherbrooke: IBMBackend, line: Sequence[int]
) -> None:
    isa = kicked(sherbrooke, line, 2)
    some = [0, 7, 14, 20, 29]
    together = estimated(sherbrooke, [(isa, magnetizations(isa, range(WIDTH)), ANGLES)], 1)
    (way,) = ways_of(together)
    assert (way["method"], way["noise"], way["truncation_error"]) == ("pauli-propagation", "device", 0.0)
    assert sorted(way["qubits"]) == sorted(line)
    assert "truncation_error_is" not in way

    # Alone, a qubit has so small a light cone that a density matrix holds it.
    alone = estimated(sherbrooke, [(isa, magnetizations(isa, [qubit]), ANGLES) for qubit in some], 2, method="executor")
    for number, qubit in enumerate(some):
        (own,) = ways_of(alone, number)
        assert own["method"] == "density-matrix"
        assert len(own["qubits"]) < WIDTH / 2
        off = np.abs(together[0].data.evs[qubit] - alone[number].data.evs[0])
        assert (off <= 5 * np.hypot(together[0].data.stds[qubit], alone[number].data.stds[0])).all()


def test_what_is_truncated_says_by_how_much_and_is_off_by_no_more(sherbrooke: IBMBackend, line: Sequence[int]) -> None:
    isa = kicked(sherbrooke, line, 3)
    pubs = [(isa, magnetizations(isa, [4, 10, 16, 22]), ANGLES)]
    truncated = estimated(
        sherbrooke, pubs, 3, method="pauli-propagation", approximation="truncated", max_truncation_error=0.05
    )
    (way,) = ways_of(truncated)
    assert (way["method"], way["noise"]) == ("pauli-propagation", "device")
    assert 20 <= len(way["qubits"]) <= 40
    assert 0 < way["truncation_error"] <= 0.05

    # Few qubits of a line are in the state at a time, so a density matrix holds them.
    exact = estimated(sherbrooke, pubs, 4)
    (other,) = ways_of(exact)
    assert (other["method"], other["truncation_error"]) == ("density-matrix", 0.0)
    assert other["qubits"] == way["qubits"]
    off = np.abs(truncated[0].data.evs - exact[0].data.evs)
    shots = np.hypot(truncated[0].data.stds, exact[0].data.stds)
    assert (off <= way["truncation_error"] + 5 * shots).all()


def test_what_cannot_be_exact_is_refused_with_the_option_that_would_run_it(
    sherbrooke: IBMBackend, line: Sequence[int]
) -> None:
    isa = kicked(sherbrooke, line, 10)
    with pytest.raises(
        RuntimeJobFailureError,
        match=r"has too many operators to leave none out\. It may run with simulator\.approximation: truncated",
    ):
        estimated(sherbrooke, [(isa, magnetizations(isa, [15]), [0.9])], 1)
