"""Runs circuits on one simulator as its own users would, in the environment of the peers: `make bench-simulators`.

Reads a request from standard input, as JSON, and writes a line for each case: its name and its seconds, or why there
are none. Only the standard library and the simulator are needed here.

A case has gates, each a name, its qubits and its angle (a number, or the number of a column of `values`); `values`, a
row for each set of parameters; `shots`; `errors`, the probabilities of depolarisation after gates of one and of two
qubits. What is timed begins with circuits of the simulator's own, and with parameters put in if there are several sets.
"""

# ruff: noqa: PLC0415 - one of them is imported, and in this server's environment none

import json
import math
import signal
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

Case = dict[str, Any]
Run = Callable[[], object]

REPEATS = 3
LONG_SECONDS = 2.0
"""What takes longer is run once."""
PATIENCE = 2
"""The process ends by SIGALRM if all runs of a case take so many times longer than one of them may."""

MAX_FUSED_GATE_SIZE = 3
"""Of qsim's; 3 and 4 were tried on one and two threads, and 3 is faster."""


class Expected:
    """About how long the next case of a series takes, from the one before it."""

    def __init__(self) -> None:
        """Begin with nothing known."""
        self._known: dict[str, tuple[int, float]] = {}

    def learn(self, series: str, qubits: int, seconds: float) -> None:
        """Remember what a case took."""
        self._known[series] = (qubits, seconds)

    def seconds(self, series: str, qubits: int, growth: float) -> float:
        """Return what a case will take if each qubit more takes `growth` times as long; 0 if nothing is known."""
        before, taken = self._known.get(series, (qubits, 0.0))
        return float(taken * growth ** (qubits - before))


def bound(case: Case) -> Iterator[list[tuple[str, list[int], float]]]:
    """Yield the gates of a case with the angles of each row."""
    for row in case["values"] or [[]]:
        yield [
            (name, qubits, row[angle["column"]] if isinstance(angle, dict) else angle)
            for name, qubits, angle in case["gates"]
        ]


def prepared(case: Case, build: Callable[[Any], Any], sample: Callable[[Any], object]) -> Run:
    """Return what runs all rows; one row is built before, several are while it runs."""
    rows = list(bound(case))
    if len(rows) == 1:
        circuit = build(rows[0])
        return lambda: sample(circuit)
    return lambda: [sample(build(row)) for row in rows]


def aer(case: Case, threads: int) -> Run:
    from qiskit import QuantumCircuit
    from qiskit_aer import AerSimulator
    from qiskit_aer.noise import NoiseModel, depolarizing_error

    simulator = AerSimulator(method="statevector", max_parallel_threads=threads)
    if case["errors"]:
        noise = NoiseModel()
        for width, probability in enumerate(case["errors"], start=1):
            names = {name for name, qubits, _ in case["gates"] if len(qubits) == width and name != "rz"}
            noise.add_all_qubit_quantum_error(depolarizing_error(probability, width), sorted(names))
        simulator.set_options(noise_model=noise)

    def build(row: list[tuple[str, list[int], float]]) -> QuantumCircuit:
        circuit = QuantumCircuit(case["qubits"])
        for name, qubits, angle in row:
            getattr(circuit, name)(*([] if angle is None else [angle]), *qubits)
        circuit.measure_all()
        return circuit

    return prepared(case, build, lambda circuit: simulator.run(circuit, shots=case["shots"]).result().get_counts())


def qsimcirq(case: Case, threads: int) -> Run:
    import cirq
    import qsimcirq as package

    options = package.QSimOptions(max_fused_gate_size=MAX_FUSED_GATE_SIZE, cpu_threads=threads)
    simulator = package.QSimSimulator(options, seed=1)
    qubits = cirq.LineQubit.range(case["qubits"])
    fixed = {"sx": cirq.X**0.5, "h": cirq.H, "cz": cirq.CZ, "cx": cirq.CNOT, "swap": cirq.SWAP}
    turned = {"rz": cirq.rz, "cp": lambda angle: cirq.CZ ** (angle / math.pi)}

    def build(row: list[tuple[str, list[int], float]]) -> cirq.Circuit:
        circuit = cirq.Circuit()
        for name, places, angle in row:
            gate = fixed[name] if angle is None else turned[name](angle)
            where = [qubits[place] for place in places]
            circuit.append(gate.on(*where))
            if case["errors"] and name != "rz":
                probability = pauli_probability(case["errors"][len(where) - 1], len(where))
                circuit.append(cirq.depolarize(probability, len(where)).on(*where))
        circuit.append(cirq.measure(*qubits, key="m"))
        return circuit

    return prepared(case, build, lambda circuit: simulator.run(circuit, repetitions=case["shots"]))


def pauli_probability(depolarisation: float, width: int) -> float:
    """Return how probable one of the Pauli errors other than the identity is, where Aer's parameter is this."""
    return depolarisation * (1 - 4.0**-width)


def qulacs(case: Case, threads: int) -> Run:  # noqa: ARG001 - by OMP_NUM_THREADS
    from qulacs import QuantumCircuit, QuantumState, gate
    from qulacs.circuit import QuantumCircuitOptimizer

    def build(row: list[tuple[str, list[int], float]]) -> QuantumCircuit:
        circuit = QuantumCircuit(case["qubits"])
        for name, places, angle in row:
            if name == "rz":
                circuit.add_RZ_gate(*places, -angle)
            elif name == "cp":
                phase = gate.DenseMatrix(places[1], [[1, 0], [0, complex(math.cos(angle), math.sin(angle))]])
                phase.add_control_qubit(places[0], 1)
                circuit.add_gate(phase)
            else:
                add = {"sx": "sqrtX", "h": "H", "cz": "CZ", "cx": "CNOT", "swap": "SWAP"}[name]
                getattr(circuit, f"add_{add}_gate")(*places)
            if case["errors"] and name != "rz":
                error = gate.DepolarizingNoise if len(places) == 1 else gate.TwoQubitDepolarizingNoise
                circuit.add_gate(error(*places, pauli_probability(case["errors"][len(places) - 1], len(places))))
        if not case["errors"]:
            QuantumCircuitOptimizer().optimize_light(circuit)
        return circuit

    def sample(circuit: QuantumCircuit) -> object:
        state = QuantumState(case["qubits"])
        if not case["errors"]:
            circuit.update_quantum_state(state)
            return state.sampling(case["shots"])
        found = []
        for _ in range(case["shots"]):
            state.set_zero_state()
            circuit.update_quantum_state(state)
            found += state.sampling(1)
        return found

    return prepared(case, build, sample)


def lightning(case: Case, threads: int) -> Run:  # noqa: ARG001 - by OMP_NUM_THREADS
    import pennylane as qml

    if case["errors"]:
        raise NotImplementedError("no errors")
    device = qml.device("lightning.qubit", wires=case["qubits"])
    named = {
        "rz": qml.RZ, "cp": qml.ControlledPhaseShift, "sx": qml.SX, "h": qml.Hadamard, "cz": qml.CZ, "cx": qml.CNOT,
        "swap": qml.SWAP,
    }  # fmt: skip

    def build(row: list[tuple[str, list[int], float]]) -> qml.tape.QuantumScript:
        operations = [named[name](*([] if angle is None else [angle]), wires=places) for name, places, angle in row]
        return qml.tape.QuantumScript(operations, [qml.sample(wires=range(case["qubits"]))], shots=case["shots"])

    return prepared(case, build, lambda script: qml.execute([script], device))


SIMULATORS = {"Aer": aer, "qsimcirq": qsimcirq, "Qulacs": qulacs, "Lightning": lightning}
PACKAGES = {"Aer": "qiskit-aer", "qsimcirq": "qsimcirq", "Qulacs": "qulacs", "Lightning": "pennylane-lightning"}


def seconds_of(run: Run) -> float:
    """Return the median of some runs, or of one that takes long."""
    times: list[float] = []
    while len(times) < REPEATS + 1 and (not times or times[0] < LONG_SECONDS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    # The first one warms up.
    return statistics.median(times[1:] or times)


def main() -> None:
    request = json.load(sys.stdin)
    begin = SIMULATORS[request["simulator"]]
    expected = Expected()
    for case in request["cases"]:
        line: dict[str, Any] = {"case": case["name"]}
        series, qubits = case["series"], case["qubits"]
        if expected.seconds(series, qubits, case["growth"]) > request["limit"]:
            line["none"] = "too long"
        else:
            # A simulator answers no signal, but this one ends the process.
            signal.alarm(math.ceil(PATIENCE * request["limit"]))
            try:
                line["seconds"] = seconds_of(begin(case, request["threads"]))
                expected.learn(series, qubits, line["seconds"])
            except NotImplementedError as error:
                line["none"] = str(error)
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
