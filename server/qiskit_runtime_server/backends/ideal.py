"""The ideal device: no errors, every pair of qubits coupled, as large as the executor's memory allows."""

from typing import Any, Final

IDEAL_NAMES: Final = ("fake_quantum_sim", "statevector_simulator")

# Unless they ask for fractional gates, clients drop every gate with parameters but rz and p: the others must be
# universal without them. Wherever a device has rzz, clients hold it to angles in [0, pi/2]: better not to have it.
# Nor p, u and ry: samplomatic 0.21, which twirls circuits in clients, mixes up fixed angles of theirs on neighbouring
# qubits.
_GATES: Final = {
    "id": (),
    "x": (),
    "y": (),
    "z": (),
    "h": (),
    "s": (),
    "sdg": (),
    "t": (),
    "tdg": (),
    "sx": (),
    "sxdg": (),
    "rz": ("phi",),
    "cx": (),
    "cy": (),
    "cz": (),
    "swap": (),
    "rx": ("theta",),
    "cp": ("theta",),
    "crx": ("theta",),
    "cry": ("theta",),
    "crz": ("theta",),
}
_CONTROL_FLOW: Final = ("if_else", "for_loop", "while_loop", "switch_case")
_OTHERS: Final = ("measure", "reset", "delay")


def ideal_configuration(name: str, num_qubits: int) -> dict[str, Any]:
    """Return the configuration of an ideal device; it has no properties.

    No gate names the qubits that it acts on, and the coupling map is null: clients read both as "all of them", and need
    no list of all pairs.
    """
    return {
        "backend_name": name,
        "backend_version": "1.0.0",
        "n_qubits": num_qubits,
        "basis_gates": list(_GATES),
        "gates": [_gate(gate, parameters) for gate, parameters in _GATES.items()],
        "supported_instructions": [*_GATES, *_OTHERS, *_CONTROL_FLOW],
        "coupling_map": None,
        "supported_features": ["qasm3", "dynamic_circuits"],
        "dt": 1.0,
        "timing_constraints": {"acquire_alignment": 1, "granularity": 1, "min_length": 1, "pulse_alignment": 1},
        "online_date": "2025-01-01T00:00:00+00:00",
        "description": "Ideal simulator: no errors, all qubits coupled",
        "memory": True,
        "conditional": True,
        "n_registers": 1,
        "open_pulse": False,
    }


def _gate(name: str, parameters: tuple[str, ...]) -> dict[str, Any]:
    return {"name": name, "parameters": list(parameters), "qasm_def": ""}
