"""What the libraries of error mitigation and the client have no public names for.

This is the only module of `programs` that uses private names of other distributions, or puts something in the place of
their names. An upgrade that changes one fails in its tests, and there alone (`test_private_names.py`).
"""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from types import SimpleNamespace
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from qiskit.circuit import BoxOp, QuantumCircuit
from qiskit_ibm_runtime.execution_span.execution_span import ExecutionSpan
from qiskit_mitigation import PEC, MitigationTask, mitigation_task, pec, trex
from qiskit_mitigation.zne import extrapolation, gate_folding, pea
from qiskit_noise_learning.protocols import vanilla
from samplomatic.samplex import Samplex
from samplomatic.samplex.nodes import CollectTemplateValues
from samplomatic.samplex.nodes import u2_param_multiplication_node as parametric
from samplomatic.tensor_interface import TensorInterface, TensorSpecification
from samplomatic.virtual_registers import U2Register, VirtualRegister, u2_register

Floats = NDArray[np.float64]

_FoldingPass: Final = gate_folding.GateFoldingPass
_PassManager: Final = gate_folding.PassManager
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


@dataclass(frozen=True, slots=True, kw_only=True)
class _Unfolded:
    """A circuit that is folded once it is asked for."""

    circuit: QuantumCircuit
    folding: gate_folding.GateFoldingPass

    @property
    def how(self) -> tuple[object, ...]:
        """What the result follows from, beside the circuit, unless something is drawn."""
        return self.folding.noise_factor, self.folding.method

    def folded(self) -> tuple[QuantumCircuit, bool]:
        """Return the folded circuit, and whether anything was drawn for it; it changes if it has no generator."""
        generator = self.folding.seed
        before = generator and generator.bit_generator.state
        circuit = _PassManager([self.folding]).run(self.circuit)
        return circuit, generator is None or generator.bit_generator.state != before


@contextmanager
def preparing_by(
    boxed: Callable[[QuantumCircuit, Hashable, Callable[[], tuple[QuantumCircuit, bool]]], QuantumCircuit],
) -> Iterator[None]:
    """Let `boxed` return the circuits of tasks in boxes, folded where the library folds them first.

    It is told of the circuit and of what else the result follows from, and makes it by calling what it is given, which
    returns whether it may differ the next time as well.
    """
    names = ("_box_circuit", "_make_samplex_arguments")
    originals = {name: vars(MitigationTask)[name] for name in names}
    box, arguments = MitigationTask._box_circuit, MitigationTask._make_samplex_arguments

    def boxed_circuit(
        _: type[MitigationTask], circuit: QuantumCircuit | _Unfolded, options: Mapping[str, Any] | None
    ) -> QuantumCircuit:
        how: Hashable = tuple(sorted((options or {}).items()))
        if isinstance(circuit, QuantumCircuit):
            return boxed(circuit, how, lambda: (box(circuit, options), False))

        def made() -> tuple[QuantumCircuit, bool]:
            folded, chance = circuit.folded()
            return box(folded, options), chance

        return boxed(circuit.circuit, (how, circuit.how), made)

    def samplex_arguments(_: type[MitigationTask], samplex: Samplex, boxed: QuantumCircuit, *others: Any) -> Any:  # noqa: ANN401 - whatever it is
        # It looks for the last box with an annotation, and would copy and reverse the contents of all.
        backwards = SimpleNamespace(reverse_ops=lambda: reversed(boxed.data))
        return arguments(samplex, backwards, *others)

    MitigationTask._box_circuit = classmethod(boxed_circuit)
    MitigationTask._make_samplex_arguments = classmethod(samplex_arguments)
    gate_folding.PassManager = lambda passes: SimpleNamespace(
        run=lambda circuit: _Unfolded(circuit=circuit, folding=passes[0])
    )
    try:
        yield
    finally:
        for name, original in originals.items():
            setattr(MitigationTask, name, original)
        gate_folding.PassManager = _PassManager


def drawn(
    samplex: Samplex,
    arguments: Sequence[TensorInterface],
    number: int,
    generators: Iterable[np.random.Generator],
) -> dict[str, NDArray[Any]]:
    """Return what `samplex.sample` draws for each of `arguments`, bit by bit, in a fraction of the time.

    It hands each of its many small steps to a pool of threads, and takes them once for each of the arguments. Here they
    are taken in this thread, and for all arguments at once where nothing is drawn: side by side, as it does with the
    randomizations of one.

    Args:
        samplex: Finalized.
        arguments: Of the sizes that it says.
        number: Of randomizations for each of them.
        generators: One for each of them.

    Returns:
        The samplex's outputs that are tensors, each of shape ``(len(arguments), number, ...)``.
    """
    rows = len(arguments) * number
    outputs = {
        spec.name: np.zeros((rows, *spec.shape[1:]), dtype=spec.dtype)
        for spec in samplex.outputs().specs
        if isinstance(spec, TensorSpecification)
    }
    registers = _side_by_side(
        [_sampled(samplex, values, number, rng) for values, rng in zip(arguments, generators, strict=True)], number
    )
    table = np.array([samplex.param_table.evaluate(values.get("parameter_values", [])) for values in arguments])
    template_places, expressions = samplex.passthrough_params
    if len(template_places):
        outputs["parameter_values"][:, template_places] = np.repeat(table[:, expressions], number, axis=0)
    with _multiplying_many(1 if len(arguments) == 1 else number):
        for stream in samplex._evaluation_streams:
            for node in stream:
                node.evaluate(registers, table.T[node.parameter_idxs])
    _collect(samplex, registers, outputs)
    return {name: found.reshape(len(arguments), number, *found.shape[1:]) for name, found in outputs.items()}


Registers = dict[str, VirtualRegister]


def _sampled(samplex: Samplex, values: TensorInterface, number: int, rng: np.random.Generator) -> Registers:
    """Return what all is made of: gates of randomizations, or of all of them alike."""
    registers: Registers = {}
    nodes = samplex._sampling_nodes
    for node, own in zip(nodes, rng.spawn(len(nodes)), strict=True):
        node.sample(registers, own, values, number)
    return registers


def _side_by_side(each: Sequence[Registers], number: int) -> Registers:
    """Return registers that have the `number` gates of each one after the other."""
    if len(each) == 1:
        return each[0]
    joined: Registers = {}
    for name, first in each[0].items():
        gates = [registers[name].virtual_gates for registers in each]
        repeated = [np.repeat(some, number, axis=1) if some.shape[1] != number else some for some in gates]
        joined[name] = type(first)(np.concatenate(repeated, axis=1))
    return joined


def _collect(samplex: Samplex, registers: Registers, outputs: Mapping[str, NDArray[Any]]) -> None:
    """Write into `outputs` what follows from `registers`: the angles of many gates at once, as each call takes long."""
    alike: dict[tuple[Any, ...], list[CollectTemplateValues]] = {}
    for node in samplex._collection_nodes:
        if isinstance(node, CollectTemplateValues):
            samples = registers[node._register_name].num_samples
            key = node._template_params_name, node._register_type, type(node._synth), samples
            alike.setdefault(key, []).append(node)
        else:
            node.collect(registers, outputs, None)
    for (output, kind, _, samples), nodes in alike.items():
        step = max(1, _MOST_GATES // (samples * max(len(node.template_idxs) for node in nodes)))
        for start in range(0, len(nodes), step):
            some = nodes[start : start + step]
            gates = [registers[node._register_name].virtual_gates[node._subsystem_idxs] for node in some]
            joined = VirtualRegister.select(kind)(np.concatenate(gates))
            places = np.concatenate([node.template_idxs for node in some])
            all_of_them = range(joined.num_subsystems)
            node = CollectTemplateValues(output, places, "all", kind, all_of_them, some[0]._synth)
            node.collect({"all": joined}, outputs, None)


# Whose angles are found at once, which takes some hundred bytes for each.
_MOST_GATES: Final = 2**16

_MULTIPLYING: Final = SimpleNamespace(**{**vars(np), "einsum": lambda _, left, right, **_options: left @ right})


@contextmanager
def _multiplying_many(number: int) -> Iterator[None]:
    """Let samplexes have values for many parameter sets, `number` randomizations of each, and multiply without a plan.

    To plan the contraction of two arrays of small matrices takes longer than the product, which is that of `matmul`.
    """
    original = parametric.get_fractional_gate_register

    def gates(name: str, values: Floats) -> U2Register:
        found = original(name, values.ravel()).virtual_gates
        return U2Register(np.repeat(found.reshape(*values.shape, 2, 2), number, axis=1))

    parametric.get_fractional_gate_register, u2_register.np = gates, _MULTIPLYING
    try:
        yield
    finally:
        parametric.get_fractional_gate_register, u2_register.np = original, np


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
