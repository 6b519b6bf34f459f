"""What people are shown of a job's circuits, made where they may be decoded: in a worker process.

They come from outside, so what is made of them is bounded, and is text and numbers only: whoever shows it has to treat
it as text. `api.models.views` says of which form the documents are. `outcomes.py` beside it does the same for results.
"""

from typing import Any, Final

import msgspec
from qiskit.circuit import QuantumCircuit

from qiskit_runtime_server.messages.programs import ProgramName
from qiskit_runtime_server.programs.wire import reading
from qiskit_runtime_server.programs.wire.params import decode_params, estimator_pub, sampler_pub
from qiskit_runtime_server.programs.wire.quantum_program import decode_program

MOST_CIRCUITS: Final = 4
MOST_GATES: Final = 400
MOST_QUBITS: Final = 40
_MOST_TEXT: Final = 60_000
_MOST_OPTIONS: Final = 8_000
_LONG: Final = 200
_COLUMNS: Final = 110
MOST_NAME: Final = 200


def drawing(program: str, document: bytes) -> bytes:
    """Return what the params of a job ask for: its options, and its first circuits, drawn as text.

    Raises:
        InvalidInputError: If they cannot be read, or no drawing is made of those of this program.
    """
    circuits = _circuits(program, document)
    options = reading.as_object(reading.parse(document), "params").get("options") or {}
    return msgspec.json.encode(
        {
            "options": as_text(options),
            "circuits": [_drawn(circuit) for circuit in circuits[:MOST_CIRCUITS]],
            "more": max(0, len(circuits) - MOST_CIRCUITS),
        }
    )


def _circuits(program: str, document: bytes) -> list[QuantumCircuit]:
    match program:
        case ProgramName.SAMPLER:
            params = decode_params(document, "shots")
            return [sampler_pub(pub, f"pubs[{index}]").circuit for index, pub in enumerate(params.pubs)]
        case ProgramName.ESTIMATOR:
            params = decode_params(document, "precision")
            return [estimator_pub(pub, f"pubs[{index}]").circuit for index, pub in enumerate(params.pubs)]
        case ProgramName.EXECUTOR:
            return [item.circuit for item in decode_program(document).items]
        case ProgramName.NOISE_LEARNER:
            said = reading.as_object(reading.parse(document), "params").get("circuits") or []
            read = reading.Reader().read(said, "circuits")
            return [circuit for circuit in read if isinstance(circuit, QuantumCircuit)]
    return []


def _drawn(circuit: QuantumCircuit) -> dict[str, Any]:
    gates, used = circuit.size(), _used_qubits(circuit)
    text, left_out = "", ""
    if gates > MOST_GATES or used > MOST_QUBITS:
        left_out = (
            f"Too large to draw: {gates} operations on {used} qubits; at most {MOST_GATES} on {MOST_QUBITS} are drawn."
        )
    else:
        text = str(circuit.draw("text", fold=_COLUMNS, idle_wires=False))
        if len(text) > _MOST_TEXT:
            text, left_out = "", "Too large to draw: the drawing is too long."
    counts = circuit.count_ops()
    return {
        "name": plain(str(circuit.name))[:MOST_NAME],
        "num_qubits": circuit.num_qubits,
        "used_qubits": used,
        "num_clbits": circuit.num_clbits,
        "depth": circuit.depth(),
        "operations": [[plain(str(name))[:MOST_NAME], count] for name, count in list(counts.items())[:30]],
        "text": plain(text),
        "left_out": left_out,
    }


def _used_qubits(circuit: QuantumCircuit) -> int:
    return len({qubit for instruction in circuit.data if instruction.name != "barrier" for qubit in instruction.qubits})


def as_text(document: object) -> str:
    """Return a JSON document as text for people, without what is long in it."""
    text = msgspec.json.format(msgspec.json.encode(_shortened(document)), indent=2).decode()
    return plain(text if len(text) <= _MOST_OPTIONS else f"{text[:_MOST_OPTIONS]}\n… ({len(text)} characters in all)")


def _shortened(value: object) -> object:
    match value:
        case str() if len(value) > _LONG:
            return f"{value[:40]}… ({len(value)} characters)"
        case dict():
            return {str(key)[:_LONG]: _shortened(each) for key, each in value.items()}
        case list() if len(value) > _LONG:
            return [*map(_shortened, value[:_LONG]), f"… ({len(value)} in all)"]
        case list():
            return list(map(_shortened, value))
    return value


def plain(text: str) -> str:
    """Return a text without characters that move what stands around them, such as marks of writing direction."""
    return "".join(letter if letter == "\n" or letter.isprintable() else "�" for letter in text)
