"""What the libraries of error mitigation and the client have no public names for.

This is the only module of `programs` that uses private names of other distributions, or puts something in the place of
their names. An upgrade that changes one fails in its tests, and there alone (`test_private_names.py`).
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import QuantumCircuit
from qiskit_ibm_runtime.execution_span.execution_span import ExecutionSpan
from qiskit_mitigation import PEC, mitigation_task, pec, trex
from qiskit_mitigation.zne import extrapolation, gate_folding, pea
from qiskit_noise_learning.protocols import vanilla
from samplomatic.samplex import Samplex
from samplomatic.samplex import samplex as sampling

_FoldingPass: Final = gate_folding.GateFoldingPass
_BUILDING: Final = (
    import_module("qiskit_ibm_runtime.executor_sampler.prepare"),
    gate_folding,
    mitigation_task,
    pea,
    pec,
    trex,
)


def boxed_layers(circuit: QuantumCircuit, options: Mapping[str, Any]) -> QuantumCircuit:
    """Return `circuit` with its layers in boxes that say how they are twirled, and what their noise is called.

    Args:
        circuit: Without control flow.
        options: Of samplomatic's pass manager for boxes.
    """
    return PEC._box_circuit(circuit, dict(options))


@contextmanager
def folding_by(generator: np.random.Generator) -> Iterator[None]:
    """Let `generator` choose the gates that are folded once more than others, for which the library takes no seed."""
    gate_folding.GateFoldingPass = partial(_FoldingPass, seed=generator)
    try:
        yield
    finally:
        gate_folding.GateFoldingPass = _FoldingPass


@contextmanager
def building_by(
    box: Callable[[QuantumCircuit, Mapping[str, Any]], QuantumCircuit],
    build: Callable[[QuantumCircuit], tuple[QuantumCircuit, Samplex]],
) -> Iterator[None]:
    """Let `box` put circuits into boxes, by the options of samplomatic's pass manager, and `build` their samplexes.

    The libraries of mitigation and the client call samplomatic for it, each by its own names.
    """
    new = {
        "generate_boxing_pass_manager": lambda **options: SimpleNamespace(run=lambda circuit: box(circuit, options)),
        "build": build,
    }
    old = [(module, name, getattr(module, name)) for module in _BUILDING for name in new if hasattr(module, name)]
    for module, name, _ in old:
        setattr(module, name, new[name])
    try:
        yield
    finally:
        for module, name, value in old:
            setattr(module, name, value)


class _Here:
    """Takes the place of a pool of threads, and runs what it is given at once."""

    @staticmethod
    def submit(function: Callable[..., None], *arguments: object) -> None:
        """Call a function."""
        function(*arguments)


@contextmanager
def sampling_here() -> Iterator[None]:
    """Let samplexes draw in this thread: handing thousands of small steps to another one takes as long as they do.

    The steps are the same, in the same order.
    """
    threads, waiting = sampling.ThreadPoolExecutor, sampling.wait_with_raise
    sampling.ThreadPoolExecutor, sampling.wait_with_raise = _here, list
    try:
        yield
    finally:
        sampling.ThreadPoolExecutor, sampling.wait_with_raise = threads, waiting


def _here(_workers: int | None) -> AbstractContextManager[_Here]:
    return nullcontext(_Here())


def extrapolation_model(
    name: str, factors: NDArray[np.float64], values: NDArray[np.float64], weights: NDArray[np.float64]
) -> tuple[Callable[..., Any], Any, Any]:
    """Return the function of an extrapolator, where its fit starts, and the bounds of its parameters."""
    model, start, bounds = extrapolation._build_model_spec(name, factors, values, weights)
    return model, start, bounds


def fractions_kept(raw_data: object) -> dict[int, float]:
    """Return the share of shots that passed all checks, for each number of pairs of layers."""
    fractions: dict[int, float] = vanilla._fraction_kept(raw_data)
    return fractions


def success_rates(
    raw_data: object, identifier: Callable[[Iterable[str]], Iterator[tuple[str, ...]]]
) -> dict[int, dict[int, float]]:
    """Return for each number of pairs of layers how often a check flipped each qubit.

    Args:
        raw_data: Of a fit.
        identifier: Yields the registers of checks among registers, each with the register that it checks.
    """
    rates: dict[int, dict[int, float]] = vanilla._success_rates(raw_data, identifier)
    return rates


def data_slices(span: ExecutionSpan) -> Mapping[int, Any]:
    """Return which data was taken in a span: by the numbers of pubs, their shapes and a slice of each axis."""
    slices: Mapping[int, Any] = span._data_slices
    return slices
