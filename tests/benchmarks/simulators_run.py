"""Measures simulators side by side on this machine and writes docs/reference/simulators.md: `make bench-simulators`.

Bare simulators, as their own users run them (`simulator_peers`, in an environment of their own), beside this server's
executors over HTTP, from submission to result by the real client. Seconds are medians. `--quick` runs small circuits
with limits of its own, in two minutes, and writes nothing.
"""

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit_aer.noise import NoiseModel, depolarizing_error
from qiskit_ibm_runtime import QiskitRuntimeService, SamplerV2

from benchmarks.simulator_peers import LONG_SECONDS, MAX_FUSED_GATE_SIZE, PACKAGES, Expected, seconds_of
from benchmarks.table import machine
from kit.server.server_process import running_server
from qiskit_runtime_server.client import connect

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "reference" / "simulators.md"
PYTHON: Final = ROOT / ".venv-simulators" / "bin" / "python"
THREADS: Final = (1, 2)
SHOTS: Final = 1024
TRAJECTORIES: Final = 100
ERRORS: Final = (1e-3, 1e-2)
DEPTH: Final = 20
QUICK_SECONDS: Final = 5.0
SERVER: Final = {"@qsim": "qsim", "@aer": "aer"}

Gate = tuple[str, list[int], Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """What is run.

    Attributes:
        series: Cases that differ in size only.
        growth: How many times as long it takes with a qubit more, about.
        gates: A name, qubits, and an angle: a number, ``{"column": i}``, or None.
        values: A row for each set of parameters.
        errors: Probabilities of depolarisation after gates of one qubit, but rz, and of two; empty for none.
    """

    series: str
    qubits: int
    gates: Sequence[Gate]
    growth: float
    values: Sequence[Sequence[float]] = ()
    shots: int = SHOTS
    errors: Sequence[float] = ()

    @property
    def name(self) -> str:
        """As the page has it."""
        return f"{self.series}, {self.qubits} qubits"

    def document(self) -> dict[str, Any]:
        """Return what a peer reads."""
        fields = ("name", "series", "qubits", "gates", "growth", "values", "shots", "errors")
        return {name: getattr(self, name) for name in fields}


def brickwork(qubits: int, depth: int = DEPTH) -> list[Gate]:
    """Return layers of any rotations, and of cz between neighbours by turns."""
    angles = iter(np.random.default_rng(qubits).uniform(0, 2 * np.pi, 3 * depth * qubits).tolist())
    gates: list[Gate] = []
    for layer in range(depth):
        for qubit in range(qubits):
            gates += [("rz", [qubit], next(angles)), ("sx", [qubit], None), ("rz", [qubit], next(angles))]
            gates += [("sx", [qubit], None), ("rz", [qubit], next(angles))]
        gates += [("cz", [qubit, qubit + 1], None) for qubit in range(layer % 2, qubits - 1, 2)]
    return gates


def fourier(qubits: int) -> list[Gate]:
    """Return the quantum Fourier transform of a state that is no basis state."""
    gates: list[Gate] = [
        (name, [qubit], angle) for qubit in range(qubits) for name, angle in (("sx", None), ("rz", 0.3 + qubit))
    ]
    for target in reversed(range(qubits)):
        gates.append(("h", [target], None))
        gates += [("cp", [control, target], float(np.pi / 2 ** (target - control))) for control in range(target)]
    return [*gates, *(("swap", [qubit, qubits - 1 - qubit], None) for qubit in range(qubits // 2))]


def ansatz(qubits: int) -> list[Gate]:
    """Return four layers of rotations with parameters, and of cx along a line."""
    gates: list[Gate] = []
    for layer in range(4):
        for qubit in range(qubits):
            gates += [("sx", [qubit], None), ("rz", [qubit], {"column": layer * qubits + qubit}), ("sx", [qubit], None)]
        gates += [("cx", [qubit, qubit + 1], None) for qubit in range(qubits - 1)]
    return gates


def cases(threads: int, *, quick: bool) -> Iterator[Case]:
    """Yield what is run; of each series the smallest first.

    More threads make a difference only where a state is large.
    """
    rng = np.random.default_rng(1)
    wide = [16] if quick else [16, 20, 22, 24, 26] if threads == 1 else [20, 24, 26]
    for qubits in wide:
        yield Case(series=f"brickwork, depth {DEPTH}", qubits=qubits, gates=brickwork(qubits), growth=2.15)
    for qubits in wide:
        yield Case(series="QFT", qubits=qubits, gates=fourier(qubits), growth=2.2)
    for qubits in [12] if quick else [12, 16, 18, 20] if threads == 1 else [16, 20]:
        yield Case(
            series=f"noisy brickwork, depth {DEPTH}, {TRAJECTORIES} shots",
            qubits=qubits,
            gates=brickwork(qubits),
            growth=2.15,
            shots=TRAJECTORIES,
            errors=ERRORS,
        )
    for qubits in [] if threads > 1 else [4] if quick else [4, 8, 12]:
        values = rng.uniform(0, 2 * np.pi, (100, 4 * qubits)).tolist()
        yield Case(series="100 parameter sets", qubits=qubits, gates=ansatz(qubits), growth=1.5, values=values)


def peer_seconds(
    simulator: str, threads: int, chosen: Sequence[Case], limit: float
) -> Iterator[tuple[str, str | float]]:
    """Yield the seconds of each case on a simulator, or why there are none."""
    left = list(chosen)
    while left:
        for name, seconds in _answers(simulator, threads, left, limit):
            yield name, seconds
            left.pop(0)
        if left:
            # It was ended, and so would it be at the larger ones.
            series = left[0].series
            yield from ((case.name, "too long") for case in left if case.series == series)
            left = [case for case in left if case.series != series]


def _answers(simulator: str, threads: int, chosen: Sequence[Case], limit: float) -> Iterator[tuple[str, str | float]]:
    """Yield what a process says of each case, until one takes far too long."""
    request = {
        "simulator": simulator,
        "threads": threads,
        "limit": limit,
        "cases": [case.document() for case in chosen],
    }
    with subprocess.Popen(
        [PYTHON, Path(__file__).with_name("simulator_peers.py")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": str(threads), "PYTHONPATH": ""},
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(request))
        process.stdin.close()
        for line in process.stdout:
            found = json.loads(line)
            yield found["case"], found.get("seconds", found.get("none"))
    if process.returncode not in {0, -signal.SIGALRM}:
        raise RuntimeError(f"{simulator} ended with {process.returncode}")


def circuit_of(case: Case) -> QuantumCircuit:
    """Return the case's circuit as a client has it."""
    columns = [Parameter(f"p{column:03}") for column in range(len(case.values[0]) if case.values else 0)]
    circuit = QuantumCircuit(case.qubits)
    for name, qubits, angle in case.gates:
        given = [columns[angle["column"]]] if isinstance(angle, dict) else [] if angle is None else [angle]
        getattr(circuit, name)(*given, *qubits)
    circuit.measure_all()
    return circuit


def noise_of(case: Case) -> NoiseModel | None:
    """Return the case's errors."""
    if not case.errors:
        return None
    model = NoiseModel()
    for width, probability in enumerate(case.errors, start=1):
        names = sorted({name for name, qubits, _ in case.gates if len(qubits) == width and name != "rz"})
        model.add_all_qubit_quantum_error(depolarizing_error(probability, width), names)
    return model


def server_seconds(
    service: QiskitRuntimeService, executor: str, chosen: Sequence[Case], limit: float
) -> Iterator[tuple[str, str | float]]:
    """Yield the seconds of each case on an executor, from submission to result."""
    # None: with all gates, cp too.
    backend = service.backend(f"fake_quantum_sim@{executor}", use_fractional_gates=None)
    expected = Expected()
    for case in chosen:
        if expected.seconds(case.series, case.qubits, case.growth) > limit:
            yield case.name, "too long"
            continue
        sampler = SamplerV2(mode=backend)
        noise = noise_of(case)
        if noise is not None:
            sampler.options.simulator.noise_model = noise
        pub = (circuit_of(case), np.array(case.values) if case.values else None, case.shots)
        seconds = seconds_of(lambda: sampler.run([pub]).result())  # noqa: B023 - run at once
        expected.learn(case.series, case.qubits, seconds)
        yield case.name, seconds


Table = dict[str, dict[str, str | float]]
"""Seconds, or why there are none, by case and simulator."""


def measured(threads: int, chosen: Sequence[Case], limit: float) -> Table:
    """Return all seconds with so many threads."""
    table: Table = {case.name: {} for case in chosen}
    options = json.dumps({"qsim": {"threads": threads}, "aer": {"threads": threads}})
    with (
        tempfile.TemporaryDirectory() as folder,
        running_server(
            Path(folder) / "data", "--executors=aer=1", "--executors=qsim=1", QRS_EXECUTOR_OPTIONS=options
        ) as server,
    ):
        service = connect(server.url)
        for column, executor in SERVER.items():
            for name, seconds in server_seconds(service, executor, chosen, limit):
                table[name][column] = seconds
                told(threads, column, name, seconds)
    for simulator in PACKAGES:
        for name, seconds in peer_seconds(simulator, threads, chosen, limit):
            table[name][simulator] = seconds
            told(threads, simulator, name, seconds)
    return table


def told(threads: int, simulator: str, name: str, seconds: str | float) -> None:
    print(f"{threads} threads, {simulator}, {name}: {shown(seconds)}", file=sys.stderr, flush=True)


def shown(seconds: str | float) -> str:
    """Return seconds as the page has them."""
    return seconds if isinstance(seconds, str) else f"{seconds:.3g} s"


def ratios(row: Mapping[str, str | float]) -> tuple[str, str]:
    """Return how `@qsim` compares with the fastest bare simulator, and with bare Aer."""
    own = row["@qsim"]
    bare = {name: seconds for name in PACKAGES if isinstance(seconds := row[name], float)}
    if not isinstance(own, float) or not bare:
        return "", ""
    fastest = min(bare, key=lambda name: bare[name])
    best = f"{bare[fastest] / own:.2f} ({fastest})"
    return best, f"{bare['Aer'] / own:.1f}" if "Aer" in bare else ""


def versions() -> str:
    """Return the peers' packages with their versions."""
    script = "import importlib.metadata as m, sys; print(', '.join(f'{p} {m.version(p)}' for p in sys.argv[1:]))"
    done = subprocess.run([PYTHON, "-c", script, *PACKAGES.values()], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def page(tables: Mapping[int, Table], limit: float) -> str:
    """Return the page."""
    columns = [*SERVER, *PACKAGES]
    lines = [
        "# Simulators, side by side",
        "",
        "Made by `make bench-simulators`, in one run on one machine. `@qsim` and `@aer` are this server's executors",
        "over HTTP: from a client's submission to its result, with all that lies between. The others are bare",
        "simulators in a process of their own, as their users run them, their circuits built before. Seconds are",
        f"medians of three runs, or of one that takes more than {LONG_SECONDS:.0f}; what would take more than",
        f"{limit:.0f} is left out.",
        "",
        f"Machine: {machine()}. Peers: {versions()}. Aer, Qulacs and Lightning compute in double precision, their",
        f"default. Shots: {SHOTS:,} unless the row says otherwise. Noise: depolarisation of {ERRORS[0]:g} after sx,",
        f"{ERRORS[1]:g} after cz.",
        f"qsim, bare and in `@qsim`, fuses gates into matrices of {MAX_FUSED_GATE_SIZE} qubits. Circuits on which more",
        "threads make no difference are not repeated with two.",
        "",
        "The ratios are those of the fastest bare simulator's time, and of bare Aer's, to that of `@qsim`: above 1,",
        "the server answers sooner than the simulator alone.",
    ]
    for threads, table in tables.items():
        head = ["circuit", *columns, "fastest / @qsim", "Aer / @qsim"]
        lines += [
            "",
            f"## {threads} thread{'s' * (threads != 1)}",
            "",
            f"| {' | '.join(head)} |",
            "|---" * len(head) + "|",
        ]
        for name, row in table.items():
            lines.append(f"| {' | '.join([name, *(shown(row[column]) for column in columns), *ratios(row)])} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument(
        "--limit", type=float, default=30.0, help="seconds for one run; what would take longer is left out"
    )
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    limit = min(options.limit, QUICK_SECONDS) if options.quick else options.limit
    tables = {threads: measured(threads, list(cases(threads, quick=options.quick)), limit) for threads in THREADS}
    text = page(tables, limit)
    print(text)
    if not options.quick:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
