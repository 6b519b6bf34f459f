"""Rewrites devices with the gates u1, u2 and u3, which current clients cannot transpile to, in rz, sx and x.

On these devices u1 is a change of frame, u2 takes one pulse and u3 two. Errors and durations carry over to the gates
that take as many pulses there: rz, sx and x = u3(pi, 0, pi).
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

_NEW_NAMES: Final = {"u1": "rz", "u2": "sx", "u3": "x"}
_NEW_GATES: Final[dict[str, dict[str, Any]]] = {
    "rz": {"name": "rz", "parameters": ["theta"], "qasm_def": "gate rz(theta) q { U(0, 0, theta) q; }"},
    "sx": {"name": "sx", "parameters": [], "qasm_def": "gate sx q { U(pi/2, 3*pi/2, pi/2) q; }"},
    "x": {"name": "x", "parameters": [], "qasm_def": "gate x q { U(pi, 0, pi) q; }"},
}


def has_legacy_basis(configuration: Mapping[str, Any]) -> bool:
    """Tell whether the device has to be rewritten."""
    return _NEW_NAMES.keys() <= set(configuration["basis_gates"])


def modern_configuration(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration with rz, sx and x in place of u1, u2 and u3."""
    modern = {
        **configuration,
        "basis_gates": _renamed(configuration["basis_gates"]),
        "gates": [_modern_gate(gate) for gate in configuration["gates"]],
    }
    if configuration.get("supported_instructions"):
        modern["supported_instructions"] = _renamed(configuration["supported_instructions"])
    return modern


def modern_properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Return the properties with the values of u1, u2 and u3 under the names rz, sx and x."""
    return {**properties, "gates": [_modern_calibration(gate) for gate in properties["gates"]]}


def _renamed(names: Iterable[str]) -> list[str]:
    # A device may list x or rz beside u3 already; each name is wanted once.
    return list(dict.fromkeys(_NEW_NAMES.get(name, name) for name in names))


def _modern_gate(gate: Mapping[str, Any]) -> dict[str, Any]:
    new = _NEW_GATES.get(_NEW_NAMES.get(gate["name"], ""), {})
    return {**gate, **new}


def _modern_calibration(gate: Mapping[str, Any]) -> dict[str, Any]:
    new = _NEW_NAMES.get(gate["gate"])
    if new is None:
        return dict(gate)
    label = "_".join([new, *map(str, gate["qubits"])])
    return {**gate, "gate": new, "name": label}
