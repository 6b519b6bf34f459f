"""Equal circuits are boxed and built once, and nobody can tell: not by a bit, not by what others called theirs."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from qiskit.circuit import ClassicalRegister, Instruction, Parameter, QuantumCircuit, QuantumRegister
from qiskit.circuit.library import RZGate
from qiskit.primitives import PrimitiveResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from samplomatic import build
from samplomatic.samplex import Samplex
from samplomatic.transpiler import generate_boxing_pass_manager

from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.programs import private_names, run_items
from qiskit_runtime_server.programs.mitigation import built
from qiskit_runtime_server.programs.mitigation.built import BuiltCircuits
from qiskit_runtime_server.programs.wire import samplexes
from qiskit_runtime_server.simulation import engine
from qiskit_runtime_server.simulation.components.last_circuits import MOST_KEPT

TWIRLED = {"num_randomizations": 4, "shots_per_randomization": 16}
BOXING = {"enable_gates": True, "enable_measures": True, "measure_annotations": "all"}

ESTIMATES: Mapping[str, Mapping[str, Any]] = {
    "level 2": {"resilience_level": 2, "twirling": TWIRLED},
    "some gates folded more often": {
        "resilience": {"zne_mitigation": True, "zne": {"noise_factors": [1, 1.5, 2.2], "extrapolator": "linear"}},
        "twirling": {"enable_gates": True, "strategy": "all", **TWIRLED},
    },
    "PEC": {
        "resilience": {"pec_mitigation": True, "pec": {"max_overhead": 4}, "layer_noise_model": []},
        "twirling": TWIRLED,
    },
    "PEA": {
        "resilience": {"zne_mitigation": True, "zne": {"amplifier": "pea"}, "layer_noise_model": []},
        "twirling": TWIRLED,
    },
    "decoupled": {"resilience_level": 2, "dynamical_decoupling": {"enable": True}, "twirling": TWIRLED},
}


class Libraries:
    """Counts how often the libraries build."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.built = 0

        def counted(circuit: QuantumCircuit) -> tuple[QuantumCircuit, Samplex]:
            self.built += 1
            template, samplex = build(circuit)
            return template, samplex

        monkeypatch.setattr(built, "build", counted)


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> Libraries:
    return Libraries(monkeypatch)


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Begin with nothing kept."""
    forget(MOST_KEPT)
    yield
    forget(MOST_KEPT)


def forget(most: int) -> None:
    """Begin anew with memories of this size."""
    built.BUILT._most = most
    built.BUILT._known.clear()
    for memory in (run_items._last_placed, engine._last_components):
        memory._most = most
        memory._known.clear()


def ansatz(angles: Sequence[Any] = (0.3, 0.7)) -> QuantumCircuit:
    """Return two layers on fake_manila, with what people call it."""
    circuit = QuantumCircuit(5, name="secret", metadata={"secret": 1})
    for angle, pairs in zip(angles, (((0, 1), (3, 2)), ((1, 2), (4, 3))), strict=True):
        circuit.rz(angle, range(5))
        circuit.sx(range(5))
        for pair in pairs:
            circuit.cx(*pair)
    return circuit


def measured(circuit: QuantumCircuit) -> QuantumCircuit:
    return circuit.measure_all(inplace=False)


def estimated(options: Mapping[str, Any], *pubs: Any) -> PrimitiveResult[Any]:
    coerced = [EstimatorPub.coerce(pub) for pub in pubs or [(ansatz(), ["ZZIII", "IIIXX"])]]
    return AerExecutor(threads=1).execute_estimator(
        coerced, {**options, "simulator": {"seed_simulator": 3}}, "fake_manila"
    )


def sampled(options: Mapping[str, Any], *circuits: QuantumCircuit) -> PrimitiveResult[Any]:
    pubs = [SamplerPub.coerce((circuit,)) for circuit in circuits]
    return AerExecutor(threads=1).execute_sampler(pubs, {**options, "simulator": {"seed_simulator": 3}}, "fake_manila")


def bits(result: PrimitiveResult[Any]) -> list[dict[str, bytes]]:
    """Return all data of a result, to the last bit."""
    return [
        {name: np.asarray(getattr(field, "array", field)).tobytes() for name, field in pub.data.items()}
        for pub in result
    ]


@pytest.mark.parametrize("case", ESTIMATES)
def test_an_estimate_has_the_same_bits_whatever_was_built_before(case: str) -> None:
    forget(0)
    alone = bits(estimated(ESTIMATES[case]))
    forget(MOST_KEPT)
    # Others of the same gates and qubits, of the same circuit with other options, and the same.
    estimated(ESTIMATES[case], (ansatz((0.3, 0.6)), ["ZZIII", "IIIXX"]))
    estimated({"resilience_level": 2, "twirling": {**TWIRLED, "strategy": "active"}})
    assert bits(estimated(ESTIMATES[case])) == alone
    assert bits(estimated(ESTIMATES[case])) == alone


def test_samples_have_the_same_bits_whatever_was_built_before() -> None:
    options = {"twirling": {"enable_gates": True, "enable_measure": True, **TWIRLED}}
    circuits = [measured(ansatz()), measured(ansatz((0.3, 0.6))), measured(ansatz())]
    forget(0)
    alone = bits(sampled(options, *circuits))
    forget(MOST_KEPT)
    for _ in range(2):
        assert bits(sampled(options, *circuits)) == alone


def test_equal_circuits_of_a_job_and_of_later_ones_are_built_once(libraries: Libraries) -> None:
    pubs = [(ansatz(), "ZZIII"), (ansatz(), "IZZII"), (ansatz(), ["XXXXX", "IIZZI"])]
    options = {"resilience_level": 2, "twirling": TWIRLED}
    estimated(options, *pubs)
    # Three noise factors, and the calibration, on all five qubits each.
    assert libraries.built == 4
    estimated(options, *pubs)
    assert libraries.built == 4


@pytest.mark.parametrize(
    ("options", "first", "later"),
    [
        ({"resilience_level": 2}, 3, 0),
        (
            {"resilience_level": 2, "resilience": {"zne": {"amplifier": "gate_folding_back", "noise_factors": [1, 2]}}},
            2,
            0,
        ),
        # Which gates are folded at 1.5 and 2.2 is drawn anew; at 1 there is nothing to draw.
        ({"resilience_level": 2, "resilience": {"zne": {"noise_factors": [1, 1.5, 2.2]}}}, 3, 2),
        ({"resilience_level": 0, "twirling": {"enable_gates": True}}, 1, 0),
    ],
)
def test_circuits_are_folded_and_boxed_anew_only_where_something_is_drawn(
    options: Mapping[str, Any], first: int, later: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[QuantumCircuit] = []
    original = QuantumCircuit.remove_final_measurements

    def counted(circuit: QuantumCircuit, inplace: bool = True) -> QuantumCircuit | None:  # noqa: FBT001, FBT002
        asked.append(circuit)
        return original(circuit, inplace)

    monkeypatch.setattr(QuantumCircuit, "remove_final_measurements", counted)
    pub = ansatz(), ["ZZIII", "IIIXX"]
    estimated({"twirling": TWIRLED, **options}, pub)
    assert len(asked) == first
    estimated({"twirling": TWIRLED, **options}, (ansatz(), "XXXXX"))
    assert len(asked) == first + later


def test_what_was_forgotten_is_boxed_again() -> None:
    kept = BuiltCircuits()
    circuit = kept.same(measured(ansatz()))
    assert kept.same(measured(ansatz())) is circuit

    def boxed() -> QuantumCircuit:
        return kept._boxed(circuit, 1, lambda: (kept._box(circuit, BOXING), False))

    one = boxed()
    assert boxed() is one
    kept._known.clear()
    assert boxed() is not one
    assert boxed() is kept._box(circuit, BOXING)


def test_a_parametrised_circuit_has_one_samplex_whatever_its_values(libraries: Libraries) -> None:
    circuit = ansatz([Parameter("a"), 2 * Parameter("b")])
    options = {"resilience_level": 2, "twirling": TWIRLED}
    one = estimated(options, (circuit, "IIIXX", [0.1, 0.2]), (circuit, "ZZIII", [[0.3, 0.4], [0.5, 0.6]]))
    other = estimated(options, (circuit, "IIIXX", [0.1, 1.2]))
    assert libraries.built == 4
    assert bits(one)[0] != bits(other)[0]


def test_bits_are_the_same_however_many_elements_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    together: list[int] = []
    original = private_names.drawn

    def counted(samplex: Samplex, arguments: Sequence[Any], *others: Any) -> dict[str, Any]:
        together.append(len(arguments))
        return original(samplex, arguments, *others)

    monkeypatch.setattr(samplexes, "drawn", counted)
    circuit = ansatz([Parameter("a"), Parameter("b")])
    pub = circuit, ["ZZIII", "IIIXX"], np.arange(6).reshape(3, 1, 2)
    options = {"resilience_level": 2, "twirling": TWIRLED}
    at_once = bits(estimated(options, pub))
    assert together == [3, 3, 3, 1]
    for most, fewest, greatest in ((1, 10, 10), (8000, 5, 9)):
        together.clear()
        monkeypatch.setattr(samplexes, "_MOST_NUMBERS", most)
        assert bits(estimated(options, pub)) == at_once
        assert sum(together) == 10
        assert fewest <= len(together) <= greatest


def test_nobody_learns_what_others_called_an_equal_circuit() -> None:
    kept = BuiltCircuits()
    with kept.kept():
        boxed = kept._box(ansatz(), BOXING)
        template, _ = kept._build(boxed)
    assert boxed.name == "circuit"
    assert "secret" not in template.name
    assert boxed.metadata == template.metadata == {}
    same = ansatz()
    same.name, same.metadata = "mine", {"mine": 2}
    assert kept._box(same, BOXING) is boxed
    assert kept.same(ansatz()) is kept.same(same)
    assert (kept.same(same).name, kept.same(same).metadata) == ("circuit", {})


def test_instructions_that_only_their_names_tell_apart_are_built_each_time() -> None:
    circuit = ansatz()
    circuit.add_register(ClassicalRegister(1, "c"))
    circuit.append(Instruction("measure_2", 1, 1, []), [0], [0])
    kept = BuiltCircuits()
    assert kept._box(circuit, BOXING) is not kept._box(circuit, BOXING)
    assert not kept._known


def test_what_was_used_longest_ago_is_forgotten_first(libraries: Libraries) -> None:
    kept = BuiltCircuits()
    kept._build(kept._box(measured(ansatz()), BOXING))
    (size,) = (each.size for each in kept._known.values())
    kept = BuiltCircuits(2 * size)

    def ask(angle: float) -> int:
        before = libraries.built
        kept._build(kept._box(measured(ansatz((angle, 0.7))), BOXING))
        assert sum(each.size for each in kept._known.values()) <= 2 * size
        return libraries.built - before

    assert [ask(angle) for angle in (0.1, 0.2, 0.1, 0.3, 0.1, 0.2)] == [1, 1, 0, 1, 0, 1]


def test_bits_and_expressions_count_as_well() -> None:
    def size(circuit: QuantumCircuit) -> int:
        kept = BuiltCircuits(10**6)
        kept._build(kept._box(measured(circuit), BOXING))
        return sum(each.size for each in kept._known.values())

    angle, wide = Parameter("a"), ansatz()
    wide.add_register(ClassicalRegister(1000, "c"))
    long = ansatz((sum((0.1 + angle).sin() for _ in range(200)), 0.7))
    assert size(wide) >= size(ansatz()) + 1000
    assert size(long) >= size(ansatz((angle, 0.7))) + 200


def varied(circuit: QuantumCircuit) -> dict[str, QuantumCircuit]:
    """Return circuits that differ from `circuit` in one thing each."""
    found = {name: circuit.copy() for name in ("same", "phase", "barrier", "delay", "label", "more clbits")}
    found["phase"].global_phase += 0.1
    found["barrier"].barrier()
    found["delay"].delay(100, 0)
    found["label"].append(RZGate(0.0, label="noisy"), [0])
    found["more clbits"].add_bits(QuantumCircuit(1, 1).clbits)
    found["no label"] = circuit.copy()
    found["no label"].append(RZGate(0.0), [0])
    found["another register"] = QuantumCircuit(QuantumRegister(5, "p"))
    found["another register"].compose(circuit, inplace=True)
    found["the next angle"] = ansatz((np.nextafter(0.3, 1), 0.7))
    found["another qubit"] = ansatz()
    found["another qubit"].x(4)
    found["order"] = circuit.reverse_ops()
    found["parameter"] = ansatz((Parameter("a"), 0.7))
    found["another parameter of this name"] = ansatz((Parameter("a"), 0.7))
    return found


CIRCUITS = varied(ansatz())
CHOICES: Mapping[str, st.SearchStrategy[Any]] = {
    "enable_gates": st.booleans(),
    "measure_annotations": st.sampled_from(["twirl", "change_basis", "all"]),
    "twirling_strategy": st.sampled_from(["active", "active_accum", "active_circuit", "all"]),
    "twirling_group": st.sampled_from(["pauli", "balanced_pauli", "local_c1"]),
    "inject_noise_targets": st.sampled_from(["none", "gates", "all"]),
    "inject_noise_strategy": st.sampled_from(["no_modification", "individual_modification"]),
    "inject_noise_site": st.sampled_from(["before", "after"]),
    "add_tags": st.sampled_from(["none", "unique_box"]),
    "decomposition": st.sampled_from(["rzsx", "rzrx"]),
}
OPTIONS = st.fixed_dictionaries(dict(CHOICES))


@given(requests=st.lists(st.tuples(st.sampled_from(sorted(CIRCUITS)), OPTIONS), min_size=2, max_size=4))
def test_two_requests_share_what_is_built_if_and_only_if_circuit_and_options_are_equal(
    requests: list[tuple[str, dict[str, Any]]],
) -> None:
    kept = BuiltCircuits()
    boxed = [kept._box(CIRCUITS[name], options) for name, options in requests]
    for number, request in enumerate(requests):
        assert [other is boxed[number] for other in boxed] == [other == request for other in requests]
        name, options = request
        assert boxed[number] == generate_boxing_pass_manager(**options).run(CIRCUITS[name])


@given(options=OPTIONS, name=st.sampled_from(list(CHOICES)), data=st.data())
def test_one_other_option_is_enough_to_share_nothing(options: dict[str, Any], name: str, data: st.DataObject) -> None:
    other = options | {name: data.draw(CHOICES[name].filter(lambda value: value != options[name]))}
    kept = BuiltCircuits()
    one, two = (kept._build(kept._box(measured(ansatz()), each)) for each in (options, other))
    assert one[0] is not two[0]
    assert one[1] is not two[1]
