"""Measures the executor `custatevec` on the GPU of this machine: `make gpu-test`.

Prints a table and writes it to docs/reference/gpu.md. Times of large states are in passes: what it takes to read and
write the whole state once, at the bandwidth with which this device copies memory, measured in the same run. `--numpy`
tries the same on small states without a GPU, and writes nothing.
"""

import argparse
import csv
import io
import math
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.circuit.library import UnitaryGate
from qiskit.quantum_info import random_unitary
from qiskit_aer import AerSimulator
from qiskit_aer.noise import NoiseModel, depolarizing_error, thermal_relaxation_error
from rich.console import Console
from rich.table import Table

from qiskit_runtime_server.executors.base import SampleTask
from qiskit_runtime_server.executors.custatevec.device_states import DeviceStates
from qiskit_runtime_server.executors.custatevec.executor import CuStateVecExecutor
from qiskit_runtime_server.executors.custatevec.options import Options
from qiskit_runtime_server.machine import in_words
from qiskit_runtime_server.simulation.statevector import lowering
from qiskit_runtime_server.simulation.statevector.numpy_states import NumPyStates
from qiskit_runtime_server.simulation.statevector.program import Gate, Run
from qiskit_runtime_server.simulation.statevector.state_port import States

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "gpu.md"
FUSIONS = (None, 3, 4, 5, 6, 7)
REPEATS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """How large everything is: qubits, unless the name says otherwise."""

    large: int = 30
    largest: int = 33
    shots: int = 1_000_000
    sweep: int = 12
    rows: int = 1000
    rows_alone: int = 20
    noisy: int = 20
    trajectories: int = 4096
    trajectories_alone: int = 16
    against_aer: tuple[int, ...] = (24, 26, 28)


SMALL = Sizes(
    large=10,
    largest=12,
    shots=1000,
    sweep=4,
    rows=50,
    rows_alone=5,
    noisy=6,
    trajectories=64,
    trajectories_alone=4,
    against_aer=(8,),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One line of the table."""

    what: str
    figure: str
    goal: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """What is measured.

    Attributes:
        states: Makes states with options.
        copy_seconds: How long the device takes to copy so many bytes, that is to read and to write them.
    """

    states: Callable[..., States]
    copy_seconds: Callable[[int], float]

    def executor(self, **options: Any) -> CuStateVecExecutor:
        """Return an executor with options."""
        return CuStateVecExecutor(states=self.states(**options), **options)


def quantum_volume(num_qubits: int) -> QuantumCircuit:
    """Return as many layers of random two-qubit gates on random pairs as there are qubits."""
    rng = np.random.default_rng(1)
    circuit = QuantumCircuit(num_qubits)
    for _ in range(num_qubits):
        order = rng.permutation(num_qubits).tolist()
        for one, other in zip(order[::2], order[1::2], strict=False):
            circuit.append(UnitaryGate(random_unitary(4, rng)), [one, other])
    return circuit


def brickwork(num_qubits: int, depth: int = 20) -> QuantumCircuit:
    """Return layers of random two-qubit gates on neighbours."""
    rng = np.random.default_rng(2)
    circuit = QuantumCircuit(num_qubits)
    for layer in range(depth):
        for qubit in range(layer % 2, num_qubits - 1, 2):
            circuit.append(UnitaryGate(random_unitary(4, rng)), [qubit, qubit + 1])
    return circuit


def fourier_transform(num_qubits: int) -> QuantumCircuit:
    """Return the quantum Fourier transform without its final swaps."""
    circuit = QuantumCircuit(num_qubits)
    for target in reversed(range(num_qubits)):
        circuit.h(target)
        for control in range(target):
            circuit.cp(math.pi / 2 ** (target - control), control, target)
    return circuit


CIRCUITS = {"quantum volume": quantum_volume, "brickwork, depth 20": brickwork, "QFT": fourier_transform}
GOALS = {"quantum volume": "0.30", "brickwork, depth 20": "0.25", "QFT": "the best of the sweep"}


def timed(run: Callable[[], object], repeats: int = REPEATS) -> float:
    """Return the least of some times, in seconds."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


@contextmanager
def queued(states: States, circuit: QuantumCircuit) -> Iterator[tuple[Callable[[], object], Callable[[], object]]]:
    """Yield what evolves a circuit from |0...0> and waits for its end, and what only waits."""
    (run,) = lowering.program(circuit, None).steps
    assert isinstance(run, Run)
    with states.state(circuit.num_qubits) as state, states.queue() as queue:
        for step in run.steps:
            assert isinstance(step, Gate)
            queue.matrix(step.matrices(np.empty((1, 0)))[0], step.qubits)

        def wait() -> None:
            state.sample((0,), np.array([0.5]))

        def evolve() -> None:
            state.clear()
            queue.apply(state, np.empty(0))
            wait()

        yield evolve, wait


def passes_per_gate(machine: Machine, circuit: QuantumCircuit, **options: Any) -> float:
    """Return how many passes over the state an evolution takes for each gate of two qubits."""
    with queued(machine.states(**options), circuit) as (evolve, wait):
        evolve()
        seconds = timed(evolve) - timed(wait)
    gates = sum(len(instruction.qubits) == 2 for instruction in circuit.data)
    return seconds / machine.copy_seconds(8 << circuit.num_qubits) / gates


def large_states(machine: Machine, sizes: Sizes) -> Iterator[Row]:
    """Yield the passes of each circuit, for each width of fusion."""
    for name, make in CIRCUITS.items():
        circuit = make(sizes.large)
        found = {width: passes_per_gate(machine, circuit, dense_fusion=width) for width in FUSIONS}
        shown = ", ".join(f"{width or 'default'}: {passes:.3f}" for width, passes in found.items())
        yield Row(what=f"{sizes.large} qubits, {name}: passes per two-qubit gate", figure=shown, goal=GOALS[name])


def largest_state(machine: Machine, sizes: Sizes) -> Iterator[Row]:
    """Yield whether the largest state runs, where the device has the memory for it."""
    states, what = machine.states(), f"{sizes.largest} qubits, complex64 ({in_words(8 << sizes.largest)})"
    if 8 << sizes.largest > states.device().memory_bytes:
        yield Row(what=what, figure=f"not run: there are {in_words(states.device().memory_bytes)}")
        return
    with queued(states, brickwork(sizes.largest, depth=4)) as (evolve, _):
        yield Row(what=f"{what}, brickwork of depth 4", figure=f"{timed(evolve, 1):.2f} s", goal="runs")


def many_shots(machine: Machine, sizes: Sizes) -> Iterator[Row]:
    """Yield how long shots of a large state take, beyond its evolution."""
    circuit = brickwork(sizes.large, depth=4)
    states = machine.states()
    draws = np.random.default_rng(3).random(sizes.shots)
    (run,) = lowering.program(circuit, None).steps
    assert isinstance(run, Run)
    with states.state(sizes.large) as state, states.queue() as queue:
        for step in run.steps:
            assert isinstance(step, Gate)
            queue.matrix(step.matrices(np.empty((1, 0)))[0], step.qubits)
        queue.apply(state, np.empty(0))
        state.sample((0,), draws[:1])
        seconds = timed(lambda: state.sample(range(sizes.large), draws))
    yield Row(what=f"{sizes.shots:,} shots of {sizes.large} qubits", figure=f"{seconds:.3f} s", goal="0.5 s")


def sweep_task(sizes: Sizes) -> SampleTask:
    """Return layers of gates with angles, for many sets of values."""
    circuit = QuantumCircuit(sizes.sweep, sizes.sweep)
    for layer in range(20):
        for qubit in range(sizes.sweep):
            circuit.ry(Parameter(f"{layer:02}.{qubit:02}"), qubit)
        for qubit in range(layer % 2, sizes.sweep - 1, 2):
            circuit.cx(qubit, qubit + 1)
    circuit.measure(range(sizes.sweep), range(sizes.sweep))
    values = np.random.default_rng(4).uniform(0, 6, (sizes.rows, circuit.num_parameters))
    seeds = np.arange(sizes.rows, dtype=np.uint64)
    return SampleTask(circuit=circuit, parameter_values=values, shots=100, noise=None, seeds=seeds)


def parameter_sweep(machine: Machine, sizes: Sizes) -> Iterator[Row]:
    """Yield how much faster many parameter sets are together than one by one."""
    task = sweep_task(sizes)
    executor = machine.executor()
    executor.sample(task)
    together = timed(lambda: executor.sample(task))
    alone = 0.0
    for row in range(sizes.rows_alone):
        part = SampleTask(
            circuit=task.circuit,
            parameter_values=task.parameter_values[row : row + 1],
            shots=task.shots,
            noise=None,
            seeds=task.seeds[row : row + 1],
        )
        alone += timed(partial(executor.sample, part), 1)
    gain = alone / sizes.rows_alone * sizes.rows / together
    what = (
        f"{sizes.rows:,} parameter sets, {sizes.sweep} qubits, depth 20, against one by one ({sizes.rows_alone} timed)"
    )
    yield Row(what=what, figure=f"{together:.3f} s, {gain:.1f} x faster", goal="50 x")


def trajectories(machine: Machine, sizes: Sizes) -> Iterator[Row]:
    """Yield how many noisy trajectories a second takes, and what running them together brings."""
    circuit = QuantumCircuit(sizes.noisy, sizes.noisy)
    for layer in range(10):
        circuit.sx(range(sizes.noisy))
        for qubit in range(layer % 2, sizes.noisy - 1, 2):
            circuit.cx(qubit, qubit + 1)
    circuit.measure(range(sizes.noisy), range(sizes.noisy))
    model = NoiseModel()
    model.add_all_qubit_quantum_error(depolarizing_error(0.005, 2), "cx")
    model.add_all_qubit_quantum_error(thermal_relaxation_error(200e3, 150e3, 50), "sx")

    def rate(shots: int, **options: Any) -> float:
        seeds = np.ones(1, dtype=np.uint64)
        task = SampleTask(circuit=circuit, parameter_values=np.empty((1, 0)), shots=shots, noise=model, seeds=seeds)
        executor = machine.executor(**options)
        executor.sample(task)
        return shots / timed(lambda: executor.sample(task), 1)

    together = rate(sizes.trajectories)
    alone = rate(sizes.trajectories_alone, batched_qubits=0)
    what = f"{sizes.trajectories:,} noisy trajectories of {sizes.noisy} qubits, against one by one"
    yield Row(what=what, figure=f"{together:.1f} per second, {together / alone:.1f} x faster")


def aer_seconds(circuit: QuantumCircuit, device: str) -> float:
    """Return how long Aer takes for one shot of a circuit."""
    measured = circuit.copy()
    measured.measure_all()
    simulator = AerSimulator(method="statevector", device=device, precision="single")
    return timed(lambda: simulator.run(measured, shots=1).result(), 1)


def against_aer(machine: Machine, sizes: Sizes) -> Iterator[Row]:
    """Yield times beside those of Aer on this machine's processors, and on its GPU if Aer was built for it."""
    devices = [device for device in AerSimulator().available_devices() if device in {"CPU", "GPU"}]
    for num_qubits in sizes.against_aer:
        circuit = brickwork(num_qubits)
        with queued(machine.states(), circuit) as (evolve, _):
            evolve()
            ours = timed(evolve)
        theirs = []
        for device in devices:
            seconds = aer_seconds(circuit, device)
            theirs.append(f"Aer on the {device} {seconds:.3g} s ({seconds / ours:.1f} x)")
        yield Row(what=f"{num_qubits} qubits, brickwork, depth 20", figure=f"{ours:.3g} s; {', '.join(theirs)}")


MEASURES = (large_states, largest_state, many_shots, parameter_sweep, trajectories, against_aer)


def kernels(summary: str) -> int:
    """Return how many kernels a report `cuda_gpu_kern_sum` of nsys counts."""
    lines = summary.splitlines()
    start = next(number for number, line in enumerate(lines) if "Instances" in line)
    return sum(int(row["Instances"].replace(",", "")) for row in csv.DictReader(io.StringIO("\n".join(lines[start:]))))


def profiled(sizes: Sizes) -> Iterator[Row]:
    """Yield how many kernels each circuit takes, counted by nsys; cuStateVec itself does not tell."""
    nsys = shutil.which("nsys")
    if nsys is None:
        yield Row(what="kernels", figure="not counted: there is no nsys")
        return
    for name in CIRCUITS:
        with tempfile.TemporaryDirectory() as folder:
            report = f"{folder}/report"
            this = [sys.executable, __file__, "--evolve", name]
            subprocess.run([nsys, "profile", "--trace=cuda", f"--output={report}", *this], check=True)
            stats = [nsys, "stats", "--report=cuda_gpu_kern_sum", "--format=csv", f"{report}.nsys-rep"]
            summary = subprocess.run(stats, check=True, capture_output=True, text=True).stdout
        yield Row(what=f"{sizes.large} qubits, {name}: kernels of one evolution", figure=str(kernels(summary)))


def gpu() -> Machine:
    """Return this machine's GPU.

    Raises:
        StartupError: If there is none.
    """
    states = DeviceStates(Options())
    states.device()
    cupy = states._library.cupy

    def copy_seconds(size: int) -> float:
        part = min(size, 2**32)
        source, target = (cupy.empty(part, dtype="uint8") for _ in range(2))
        begin, end = (cupy.cuda.Event() for _ in range(2))
        target[:] = source
        begin.record()
        for _ in range(10):
            target[:] = source
        end.record()
        end.synchronize()
        return float(cupy.cuda.get_elapsed_time(begin, end)) / 1e3 / 10 * size / part

    return Machine(states=lambda **options: DeviceStates(Options.of(options)), copy_seconds=copy_seconds)


def numpy() -> Machine:
    """Return a machine without a GPU."""

    def copy_seconds(size: int) -> float:
        source = np.ones(size, dtype=np.uint8)
        return timed(source.copy)

    return Machine(states=lambda **_: NumPyStates(memory_bytes=2**26, single=True), copy_seconds=copy_seconds)


def evolve_once(name: str) -> None:
    """Evolve one circuit, for a profiler."""
    with ExitStack() as stack:
        evolve, _ = stack.enter_context(queued(gpu().states(), CIRCUITS[name](Sizes().large)))
        evolve()


def page(rows: list[Row], device: str) -> str:
    """Return the reference page."""
    packages = ", ".join(f"{name} {version(name)}" for name in ("qiskit", "qiskit-aer"))
    lines = [
        "# GPU figures",
        "",
        "Made by `make gpu-test`. A pass is the time to read and write the whole state once at the bandwidth with",
        "which this device copies memory, measured in the same run; numbers before colons are widths of dense fusion.",
        "",
        f"Device: {device}; {packages}.",
        "",
        "| what | figure | goal |",
        "|---|---|---|",
        *(f"| {row.what} | {row.figure} | {row.goal} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print, and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--numpy", action="store_true", help="small, on NumPy; writes nothing")
    parser.add_argument("--evolve", help="evolve one circuit once, for a profiler")
    arguments = parser.parse_args()
    if arguments.evolve:
        evolve_once(arguments.evolve)
        return
    machine, sizes = (numpy(), SMALL) if arguments.numpy else (gpu(), Sizes())
    rows = [
        Row(what="copy bandwidth, read and write", figure=f"{2 * 2**28 / machine.copy_seconds(2**28) / 1e9:.0f} GB/s")
    ]
    for measure in MEASURES:
        rows += measure(machine, sizes)
    rows += [] if arguments.numpy else profiled(sizes)
    table = Table("what", "figure", "goal")
    for row in rows:
        table.add_row(row.what, row.figure, row.goal)
    console = Console(width=160)
    console.print(table)
    device = machine.states().device()
    name = (
        f"{device.name}, compute capability {device.compute_capability}" if device.compute_capability else device.name
    )
    if not arguments.numpy:
        PAGE.write_text(page(rows, name))
    console.print(name)


if __name__ == "__main__":
    main()
