"""Run the kicked Ising model on all qubits of a device: ideal, with the device's errors, and with these mitigated.

The experiment is that of Kim et al., 2023, https://doi.org/10.1038/s41586-023-06096-3. It prints a table, and draws it
if a file is named.

First: eval "$(qiskit-runtime-server connect http://localhost:8000)"
Then:  python examples/utility_scale.py --svg utility-scale.svg
"""

import argparse
import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.quantum_info import SparsePauliOp
from qiskit.transpiler import generate_preset_pass_manager
from qiskit_aer.noise import NoiseModel
from qiskit_ibm_runtime import EstimatorV2, IBMBackend, QiskitRuntimeService

SEED = 1
"""Fixes all bits: who runs the script draws the same picture."""

# Values that no exact method can reach may be off by so much; the result says by how much they are.
TRUNCATED = {"approximation": "truncated", "max_truncation_error": 0.02}

ZNE = {
    "zne_mitigation": True,
    # An exponential always goes through two points, so their fit could tell no error. Where nothing is left of a value,
    # no exponential fits: then a line does.
    "zne": {"noise_factors": [1, 3, 5], "extrapolator": ["exponential", "linear"]},
    "measure_mitigation": True,
}
# Twirled gates would make a circuit of each randomization. Relaxation and depolarization need none, and neither do
# measurements whose errors are the same for 0 and 1: one randomization is as good as many.
NO_TWIRLED_GATES = {"enable_gates": False, "enable_measure": True, "num_randomizations": 1}

CURVES: Mapping[str, Mapping[str, Any]] = {
    # A noise model without errors takes the place of the device's.
    "ideal": {"resilience_level": 0, "simulator": {"noise_model": NoiseModel()}},
    "noisy": {"resilience_level": 0},
    "mitigated": {"resilience_level": 2, "resilience": ZNE, "twirling": NO_TWIRLED_GATES},
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Expectation values for some angles.

    Attributes:
        values: One for each angle.
        errors: Standard errors of these, from shots.
        truncation_error: By how much truncation may have changed them.
        methods: How they were simulated.
    """

    values: NDArray[np.float64]
    errors: NDArray[np.float64]
    truncation_error: float
    methods: Sequence[str]


def main() -> None:
    """Run the three jobs, print a table, and draw it if that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backend", default="fake_sherbrooke@aer", help="a device with ecr, 127 qubits by default")
    parser.add_argument("--qubits", type=int, help="take only so many of the device's first qubits")
    parser.add_argument("--measure", type=int, default=61, help="the qubit whose magnetization is estimated")
    parser.add_argument("--steps", type=int, default=4, help="how often the chain is kicked")
    parser.add_argument("--angles", type=int, default=9, help="how many, from 0 to pi/2")
    parser.add_argument("--precision", type=float, default=0.01)
    parser.add_argument("--svg", type=Path, help="where to draw the curves")
    asked = parser.parse_args()
    # The client announces that its next major version has other primitives.
    warnings.filterwarnings("ignore", category=DeprecationWarning, message=".*V2 class is deprecated")

    backend = QiskitRuntimeService().backend(asked.backend)
    angles = np.linspace(0, math.pi / 2, asked.angles)
    model = kicked_ising(backend, asked.qubits or backend.num_qubits, asked.steps)
    manager = generate_preset_pass_manager(
        backend=backend, optimization_level=2, initial_layout=list(range(model.num_qubits)), seed_transpiler=SEED
    )
    isa = manager.run(model)
    magnetization = SparsePauliOp.from_sparse_list([("Z", [asked.measure], 1.0)], model.num_qubits)
    pub = (isa, magnetization.apply_layout(isa.layout), angles)

    curves = {}
    for name, options in CURVES.items():
        how = {"experimental": {"simulator": TRUNCATED}, "seed_estimator": SEED}
        estimator = EstimatorV2(mode=backend, options={**options, **how})
        (result,) = estimator.run([pub], precision=asked.precision).result()
        ways = result.metadata["simulation"]
        curves[name] = Curve(
            values=result.data.evs,
            errors=result.data.stds,
            truncation_error=max(way["truncation_error"] for way in ways),
            methods=[f"{way['method']} of {len(way['qubits'])} qubits" for way in ways],
        )
        print(f"{name}: {', '.join(curves[name].methods)}; truncation error {curves[name].truncation_error:.2g}")
    print_table(angles, curves)
    if asked.svg:
        title = f"<Z> of qubit {asked.measure} after {asked.steps} steps on {model.num_qubits} qubits"
        asked.svg.write_text(drawn(title, angles, curves))


def kicked_ising(backend: IBMBackend, num_qubits: int, steps: int) -> QuantumCircuit:
    """Return so many steps: each qubit is kicked by rx(theta), each pair of neighbours coupled by rzz(-pi/2)."""
    # Couplers that could not be calibrated have the error 1, and leave nothing of a state.
    pairs = {
        (min(pair), max(pair))
        for pair, known in backend.target["ecr"].items()
        if known.error < 1 and max(pair) < num_qubits
    }
    theta = Parameter("theta")
    circuit = QuantumCircuit(num_qubits)
    for _ in range(steps):
        circuit.rx(theta, range(num_qubits))
        for pair in sorted(pairs):
            circuit.rzz(-math.pi / 2, *pair)
    return circuit


def print_table(angles: NDArray[np.float64], curves: Mapping[str, Curve]) -> None:
    """Print all values with their standard errors."""
    print("theta  " + "".join(f"{name:>20}" for name in curves))
    for number, angle in enumerate(angles):
        cells = (f"{curve.values[number]:9.4f} +- {curve.errors[number]:.4f}" for curve in curves.values())
        print(f"{angle:.4f} " + "".join(f"{cell:>20}" for cell in cells))


WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 640, 360, 60, 620, 50, 310
COLOURS = {"ideal": "#0f172a", "noisy": "#dc2626", "mitigated": "#2563eb"}
TICKS = {"0": 0.0, "π/8": math.pi / 8, "π/4": math.pi / 4, "3π/8": 3 * math.pi / 8, "π/2": math.pi / 2}


def drawn(title: str, angles: NDArray[np.float64], curves: Mapping[str, Curve]) -> str:
    """Return an SVG picture: a line for each curve, and a bar of two standard errors to each side at each point."""
    low = min(-0.1, *(float((curve.values - 2 * curve.errors).min()) for curve in curves.values()))
    high = max(1.1, *(float((curve.values + 2 * curve.errors).max()) for curve in curves.values()))

    def across(angle: float) -> float:
        return round(LEFT + (RIGHT - LEFT) * angle / (math.pi / 2), 1)

    def up(value: float) -> float:
        return round(TOP + (BOTTOM - TOP) * (high - value) / (high - low), 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        '<g font-family="Helvetica, Arial, sans-serif" font-size="13" text-anchor="middle" fill="#0f172a">',
        text(WIDTH / 2, 24, title.replace("<", "&lt;").replace(">", "&gt;")),
        text(WIDTH / 2, HEIGHT - 8, "theta"),
        *(text(across(angle), BOTTOM + 20, name) for name, angle in TICKS.items()),
    ]
    for value in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts.append(text(LEFT - 24, up(value) + 4, f"{value:g}"))
        parts.append(f'<path d="M{LEFT},{up(value)} H{RIGHT}" stroke="#e2e8f0"/>')
    for number, (name, curve) in enumerate(curves.items()):
        points = [(across(angle), up(value)) for angle, value in zip(angles, curve.values, strict=True)]
        ends = zip(points, up_and_down(curve, up), strict=True)
        line = " L".join(f"{x},{y}" for x, y in points)
        bars = " ".join(f"M{x},{bottom} V{top}" for (x, _), (bottom, top) in ends)
        key, height = RIGHT - 120, TOP + 14 + 18 * number
        dash = "" if name == "ideal" else ' stroke-dasharray="5 3"'
        parts += [
            f'<g id="{name}" stroke="{COLOURS[name]}" stroke-width="1.6" fill="none">',
            f'<path d="M{line}"{dash}/><path d="{bars}"/><path d="M{key},{height} h24"{dash}/>',
            "</g>",
            text(key + 64, height + 4, name),
        ]
    return "\n".join([*parts, "</g>", "</svg>", ""])


def up_and_down(curve: Curve, up: Callable[[float], float]) -> list[tuple[float, float]]:
    """Return where the bar of each point begins and ends."""
    low, high = curve.values - 2 * curve.errors, curve.values + 2 * curve.errors
    return [(up(float(one)), up(float(other))) for one, other in zip(low, high, strict=True)]


def text(x: float, y: float, words: str) -> str:
    """Return words around a place."""
    return f'<text x="{x:.1f}" y="{y:.1f}">{words}</text>'


if __name__ == "__main__":
    main()
