"""Reads circuits from QPY that is hostile: they come out with instructions that fit their operations, or not at all."""

import io
import struct
import warnings
from collections.abc import Callable
from typing import Final

import qiskit
from ibm_quantum_schemas.common.annotation_serializer import AnnotationSerializer
from qiskit import qpy as qiskit_qpy
from qiskit.circuit import QuantumCircuit

from qiskit_runtime_server.programs.wire import qpy_structure
from qiskit_runtime_server.programs.wire.qpy_names import LAST_VERSION_WITH_NAMES, with_names_of_their_own
from qiskit_runtime_server.programs.wire.qpy_structure import check_structure
from qiskit_runtime_server.programs.wire.well_formed import check_instructions, check_units

MIN_QPY_VERSION: Final = 13
"""Below it, parameter expressions are text that the reader evaluates."""
QPY_VERSION_WITH_TABLE: Final = 16
MAX_BITS: Final = qpy_structure.MAX_BITS

# Boxes may say how they are to be twirled.
_ANNOTATIONS: Final = {"samplomatic": AnnotationSerializer}


def read_circuits(data: bytes, number: int, announce: Callable[[int], None]) -> list[QuantumCircuit]:
    """Return the circuits in a QPY file, which must be `number`.

    Args:
        data: The file.
        number: Of circuits.
        announce: Counts bits that circuits announce, and raises ValueError when there are too many.

    Raises:
        Exception: Whatever `damage` is there for.
    """
    expressions: list[tuple[int, int]] = []
    check_qpy(data, number, announce, expressions)
    if version_of(data) <= LAST_VERSION_WITH_NAMES:
        data = with_names_of_their_own(data, expressions)
    with warnings.catch_warnings():
        # A newer patch release writes the same format: what counts is the version that was just checked.
        warnings.simplefilter("ignore", UserWarning)
        circuits = qiskit_qpy.load(io.BytesIO(data), annotation_factories=_ANNOTATIONS)
    if len(circuits) != number or not all(isinstance(circuit, QuantumCircuit) for circuit in circuits):
        raise ValueError(f"{_numbered(number)} needed, the QPY holds {len(circuits)}.")
    for circuit in circuits:
        check_units(circuit)
        check_instructions(circuit)
    return list(circuits)


def version_of(data: bytes) -> int:
    """Return the version of the format that a QPY file is in, which has been checked."""
    return data[len(b"QISKIT")]


def check_qpy(
    data: bytes, number: int, announce: Callable[[int], None], expressions: list[tuple[int, int]] | None = None
) -> None:
    """Check that a QPY file can be read safely: its version, its number of circuits, and all sizes in it.

    Where its expressions of parameters are is added to `expressions`.

    Raises:
        ValueError, struct.error: If it does not.
    """
    if data[:6] != b"QISKIT" or len(data) < struct.calcsize("!6sBBBBQ"):
        raise ValueError("the data is not QPY.")
    _, version, *release, programs = struct.unpack_from("!6sBBBBQ", data)
    writer = ".".join(map(str, release))
    if version > qiskit_qpy.common.QPY_VERSION:
        raise ValueError(
            f"the circuit is in QPY version {version} (Qiskit {writer}); this server runs Qiskit {qiskit.__version__}"
            f" and reads QPY versions {MIN_QPY_VERSION} to {qiskit_qpy.common.QPY_VERSION}."
        )
    if version < MIN_QPY_VERSION:
        raise ValueError(
            f"the circuit is in QPY version {version} (Qiskit {writer}); this server reads QPY versions"
            f" {MIN_QPY_VERSION} to {qiskit_qpy.common.QPY_VERSION}: upgrade the client's Qiskit."
        )
    if programs != number:
        raise ValueError(f"{_numbered(number)} needed, the QPY holds {programs}.")
    start = struct.calcsize("!6sBBBBQcc")
    table = struct.unpack_from(f"!{number}Q", data, start) if version >= QPY_VERSION_WITH_TABLE else None
    for place in range(number):
        # Without a table, the circuits follow each other.
        begin = start if table is None else table[place]
        if begin < start:
            raise ValueError("its circuits overlap.")
        start = check_structure(data, version, begin, announce, expressions)


def _numbered(number: int) -> str:
    return "one circuit is" if number == 1 else f"{number} circuits are"
