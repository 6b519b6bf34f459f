"""The program `noise-learner`: the errors of layers, learned by measuring; the legacy form and schemas v0.1 to v0.3.

The legacy form finds the layers in circuits; the others get each layer as a box, of gates or of measurements.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from qiskit.circuit import BoxOp, CircuitInstruction, QuantumCircuit
from qiskit.quantum_info import QubitSparsePauliList
from qiskit_ibm_runtime.noise_learner_v3.converters.version_0_1 import noise_learner_v3_result_to_0_1
from qiskit_ibm_runtime.noise_learner_v3.converters.version_0_2 import noise_learner_v3_result_to_0_2
from qiskit_ibm_runtime.noise_learner_v3.converters.version_0_3 import noise_learner_v3_result_to_0_3
from qiskit_ibm_runtime.noise_learner_v3.find_learning_protocol import find_learning_protocol
from qiskit_ibm_runtime.noise_learner_v3.learning_protocol import LearningProtocol
from qiskit_ibm_runtime.noise_learner_v3.validation import validate_instruction
from qiskit_ibm_runtime.results import NoiseLearnerV3Result, NoiseLearnerV3Results
from samplomatic import Twirl
from samplomatic.utils import get_annotation, undress_box

from qiskit_runtime_server.errors import InvalidInputError, UnsupportedOptionError
from qiskit_runtime_server.programs.device import isa
from qiskit_runtime_server.programs.device.boxes import opened
from qiskit_runtime_server.programs.device.progress import numbered
from qiskit_runtime_server.programs.device.shots import ShotSource
from qiskit_runtime_server.programs.mitigation.final_measurements import without_final_measurements
from qiskit_runtime_server.programs.mitigation.layers import found_layers, layer_error
from qiskit_runtime_server.programs.mitigation.learning import Learned, circuits_of_layer, learned
from qiskit_runtime_server.programs.mitigation.narrowing import narrowed, used_qubits
from qiskit_runtime_server.programs.options.mitigation import LayerLearning
from qiskit_runtime_server.programs.options.options import (
    Options,
    noise_learner_options,
    noise_learner_v3_options,
)
from qiskit_runtime_server.programs.prepared import PreparedDevice
from qiskit_runtime_server.programs.wire import qpy, reading
from qiskit_runtime_server.programs.wire.params import supports_qiskit
from qiskit_runtime_server.programs.wire.plain import as_json
from qiskit_runtime_server.programs.wire.results import encode_result

_ENCODERS: Final[Mapping[str, Callable[[NoiseLearnerV3Results], Any]]] = {
    "v0.1": noise_learner_v3_result_to_0_1,
    "v0.2": noise_learner_v3_result_to_0_2,
    "v0.3": noise_learner_v3_result_to_0_3,
}
VERSIONS: Final = tuple(_ENCODERS)


@dataclass(frozen=True, slots=True, kw_only=True)
class LearningResult:
    """What a job of the noise learner made.

    Attributes:
        document: As clients read it.
        executions: Shots in all.
        num_qubits: Of every layer that was learned.
    """

    document: bytes
    executions: int
    num_qubits: tuple[int, ...]


def execute(  # noqa: PLR0913 - a job, and who hears of it
    source: ShotSource,
    document: bytes,
    backend_name: str,
    seed: int,
    decoded: Callable[[], None] = lambda: None,
    *,
    metadata: Mapping[str, object] = {},
) -> LearningResult:
    """Learn what the params in `document` ask for.

    Args:
        source: Takes the shots.
        document: The params of a job, of any version.
        backend_name: Names the device.
        seed: Used where the job has none.
        decoded: Called when the params have been decoded.
        metadata: What that of the result has beside; schemas v0.1 to v0.3 have none of a whole job.

    Raises:
        JobError: If the job cannot be run as it is.
    """
    params = reading.as_object(reading.parse(document), "params")
    if "schema_version" in params:
        return _learn_boxes(source, params, backend_name, seed, decoded)
    return _learn_circuits(source, params, backend_name, seed, decoded, metadata)


def _learn_circuits(  # noqa: PLR0913, PLR0917 - as above
    source: ShotSource,
    params: Mapping[str, Any],
    backend_name: str,
    seed: int,
    decoded: Callable[[], None],
    metadata: Mapping[str, object],
) -> LearningResult:
    """Find the layers in circuits, and learn the most frequent."""
    reading.check_parts(params, {"circuits", "options", "version", "support_qiskit"})
    reader = reading.Reader()
    circuits = reader.read(params.get("circuits"), "circuits")
    if not isinstance(circuits, list) or not circuits:
        raise InvalidInputError("Params have no circuits: a non-empty list is needed.")
    given = dict(reading.as_object(reader.read(params.get("options") or {}, "options"), "options"))
    plain = not supports_qiskit(given.pop("support_qiskit", True))
    options, learning = noise_learner_options(given, seed)
    decoded()
    prepared = PreparedDevice.of(source, options, backend_name)
    searchable = [
        _searchable(circuit, prepared, options, f"circuits[{index}]") for index, circuit in enumerate(circuits)
    ]
    qubits = used_qubits(searchable, options.twirling.strategy) or [0]
    layers = found_layers([narrowed(circuit, qubits) for circuit in searchable], options.twirling.strategy, qubits)
    chosen = layers[: learning.max_layers_to_learn]
    source.progress.plan(len(chosen) * circuits_of_layer(learning))
    data = []
    for index, layer in enumerate(chosen):
        instruction = layer.instruction(prepared.device.num_qubits)
        with source.progress.stage(numbered("layer", index, len(chosen))):
            data.append(layer_error(layer, learned(prepared, instruction, learning, options.seeds.layer(index)).errors))
    # A noise model is large, and clients warn when they read it.
    said = {name: value for name, value in given.items() if name != "simulator"}
    said = {**asdict(learning), "twirling_strategy": options.twirling.strategy, **said}
    about = {"backend": backend_name, "input_options": said, "num_layers_found": len(layers), **metadata}
    result = {"data": data, "metadata": about}
    return LearningResult(
        document=as_json(result) if plain else encode_result(result, reader.qpy_version),
        executions=len(chosen) * _shots(learning),
        num_qubits=tuple(len(layer.qubits) for layer in chosen),
    )


def _searchable(circuit: object, prepared: PreparedDevice, options: Options, where: str) -> QuantumCircuit:
    """Return a circuit that can be searched for layers, without its last measurements."""
    if not isinstance(circuit, QuantumCircuit):
        raise InvalidInputError(f"{where} must be a circuit, not {type(circuit).__name__}.")
    isa.check_circuit(circuit, prepared.device, options, where)
    contents = opened(circuit)
    if contents.has_control_flow_op() or "store" in contents.count_ops():
        raise UnsupportedOptionError(f"{where}: layers of circuits with control flow are not supported.")
    return without_final_measurements(contents)


def _learn_boxes(
    source: ShotSource, params: Mapping[str, Any], backend_name: str, seed: int, decoded: Callable[[], None]
) -> LearningResult:
    """Learn each of the boxes that are there."""
    version = params["schema_version"]
    if not isinstance(version, str) or version not in _ENCODERS:
        raise InvalidInputError(f"Params are of schema version {version!r}; this server reads {', '.join(_ENCODERS)}.")
    reading.check_parts(params, {"schema_version", "instructions", "options", "version"})
    boxes = _boxes(params.get("instructions"))
    given = reading.as_object(reading.Reader().read(params.get("options") or {}, "options"), "options")
    options, learning, checks = noise_learner_v3_options(given, seed)
    decoded()
    prepared = PreparedDevice.of(source, options, backend_name)
    for index, box in enumerate(boxes):
        with reading.damage(f"instructions[{index}]"):
            validate_instruction(box, prepared.device.target)
    source.progress.plan(len(boxes) * circuits_of_layer(learning))
    data = []
    for index, box in enumerate(boxes):
        with source.progress.stage(numbered("layer", index, len(boxes))):
            found = learned(prepared, _layer(box), learning, options.seeds.layer(index), checks=checks)
        data.append(_result(box, found, version))
    return LearningResult(
        document=_ENCODERS[version](NoiseLearnerV3Results(data)).model_dump_json().encode(),
        executions=len(boxes) * _shots(learning),
        num_qubits=tuple(len(box.qubits) for box in boxes),
    )


def _boxes(document: object) -> Sequence[CircuitInstruction]:
    text = reading.as_object(document, "instructions").get("circuit_b64")
    with reading.damage("instructions: QPY cannot be read"):
        reader = reading.Reader()
        (circuit,) = qpy.read_circuits(reader.plain(text), 1, reader.announce)
    if not circuit.data:
        raise InvalidInputError("Params have no instructions.")
    return list(circuit.data)


def _layer(box: CircuitInstruction) -> CircuitInstruction:
    """Return the layer that is in a box: without the one-qubit gates of its dressing, and dressed on the left.

    Twirling merges those gates into the ones that it draws, on either side, so they are no part of the layer, which has
    to be self-inverse. Of the annotations, only the twirl's group and decomposition tell how the layer is run.
    """
    twirl = get_annotation(box.operation, Twirl)
    inside = undress_box(box.operation).body
    left = Twirl(group=twirl.group, dressing="left", decomposition=twirl.decomposition)
    return box.replace(operation=BoxOp(inside, annotations=[left]))


def _result(box: CircuitInstruction, found: Learned, version: str) -> NoiseLearnerV3Result:
    """Return what was learned of a box, with what the version's schema says of its shots."""
    kept: Any = found.fractions_kept()
    rates: Any = found.success_rates()
    protocol = "lindblad"
    if find_learning_protocol(box) is LearningProtocol.TREX:
        protocol = "trex"
        kept, rates = kept[0], rates[0]
    selection = {"fraction_kept": kept} if version == "v0.1" else {"fraction_kept": kept, "success_rates": rates}
    return NoiseLearnerV3Result.from_generators(
        generators=[QubitSparsePauliList.from_qubit_sparse_paulis([pauli]) for pauli in found.errors.generators()],
        rates=found.errors.rates,
        rates_std=found.standard_errors(),
        metadata={"learning_protocol": protocol, "post_selection": selection},
    )


def _shots(learning: LayerLearning) -> int:
    """Return about how many shots a layer of gates takes."""
    return circuits_of_layer(learning) * learning.shots_per_randomization
