"""The program `sampler`: the bits of every pub, register by register, without mitigation or twirling."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from qiskit.primitives import BitArray, DataBin, PrimitiveResult, SamplerPubResult
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit_ibm_runtime.execution_span import DoubleSliceSpan, ExecutionSpans

from qiskit_runtime_server.errors import TooManyShotsError
from qiskit_runtime_server.executors.base import BaseExecutor
from qiskit_runtime_server.programs import isa
from qiskit_runtime_server.programs.options import DEFAULT_SHOTS, sampler_options
from qiskit_runtime_server.programs.setup import Setup

MAX_RESULT_BYTES: Final = 256 * 2**20
"""Encoding takes five times as much memory for a moment."""


def execute(
    executor: BaseExecutor, pubs: Sequence[SamplerPub], options: Mapping[str, Any], backend_name: str
) -> PrimitiveResult[SamplerPubResult]:
    """Run `pubs` with the primitive `executor.sample`; arguments and errors as in `BaseExecutor.execute_sampler`."""
    setup = Setup.of(executor, sampler_options(options), backend_name)
    default = setup.options.default_shots or DEFAULT_SHOTS
    pubs = [SamplerPub.coerce(pub) for pub in pubs]
    shots = [default if pub.shots is None else pub.shots for pub in pubs]
    for index, (pub, number) in enumerate(zip(pubs, shots, strict=True)):
        _check(pub, number, setup, f"pubs[{index}]")
    _check_size(pubs, shots)
    results, spans = [], []
    for index, (pub, number) in enumerate(zip(pubs, shots, strict=True)):
        start = datetime.now(UTC)
        data = _sample_pub(setup, pub, number, index)
        rows = slice(0, pub.size), slice(0, number)
        spans.append(DoubleSliceSpan(start, datetime.now(UTC), {index: ((*pub.shape, number), *rows)}))
        metadata = {"shots": number, "circuit_metadata": pub.circuit.metadata or {}}
        results.append(SamplerPubResult(data, metadata))
    return PrimitiveResult(results, {"execution": {"execution_spans": ExecutionSpans(spans)}, "version": 2})


def _check(pub: SamplerPub, shots: int, setup: Setup, where: str) -> None:
    isa.check_shots(shots, setup.device.max_shots, setup.device, where)
    isa.check_registers(pub.circuit, where)
    isa.check_circuit(pub.circuit, setup.device, setup.options, where)
    isa.check_rzz_values(pub.circuit, pub.parameter_values, setup.device, where)


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


def _sample_pub(setup: Setup, pub: SamplerPub, shots: int, index: int) -> DataBin:
    circuit = pub.circuit
    arrays = {register.name: _empty(pub, shots, register.size) for register in circuit.cregs}
    columns = {register.name: [circuit.find_bit(bit).index for bit in register] for register in circuit.cregs}
    values = pub.parameter_values.ravel().as_array(circuit.parameters)
    for rows, bits in setup.sample(circuit, values, shots, index) if circuit.cregs else ():
        for name, array in arrays.items():
            array[rows] = _packed(bits[..., columns[name]])
    fields = {
        name: BitArray(array.reshape(*pub.shape, shots, array.shape[-1]), len(columns[name]))
        for name, array in arrays.items()
    }
    return DataBin(shape=pub.shape, **fields)


def _empty(pub: SamplerPub, shots: int, num_bits: int) -> NDArray[np.uint8]:
    return np.empty((pub.size, shots, (num_bits + 7) // 8), dtype=np.uint8)


def _packed(bits: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Return little-endian bits as big-endian bytes, padded in front, as in a BitArray."""
    packed: NDArray[np.uint8] = np.packbits(bits, axis=-1, bitorder="little")[..., ::-1]
    return packed
