"""Samplexes: reads them from hostile text, and draws from them parameter values for circuits."""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from samplomatic.samplex import Samplex
from samplomatic.serialization import samplex_from_json
from samplomatic.tensor_interface import TensorInterface, TensorSpecification

from qiskit_runtime_server.errors import InvalidInputError
from qiskit_runtime_server.programs.private_names import drawn
from qiskit_runtime_server.programs.wire import qpy, reading
from qiskit_runtime_server.simulation.seeds import SeedPath

PARAMETER_VALUES: Final = "parameter_values"
_RANDOMIZATIONS: Final = "num_randomizations"

# That randomizations which are drawn at once have together, most of 16 bytes.
_MOST_NUMBERS: Final = 2**20


def decode_samplex(text: object, reader: reading.Reader, where: str) -> Samplex:
    """Return the samplex that `text` describes, finalized.

    Args:
        text: What samplomatic wrote.
        reader: Counts how large the job is.
        where: What to call it in messages.

    Raises:
        InvalidInputError: If it is none, or too large.
    """
    if not isinstance(text, str):
        raise InvalidInputError(f"{where}.samplex_json must be text, not {type(text).__name__}.")
    with reading.damage(f"{where}: the samplex cannot be read"):
        _check_expressions(text, reader)
        samplex = samplex_from_json(text).finalize()
        for specification in _outputs(samplex):
            if specification.shape[:1] != (_RANDOMIZATIONS,) or not all(
                isinstance(size, int) and 0 <= size <= qpy.MAX_BITS for size in specification.shape[1:]
            ):
                raise ValueError(f"output {specification.name!r} of shape {specification.shape} is not supported.")
    return samplex


def bound(samplex: Samplex, values: Mapping[str, Any], where: str) -> TensorInterface:
    """Return the samplex's arguments, with everything given a value that needs one.

    Raises:
        InvalidInputError: If one is missing, unknown, or of the wrong shape.
    """
    with reading.damage(where):
        arguments = samplex.inputs().make_broadcastable().bind(**values)
        if not arguments.fully_bound:
            missing = arguments.describe(prefix="", include_bound=False).strip().splitlines()
            raise ValueError(f"values are missing for {'; '.join(missing)}")
    return arguments


def num_outputs(samplex: Samplex) -> int:
    """Return how many parameter values of a circuit the samplex draws."""
    return sum(int(spec.shape[-1]) for spec in _outputs(samplex) if spec.name == PARAMETER_VALUES)


def output_bytes(samplex: Samplex, elements: int) -> int:
    """Return how large the outputs are that clients get for that many elements of an item, a byte for each bool."""
    kept = [spec for spec in _outputs(samplex) if spec.name != PARAMETER_VALUES]
    return elements * sum(int(math.prod(spec.shape[1:]) * spec.dtype.itemsize) for spec in kept)


def draw(
    samplex: Samplex,
    arguments: TensorInterface,
    shape: tuple[int, ...],
    seeds: SeedPath,
    where: str,
) -> dict[str, NDArray[Any]]:
    """Draw one randomization for every element of an item.

    Axes of `shape` along which the arguments have more than one value are swept; along all others there are independent
    randomizations of the same values.

    Args:
        samplex: Finalized.
        arguments: Can be broadcast to `shape`.
        shape: Of the item.
        seeds: Of the randomizations.
        where: What to call the samplex in messages.

    Returns:
        The samplex's outputs, each of shape ``(*shape, ...)``.

    Raises:
        InvalidInputError: If the samplex or its arguments make no sense.
    """
    given = (1,) * (len(shape) - arguments.ndim) + arguments.shape
    swept = [axis for axis, size in enumerate(given) if size > 1]
    others = tuple(size for axis, size in enumerate(shape) if axis not in swept)
    outputs = {spec.name: np.zeros((*shape, *spec.shape[1:]), dtype=spec.dtype) for spec in _outputs(samplex)}
    if not math.prod(shape):
        return outputs
    number, first = math.prod(others), len(shape) - arguments.ndim
    places = [dict(zip(swept, place, strict=True)) for place in np.ndindex(*(shape[axis] for axis in swept))]
    step = max(1, _MOST_NUMBERS // (number * max(1, _size(samplex)))) if len(places) > 1 else 1
    for start in range(0, len(places), step):
        some = places[start : start + step]
        values = [arguments[tuple(place.get(axis, 0) for axis in range(first, len(shape)))] for place in some]
        generators = [seeds.element(start + offset).generator() for offset in range(len(some))]
        with reading.damage(where):
            found = drawn(samplex, values, number, generators)
            for name, output in outputs.items():
                for place, randomizations in zip(some, found[name], strict=True):
                    rows = tuple(place.get(axis, slice(None)) for axis in range(len(shape)))
                    output[rows] = randomizations.reshape(*others, *randomizations.shape[1:])
    return outputs


def _size(samplex: Samplex) -> int:
    """Return about how many numbers a randomization has: matrices of all of its gates, and outputs."""
    gates = sum(int(number) for node in samplex.graph.nodes() for number, _ in node.instantiates().values())
    return 4 * gates + sum(int(math.prod(spec.shape[1:])) for spec in _outputs(samplex))


def _outputs(samplex: Samplex) -> list[TensorSpecification]:
    return [spec for spec in samplex.outputs().specs if isinstance(spec, TensorSpecification)]


def _check_expressions(text: str, reader: reading.Reader) -> None:
    """Check the QPY that a samplex keeps its parameter expressions in, which samplomatic reads whatever it is."""
    attributes = reading.as_object(reading.as_object(reading.parse(text.encode()), "samplex").get("attrs"), "attrs")
    table = reading.as_object(reading.parse(attributes["param_table"].encode()), "param_table")
    qpy.check_qpy(reader.plain(table["circuit_base64"]), 1, reader.announce)
