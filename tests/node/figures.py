"""What the end-to-end tests measure, as a table."""

import os
import platform
from pathlib import Path

_PAGE = """# End to end: figures

Made by `make e2e`: the images, the chart and the resource that users have, on a one-node cluster of real processes
(containerd, kubelet, Contour with Envoy), and the real client.

Machine: {machine}.

| what | measured | goal |
|---|---|---|
"""


class Figures:
    """A table that grows.

    Args:
        image_sizes: Of each image beyond its base, in bytes.
    """

    def __init__(self, image_sizes: dict[str, int]) -> None:
        goals = dict.fromkeys(("qiskit-runtime-server-api", "qiskit-runtime-operator"), "150 MB")
        self._rows = [
            (f"image {name}, beyond its base", f"{size / 1e6:.0f} MB", goals.get(name, ""))
            for name, size in image_sizes.items()
        ]

    def add(self, what: str, value: float, unit: str, goal: str = "") -> None:
        """Add a row."""
        self._rows.append((what, f"{value:.3g} {unit}", goal))

    def report(self, to: str | None) -> None:
        """Print the table, and write it to the page `to`."""
        lines = [f"| {what} | {measured} | {goal} |" for what, measured, goal in self._rows]
        print("", *lines, sep="\n")
        if to:
            kernel = platform.release().partition("-")[0]
            machine = f"{os.cpu_count()} cores, Linux {kernel}, Python {platform.python_version()}"
            Path(to).write_text(_PAGE.format(machine=machine) + "\n".join(lines) + "\n")
