"""What is answered about the circuits and the outcomes of a job: made by workers, so it is checked here."""

from typing import Annotated, Literal

from pydantic import Field

from qiskit_runtime_server.api.models.base import Answer

Text = Annotated[str, Field(max_length=200_000)]
Label = Annotated[str, Field(max_length=512)]


class DrawnCircuit(Answer):
    """A circuit, and its drawing."""

    name: Label
    num_qubits: int
    used_qubits: int
    """Those with an operation."""
    num_clbits: int
    depth: int
    operations: Annotated[list[tuple[Label, int]], Field(max_length=64)]
    """Each with how many there are."""
    text: Text
    """The drawing, for a font whose letters are of one width; empty if there is none."""
    left_out: Label
    """Why there is none."""


class Drawings(Answer):
    """What a job asks for."""

    options: Text
    """As JSON, without what is long in them."""
    circuits: Annotated[list[DrawnCircuit], Field(max_length=16)]
    """The first ones."""
    more: int
    """How many are left out."""


class Counts(Answer):
    """How often the outcomes of a register were, in the first parameter set."""

    name: Label
    num_bits: int
    sets: int
    """How many parameter sets there are."""
    shots: int
    distinct: int
    """How many outcomes there are."""
    bars: Annotated[list[tuple[Label, int]], Field(max_length=64)]
    """The most frequent ones, each with its count; bits little-endian as in Qiskit, or in hexadecimal."""
    others: int
    """Shots with other outcomes."""


class ArrayFigures(Answer):
    """An array of the program `executor`."""

    name: Label
    dtype: Label
    shape: Annotated[list[int], Field(max_length=32)]
    """Elements of the item first, then shots, then bits."""
    least: float | None
    """The least number in it; null for bits, complex numbers and nothing."""
    largest: float | None
    """The largest one."""


class PubOutcomes(Answer):
    """What came out of a pub, or of an item of the program `executor`."""

    counts: Annotated[list[Counts], Field(max_length=16)]
    values: Annotated[list[tuple[float | None, float | None]], Field(max_length=128)]
    """The first expectation values, each with its standard error."""
    more_values: int
    shape: Annotated[list[int], Field(max_length=64, default_factory=list)]
    """Of the array of expectation values, of which the last axis changes first."""
    arrays: Annotated[list[ArrayFigures], Field(max_length=64, default_factory=list)]
    """The first ones, of an item."""
    metadata: Text
    """As JSON, without what is long in it; `simulation` says by which method, and what is approximate."""


class LearnedLayer(Answer):
    """What the noise learner has learned of a layer: the rates of its Pauli-Lindblad generators."""

    qubits: Annotated[list[int], Field(max_length=512)]
    """Of the device; empty where the result does not say them, and generators count those of the layer."""
    generators: int
    """How many there are."""
    gamma: float | None
    """By which factor standard errors grow if all of these errors are cancelled: exp of twice the sum of the rates."""
    rates: Annotated[list[tuple[Label, float | None, float | None]], Field(max_length=64)]
    """The largest ones: the generator, as in `X3 Z4`, its rate, and the standard error of that, null if unknown."""
    metadata: Text


class Outcomes(Answer):
    """What came out of a job."""

    kind: Literal["pub", "item", "layer"] = "pub"
    """What there are several of."""
    pubs: Annotated[list[PubOutcomes], Field(max_length=16)]
    """The first pubs or items."""
    layers: Annotated[list[LearnedLayer], Field(max_length=16, default_factory=list)]
    """The first layers."""
    more: int
    """How many are left out."""
    metadata: Text
    """Of the result, as above."""
