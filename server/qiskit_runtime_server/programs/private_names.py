"""What the libraries of error mitigation and the client have no public names for.

This is the only module of `programs` that uses private names of other distributions, or puts something in the place of
their names. An upgrade that changes one fails in its tests, and there alone (`test_private_names.py`).
"""

import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import BoxOp, QuantumCircuit
from qiskit_ibm_runtime.execution_span.execution_span import ExecutionSpan
from qiskit_mitigation import PEC, mitigation_task, pec, trex
from qiskit_mitigation.zne import extrapolation, gate_folding, pea
from qiskit_noise_learning.protocols import vanilla
from samplomatic.samplex import Samplex
from samplomatic.samplex import samplex as sampling

Floats = NDArray[np.float64]

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
def fits_with_errors(shots: int) -> Iterator[None]:
    """Let fits through as many points as they have parameters take their errors from those of the points.

    Of the residuals, which are 0, the library makes infinite errors, and so takes no such fit for a usable one: it goes
    on to the next extrapolator, or takes the first one whatever it says. Fewer different points have no fit at all.

    Args:
        shots: That each point is a mean of; the library weighs by the deviations of single ones.
    """
    original = extrapolation.curve_fit

    def fit(model: Callable[..., Any], x: Floats, y: Floats, **given: Any) -> tuple[Floats, Floats]:
        if len(np.unique(x)) < len(given["p0"]):
            raise ValueError("too few different noise factors")
        optimum, covariance = original(model, x, y, **given)
        if len(y) > len(optimum):
            return optimum, covariance
        # Points that all shots agree in have no deviations.
        deviations = np.zeros(len(y)) if given["sigma"] is None else given["sigma"]
        return optimum, _covariance(model, x, optimum, deviations / math.sqrt(shots))

    extrapolation.curve_fit = fit
    try:
        yield
    finally:
        extrapolation.curve_fit = original


def _covariance(model: Callable[..., Any], x: Floats, optimum: Floats, errors: Floats) -> Floats:
    """Return that of as many parameters as there are points, from the errors of these.

    SciPy's own is missing where a parameter is 0.
    """
    steps = 1e-8 * np.maximum(np.abs(optimum), 1)
    moved = np.array([model(x, *shifted) for shifted in optimum + np.diag(steps)])
    shares = np.linalg.inv((moved - model(x, *optimum)) / steps[:, None]).T * errors
    return np.asarray(shares @ shares.T)


@contextmanager
def annotations_of_boxes() -> Iterator[None]:
    """Let PEC look for annotations in boxes only: a delay has none, and it asks every instruction for them."""
    original = pec.get_annotation
    pec.get_annotation = lambda operation, kind: original(operation, kind) if isinstance(operation, BoxOp) else None
    try:
        yield
    finally:
        pec.get_annotation = original


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
    name: str, factors: Floats, values: Floats, weights: Floats
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
