"""The program `sampler`: the bits of every pub, register by register.

What is not twirled goes straight to the engine, and so do circuits that only their last measurements are twirled of.
Of others a samplex of the client library draws variants.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit.primitives import BitArray, DataBin, PrimitiveResult, SamplerPubResult
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_ibm_runtime.decoders.executor_sampler.utils import flatten_twirling_axes, undo_twirling
from qiskit_ibm_runtime.execution_span import DoubleSliceSpan, ExecutionSpan, ExecutionSpans, TwirledSliceSpanV2
from qiskit_ibm_runtime.executor_sampler.prepare import prepare
from qiskit_ibm_runtime.options_models import SamplerOptions
from samplomatic import quantum_program

from qiskit_runtime_server.errors import TooManyShotsError, UnsupportedOptionError
from qiskit_runtime_server.programs import run_items
from qiskit_runtime_server.programs.device import isa
from qiskit_runtime_server.programs.device.boxes import opened
from qiskit_runtime_server.programs.device.progress import numbered
from qiskit_runtime_server.programs.device.shots import ShotSource
from qiskit_runtime_server.programs.mitigation.built import BUILT
from qiskit_runtime_server.programs.mitigation.decoupling import decoupled
from qiskit_runtime_server.programs.mitigation.narrowing import narrowed, used_qubits, values_of
from qiskit_runtime_server.programs.options.mitigation import Methods, Randomizations
from qiskit_runtime_server.programs.options.options import DEFAULT_SHOTS, Options, sampler_methods
from qiskit_runtime_server.programs.prepared import PreparedDevice
from qiskit_runtime_server.programs.wire.reading import damage
from qiskit_runtime_server.simulation.measurements import terminal_measurements

MAX_RESULT_BYTES: Final = 256 * 2**20
"""Encoding takes five times as much memory for a moment."""


def execute(
    source: ShotSource, pubs: Sequence[SamplerPub], options: Options, backend_name: str
) -> PrimitiveResult[SamplerPubResult]:
    """Run `pubs` with shots from `source`; other arguments and errors as in `BaseExecutor.execute_sampler`."""
    prepared = PreparedDevice.of(source, options, backend_name)
    methods = sampler_methods(prepared.options)
    pubs = [SamplerPub.coerce(pub) for pub in pubs]
    planned = [_randomizations(pub, prepared.options, methods) for pub in pubs]
    for index, (pub, randomizations) in enumerate(zip(pubs, planned, strict=True)):
        _check(pub, randomizations.total, prepared, f"pubs[{index}]")
    pubs = [SamplerPub(opened(pub.circuit), pub.parameter_values, pub.shots) for pub in pubs]
    for index, pub in enumerate(pubs):
        _check_methods(pub.circuit, methods, f"pubs[{index}]")
    _check_size(pubs, [each.total for each in planned])
    for pub, randomizations in zip(pubs, planned, strict=True):
        source.progress.plan(_num_circuits(pub, randomizations, methods))
    results, spans = [], []
    for index, (pub, randomizations) in enumerate(zip(pubs, planned, strict=True)):
        start = datetime.now(UTC)
        with source.progress.stage(numbered("pub", index, len(pubs))):
            data = _sample_pub(prepared, pub, randomizations, methods, index)
        spans.append(_span(index, pub.shape, randomizations, methods, start))
        metadata = {
            "shots": randomizations.total,
            "circuit_metadata": pub.circuit.metadata or {},
            "simulation": prepared.simulated(),
        }
        if methods.twirls:
            metadata["num_randomizations"] = randomizations.number
        results.append(SamplerPubResult(data, metadata))
    return PrimitiveResult(results, {**_done(prepared.options, spans), "version": 2})


def _done(options: Options, spans: Sequence[ExecutionSpan]) -> dict[str, Any]:
    """Return what the result says about the job as a whole."""
    metadata: dict[str, Any] = {"execution": {"execution_spans": ExecutionSpans(spans)}}
    if options.twirling.enabled:
        metadata["twirling"] = asdict(options.twirling) | {
            "enable_gates": bool(options.twirling.enable_gates),
            "enable_measure": bool(options.twirling.enable_measure),
        }
    if options.decoupling.enable:
        metadata["dynamical_decoupling"] = asdict(options.decoupling)
    return metadata | options.noise_metadata


def _randomizations(pub: SamplerPub, options: Options, methods: Methods) -> Randomizations:
    """Return how many randomizations the pub gets, and how many shots each."""
    shots = pub.shots or options.default_shots or DEFAULT_SHOTS
    return (
        options.twirling.randomizations(shots, pub_says=pub.shots is not None)
        if methods.twirls
        else Randomizations(1, shots)
    )


def _num_circuits(pub: SamplerPub, randomizations: Randomizations, methods: Methods) -> int:
    """Return how many circuits a pub is; more if its measurements have to be twirled by a samplex, too."""
    return pub.size * (randomizations.number if methods.twirl_gates else 1) if pub.circuit.cregs else 0


def _span(
    index: int, shape: tuple[int, ...], randomizations: Randomizations, methods: Methods, start: datetime
) -> ExecutionSpan:
    stop, shots = datetime.now(UTC), randomizations.total
    everything = slice(0, math.prod(shape)), slice(0, shots)
    if not methods.twirls:
        return DoubleSliceSpan(start, stop, {index: ((*shape, shots), *everything)})
    everything = slice(0, math.prod(shape) * randomizations.number), slice(0, randomizations.shots)
    return TwirledSliceSpanV2(
        start, stop, {index: ((*shape, randomizations.number, randomizations.shots), False, *everything, shots)}
    )


def _check_methods(circuit: QuantumCircuit, methods: Methods, where: str) -> None:
    if methods.twirls and (circuit.has_control_flow_op() or "store" in circuit.count_ops()):
        raise UnsupportedOptionError(f"{where}: {methods.names()} cannot be used for circuits with control flow.")


def _check(pub: SamplerPub, shots: int, prepared: PreparedDevice, where: str) -> None:
    isa.check_shots(shots, prepared.device.max_shots, prepared.device, where)
    isa.check_registers(pub.circuit, where)
    isa.check_circuit(pub.circuit, prepared.device, prepared.options, where)
    isa.check_rzz_values(pub.circuit, pub.parameter_values, prepared.device, where)


def _check_size(pubs: Sequence[SamplerPub], shots: Sequence[int]) -> None:
    sizes = [
        pub.size * number * max(1, sum((register.size + 7) // 8 for register in pub.circuit.cregs))
        for pub, number in zip(pubs, shots, strict=True)
    ]
    if sum(sizes) > MAX_RESULT_BYTES:
        raise TooManyShotsError(
            f"The job asks for {sum(sizes) // 2**20} MiB of bits; {MAX_RESULT_BYTES // 2**20} MiB are allowed."
            " Use fewer shots, fewer parameter sets or several jobs."
        )


def _sample_pub(
    prepared: PreparedDevice, pub: SamplerPub, randomizations: Randomizations, methods: Methods, index: int
) -> DataBin:
    arrays = {register.name: _empty(pub, randomizations.total, register.size) for register in pub.circuit.cregs}
    for rows, registers in _registers(prepared, pub, randomizations, methods, index) if arrays else ():
        for name, bits in registers.items():
            arrays[name][rows] = _packed(bits)
    sizes = {register.name: register.size for register in pub.circuit.cregs}
    fields = {
        name: BitArray(array.reshape(*pub.shape, *array.shape[1:]), sizes[name]) for name, array in arrays.items()
    }
    return DataBin(shape=pub.shape, **fields)


def _registers(
    prepared: PreparedDevice, pub: SamplerPub, randomizations: Randomizations, methods: Methods, index: int
) -> Iterator[tuple[slice, dict[str, NDArray[np.bool_]]]]:
    """Yield bits of shape ``(rows, shots, bits)`` of every register, for some parameter sets at a time."""
    circuit, seeds = pub.circuit, prepared.options.seeds.pub(index)
    values = pub.parameter_values.ravel().as_array(circuit.parameters)
    ends = terminal_measurements(circuit) if methods.twirls and not methods.twirl_gates else None
    readouts = None if ends is None else prepared.readouts(ends)
    if methods.twirls and readouts is None:
        known = _num_circuits(pub, randomizations, methods)
        yield slice(0, pub.size), _twirled(prepared, pub, randomizations, index, known)
        return
    if methods.decouple:
        circuit = decoupled(circuit, prepared.device, prepared.options.decoupling, f"pubs[{index}]")
    columns = {register.name: [circuit.find_bit(bit).index for bit in register] for register in circuit.cregs}
    parts = (
        prepared.sample(circuit, values, randomizations.total, seeds)
        if readouts is None
        else prepared.sample_twirled(circuit, values, randomizations, readouts, seeds)
    )
    for rows, bits in parts:
        yield rows, {name: bits[..., places] for name, places in columns.items()}


def _twirled(
    prepared: PreparedDevice, pub: SamplerPub, randomizations: Randomizations, index: int, known: int
) -> dict[str, NDArray[np.bool_]]:
    """Return the bits of every register from variants that a samplex draws, `known` of which are planned already."""
    qubits = used_qubits([pub.circuit], prepared.options.twirling.strategy)
    circuit = narrowed(pub.circuit, qubits)
    twirling = asdict(prepared.options.twirling) | {
        "num_randomizations": randomizations.number,
        "shots_per_randomization": randomizations.shots,
    }
    options = SamplerOptions(twirling=twirling)
    with damage(f"pubs[{index}]: it cannot be twirled"), BUILT.kept():
        program, _ = prepare(
            [SamplerPub(circuit, values_of(circuit, pub.parameter_values), pub.shots)],
            options,
            shots=randomizations.total,
        )
    if not circuit.num_parameters:
        # The library knows the shape of a pub by its values alone.
        (item,) = program.items
        shape = (randomizations.number, *pub.shape)
        program.items[0] = quantum_program.SamplexItem(item.circuit, item.samplex, shape=shape)
    seeds, stages = prepared.options.seeds.pub(index), [f"{randomizations.number} randomizations"]
    result = run_items.run(prepared, program, seeds, qubits=qubits, stages=stages, planned=known)
    (found,) = result
    undo_twirling(found)
    flatten_twirling_axes(found, pub.shape)
    names = [register.name for register in pub.circuit.cregs]
    return {name: found[name].reshape(pub.size, *found[name].shape[-2:]) for name in names}


def _empty(pub: SamplerPub, shots: int, num_bits: int) -> NDArray[np.uint8]:
    return np.empty((pub.size, shots, (num_bits + 7) // 8), dtype=np.uint8)


def _packed(bits: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return little-endian bits as big-endian bytes, padded in front, as in a BitArray."""
    packed: NDArray[np.uint8] = np.packbits(bits, axis=-1, bitorder="little")[..., ::-1]
    return packed
