"""Gives each parameter of an expression a name of its own, where an old Qiskit wrote two of one name.

Expressions in QPY are replays: add this, then substitute that. Up to Qiskit 2.1, what is substituted is given by its
name alone. A gate's definition in Qiskit's library has a `theta` of its own, for which the transpiler substitutes the
user's, which is often called `theta` as well. Qiskit's reader since 2.2 then takes either of the two, by chance, and
refuses the circuit half of the time, for each such expression ("Cannot bind following parameters not present in
expression").

Whose name is meant follows from the replay: a parameter that is in the expression at that moment. Those that are
substituted get another name of the same length, so that no size in the file changes; who is left keeps the user's.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from qiskit_runtime_server.programs.wire.qpy_structure import EXPRESSION, MAP_ITEM, OPERATION, SYMBOL

LAST_VERSION_WITH_NAMES: Final = 15
_UUID_BYTES: Final = 16
_SHORT: Final = struct.Struct("!H")
_LONG: Final = struct.Struct("!Q")
_PARAMETER: Final = b"p"
_SUBSTITUTION: Final = b"u"


@dataclass(slots=True)
class _Expression:
    """What matters of an expression.

    Attributes:
        names: Of its parameters, by their ids.
        present: The parameters that are in it after the replay so far.
        keys: Where a name is written that stands for a parameter, and for which.
    """

    names: dict[bytes, bytes]
    present: set[bytes] = field(default_factory=set)
    keys: list[tuple[int, bytes]] = field(default_factory=list)


def with_names_of_their_own(data: bytes, expressions: Sequence[tuple[int, int]]) -> bytes:
    """Return a QPY file in which no two parameters of an expression have one name, as far as one is substituted.

    Args:
        data: The file, whose structure has been checked.
        expressions: Where each expression begins and ends.
    """
    changed = bytearray(data)
    for start, end in expressions:
        expression = _Expression(dict(_symbols(data, start, end)))
        if len(set(expression.names.values())) == len(expression.names):
            continue
        _replay(data, start, expression)
        taken = set(expression.names.values())
        for uuid in dict.fromkeys(uuid for _, uuid in expression.keys):
            if uuid not in expression.present:
                _rename(changed, start, end, expression, uuid, taken)
    return bytes(changed)


def _symbols(data: bytes, start: int, end: int) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over the parameters in an expression's table, with their names; elements of vectors have other ids."""
    number, size = EXPRESSION.unpack_from(data, start)
    place = start + EXPRESSION.size + size
    for _ in range(number):
        if place >= end:
            return
        key, _, value = SYMBOL.unpack_from(data, place)
        place += SYMBOL.size
        if key != _PARAMETER:
            return  # the parameters come first; what follows has a name with an index
        (length,) = _SHORT.unpack_from(data, place)
        uuid_at = place + _SHORT.size
        name_at = uuid_at + _UUID_BYTES
        yield data[uuid_at:name_at], data[name_at : name_at + length]
        place = name_at + length + value


def _replay(data: bytes, start: int, expression: _Expression) -> None:
    """Follow the replay, and note what each name in a substitution stands for."""
    _, size = EXPRESSION.unpack_from(data, start)
    place, end = start + EXPRESSION.size, start + EXPRESSION.size + size
    while place < end:
        _, left_kind, left, right_kind, right = OPERATION.unpack_from(data, place)
        place += OPERATION.size
        for kind, operand in ((left_kind, left), (right_kind, right)):
            if kind == _PARAMETER:
                expression.present.add(operand)
        if left_kind == _SUBSTITUTION:
            _substitute(data, place, expression)
            place += _LONG.unpack(left[: _LONG.size])[0]


def _substitute(data: bytes, place: int, expression: _Expression) -> None:
    (number,) = _LONG.unpack_from(data, place)
    place += _LONG.size
    gone, come = set[bytes](), set[bytes]()
    for _ in range(number):
        length, kind, size = MAP_ITEM.unpack_from(data, place)
        name_at = place + MAP_ITEM.size
        name, value_at = data[name_at : name_at + length], name_at + length
        meant = [uuid for uuid in expression.present if expression.names.get(uuid) == name]
        if len(meant) == 1:
            expression.keys.append((name_at, meant[0]))
            gone.add(meant[0])
        if kind == _PARAMETER:
            come.add(data[value_at + _SHORT.size : value_at + _SHORT.size + _UUID_BYTES])
        place = value_at + size
    expression.present = (expression.present - gone) | come


def _rename(  # noqa: PLR0913, PLR0917 - where, whom, and what is taken
    changed: bytearray, start: int, end: int, expression: _Expression, uuid: bytes, taken: set[bytes]
) -> None:
    name = expression.names[uuid]
    new = next((candidate for candidate in _others(name) if candidate not in taken), None)
    if new is None or list(expression.names.values()).count(name) == 1:
        return
    taken.add(new)
    for name_at, meant in expression.keys:
        if meant == uuid:
            changed[name_at : name_at + len(name)] = new
    changed[start:end] = bytes(changed[start:end]).replace(uuid + name, uuid + new)


def _others(name: bytes) -> Iterator[bytes]:
    """Iterate over other names of the same length."""
    first = name[:1]
    if first and first[0] < 0x80:  # noqa: PLR2004 - one byte is one character
        yield from (bytes([letter]) + name[1:] for letter in range(ord("!"), 0x7F) if bytes([letter]) != first)
