"""Follows an observable through a circuit with one package, each in an environment of its own: `make propagation`.

Reads a request from standard input, as JSON: `package`, `qubits`, `gates` (each a name, its qubits and its angle),
`error` (what a two-qubit depolarising channel after each rzz takes off the coefficients of products), `observable` (the
qubits of a product of Z), `cuts`. Writes a line for each cut: the cut, the seconds, the value, and how many terms are
left in the end.
"""

# ruff: noqa: PLC0415 - one of them is imported, and in this server's environment none

import json
import math
import sys
import time
from collections.abc import Callable
from typing import Any

Found = tuple[float, int]
Propagate = Callable[[float], Found]

MOST_TERMS = 2**21
TOO_MANY_TERMS = 3
"""The exit code of a package that would need more."""


def pauli_prop(request: dict[str, Any]) -> Propagate:
    from pauli_prop import propagate_through_circuit
    from qiskit import QuantumCircuit
    from qiskit.quantum_info import SparsePauliOp, pauli_basis
    from qiskit_aer.noise import PauliLindbladError

    circuit = QuantumCircuit(request["qubits"])
    # Each product but the identity anticommutes with 8 of the 15 generators.
    rates = [-math.log(1 - request["error"]) / 16] * 15
    depolarized = PauliLindbladError(pauli_basis(2)[1:], rates)
    for name, qubits, angle in request["gates"]:
        getattr(circuit, name)(angle, *qubits)
        if name == "rzz":
            circuit.append(depolarized, qubits)
    observable = SparsePauliOp.from_sparse_list(
        [("Z" * len(request["observable"]), request["observable"], 1.0)], request["qubits"]
    )

    def propagate(cut: float) -> Found:
        found, _ = propagate_through_circuit(observable, circuit, max_terms=MOST_TERMS, atol=cut, frame="h")
        return float(found.coeffs[~found.paulis.x.any(axis=1)].sum().real), len(found)

    return propagate


def ppvm(request: dict[str, Any]) -> Propagate:
    from ppvm import PauliSum

    letters = "".join("Z" if qubit in request["observable"] else "I" for qubit in range(request["qubits"]))

    def propagate(cut: float) -> Found:
        state = PauliSum.new(request["qubits"], letters, min_abs_coeff=cut)
        for name, qubits, angle in reversed(request["gates"]):
            if name == "rzz":
                # Its chance is that of any error but the identity.
                state.depolarize2(*qubits, p=request["error"] * 15 / 16)
            getattr(state, name)(*qubits, theta=angle)
        return state.overlap_with_zero(), len(state)

    return propagate


def here(request: dict[str, Any]) -> Propagate:
    import numpy as np
    from qiskit import QuantumCircuit
    from qiskit_aer.noise import NoiseModel, depolarizing_error

    from qiskit_runtime_server.simulation.pauli_propagation.lowering import Lowering
    from qiskit_runtime_server.simulation.pauli_propagation.terms import Limits, Terms, TooManyTermsError

    circuit = QuantumCircuit(request["qubits"], request["qubits"])
    for name, qubits, angle in request["gates"]:
        getattr(circuit, name)(angle, *qubits)
    circuit.measure(range(request["qubits"]), range(request["qubits"]))
    noise = NoiseModel()
    noise.add_all_qubit_quantum_error(depolarizing_error(request["error"], 2), ["rzz"])

    def propagate(cut: float) -> Found:
        lowering = Lowering.of(circuit, noise)
        assert lowering is not None
        terms = Terms(
            request["qubits"], [request["observable"]], np.array([cut]), Limits(terms=MOST_TERMS, work=math.inf)
        )
        try:
            for operation in lowering.operations(np.empty(0)):
                terms.apply(operation)
        except TooManyTermsError:
            sys.exit(TOO_MANY_TERMS)
        return float(terms.values()[0]), len(terms)

    return propagate


PACKAGES = {"this server": here, "pauli-prop": pauli_prop, "bloqade-ppvm": ppvm}


def main() -> None:
    """Answer the request."""
    request = json.load(sys.stdin)
    propagate = PACKAGES[request["package"]](request)
    for cut in request["cuts"]:
        begin = time.perf_counter()
        value, terms = propagate(cut)
        print(json.dumps([cut, time.perf_counter() - begin, value, terms]), flush=True)


if __name__ == "__main__":
    main()
