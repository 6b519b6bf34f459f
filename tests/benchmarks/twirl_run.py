"""Compares twirled errors with a device's own in exact distributions, and writes that to docs/reference/twirl.md."""

from pathlib import Path
from statistics import median

from kit.quantum.twirl import PATH, Moved, moved
from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.programs.device.device import load_device

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "twirl.md"
DEVICE = "fake_sherbrooke"
DEPTHS = (1, 2, 5, 10, 20)
CIRCUITS = 10

HEAD = """# What twirling the noise changes

Made by `make twirl`. [Clifford frames](../explanation/physics/clifford-frames.md) twirl errors that are no Pauli
channels over the Pauli operators. Here all is computed exactly, for {qubits} qubits of {device} ({path}) with
layers of random Clifford gates: the total variation between the distributions of the outcomes with the device's
noise and with the twirled noise, and between those with and without the device's noise. Of {circuits} circuits of each
depth: the median, with the range in brackets.

| layers | twirled instead of device noise | device noise instead of none |
|---|---|---|
"""


def shown(values: list[float]) -> str:
    """Return the median with the range."""
    return f"{median(values):.2g} [{min(values):.2g}, {max(values):.2g}]"


def row(depth: int, found: list[Moved]) -> str:
    """Return a line of the table."""
    return f"| {depth} | {shown([each.twirl for each in found])} | {shown([each.noise for each in found])} |\n"


def main() -> None:
    """Measure, and write the page."""
    device = load_device(Catalog(), DEVICE, ideal_qubits=20)
    path = ", ".join(map(str, PATH))
    text = HEAD.format(qubits=len(PATH), device=DEVICE, path=path, circuits=CIRCUITS)
    for depth in DEPTHS:
        text += row(depth, [moved(device, depth, seed) for seed in range(CIRCUITS)])
        print(text.splitlines()[-1], flush=True)
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
