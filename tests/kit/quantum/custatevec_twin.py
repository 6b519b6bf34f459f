"""The executor `custatevec` on NumPy instead of a GPU, as plug-ins that servers of the tests find."""

from pathlib import Path
from typing import Any

import kit
from qiskit_runtime_server.executors.custatevec.executor import CuStateVecExecutor
from qiskit_runtime_server.simulation.statevector.numpy_states import NumPyStates

ENTRY_POINTS = """[qiskit_runtime_server.executors]
twin = kit.quantum.custatevec_twin:Twin
crowded = kit.quantum.custatevec_twin:Crowded
"""


class Twin(CuStateVecExecutor):
    """Has 64 MiB."""

    def __init__(self, **options: Any) -> None:
        single = options.get("precision", "single") == "single"
        super().__init__(states=NumPyStates(memory_bytes=2**26, single=single), **options)


class Crowded(CuStateVecExecutor):
    """Says that it has 64 MiB, of which somebody else has taken all but one."""

    def __init__(self) -> None:
        super().__init__(states=NumPyStates(memory_bytes=2**26, free_bytes=2**20, single=True))


def environment(folder: Path) -> dict[str, str]:
    """Install the plug-ins into `folder` and return the variables with which a process sees them."""
    metadata = folder / "custatevec_twin-1.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: custatevec-twin\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(ENTRY_POINTS)
    return {"PYTHONPATH": kit.environment(folder)["PYTHONPATH"]}
