"""What was worked out of the last circuits is used for these circuits only, and does not grow without bound."""

import gc

from qiskit.circuit import ClassicalRegister, QuantumCircuit

from qiskit_runtime_server.simulation.components.last_circuits import LastCircuits, size_of


def chain(num_gates: int) -> QuantumCircuit:
    circuit = QuantumCircuit(1)
    for _ in range(num_gates):
        circuit.x(0)
    return circuit


class Counter:
    """Remembers nothing, and counts how often it was asked."""

    def __init__(self) -> None:
        self.made = 0

    def __call__(self) -> int:
        self.made += 1
        return self.made


def test_equal_circuits_are_told_apart_and_so_is_what_belongs_to_them() -> None:
    last, make, one, equal = LastCircuits[int](100), Counter(), chain(3), chain(3)
    noise, other = [1], [1]
    found = [last.of(circuit, each, make) for circuit in (one, equal) for each in (noise, other)]
    assert found == [1, 2, 3, 4]
    assert [last.of(one, noise, make), last.of(equal, other, make)] == [1, 4]


def test_none_is_worth_keeping_too() -> None:
    last, asked = LastCircuits[None](100), []
    circuit = chain(1)
    for _ in range(2):
        last.of(circuit, None, lambda: asked.append(1))
    assert len(asked) == 1


def test_circuits_that_were_asked_for_longest_ago_make_room() -> None:
    last, make, circuits = LastCircuits[int](2 * size_of(chain(10))), Counter(), [chain(10) for _ in range(3)]
    for number in (0, 1, 0, 2):
        last.of(circuits[number], None, make)
    assert make.made == 3
    last.of(circuits[0], None, make)
    assert make.made == 3
    last.of(circuits[1], None, make)
    assert make.made == 4


def test_a_circuit_that_is_too_large_is_kept_until_the_next_one() -> None:
    last, make, large, small = LastCircuits[int](), Counter(), chain(50), chain(1)
    assert [last.of(each, None, make) for each in (large, large, small, large)] == [1, 1, 2, 3]


def test_nothing_is_kept_of_circuits_that_are_no_more() -> None:
    last, make = LastCircuits[int](1000), Counter()
    assert [last.of(chain(1), object(), make) for _ in range(100)] == [*range(1, 101)]
    gc.collect()
    assert not last._known


def test_bits_that_nothing_happens_on_count_as_well() -> None:
    last, make, circuits = LastCircuits[int](100), Counter(), [chain(1), chain(1)]
    circuits[0].add_register(ClassicalRegister(200, "c"))
    assert [last.of(each, None, make) for each in (*circuits, *circuits)] == [1, 2, 3, 4]
