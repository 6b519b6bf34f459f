"""Boxes run on every device: what is in them is checked and run as if they were not there."""

import json
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from qiskit.circuit import Annotation, BoxOp, ClassicalRegister, Parameter, QuantumCircuit, QuantumRegister
from qiskit.circuit.classical import expr
from qiskit.primitives import PrimitiveResult
from qiskit.primitives.containers.estimator_pub import EstimatorPub
from qiskit.primitives.containers.sampler_pub import SamplerPub
from qiskit.quantum_info import Operator
from qiskit_ibm_runtime import RuntimeEncoder
from qiskit_ibm_runtime.decoders.noise_learner import NoiseLearnerResultDecoder
from samplomatic import ChangeBasis, InjectNoise, Tag, Twirl

from kit.quantum.plain_executor import PlainExecutor, Run
from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.errors import InvalidInputError, NotIsaError, UnsupportedOptionError
from qiskit_runtime_server.programs import noise_learner, sampler
from qiskit_runtime_server.programs.device.boxes import opened
from qiskit_runtime_server.programs.device.device import load_device
from qiskit_runtime_server.programs.device.dry_run import DryRun
from qiskit_runtime_server.programs.device.isa import check_circuit, check_rzz_values
from qiskit_runtime_server.programs.device.shots import SimulatedShots
from qiskit_runtime_server.programs.device.timing import schedule
from qiskit_runtime_server.programs.options.options import Options
from qiskit_runtime_server.programs.wire.params import sampler_pub

# Every kind of device: with cx, cz, ecr and rzz; with and without control flow; with other qubits than wires; ideal.
DEVICES = [
    "fake_manila",
    "fake_torino",
    "fake_sherbrooke",
    "fake_boston",
    "fake_fractional",
    "fake_armonk",
    "fake_quantum_sim",
]

Build = Callable[[QuantumCircuit], None]


ANGLE = Parameter("a")


def boxed(*, boxes: bool = True, measured: bool = True) -> QuantumCircuit:
    """Return layers and a measurement in boxes, some in boxes; or the same with the barriers that they stand for."""
    circuit = QuantumCircuit(QuantumRegister(5, "q"), ClassicalRegister(3, "c"), global_phase=0.1)
    circuit.sx(0)
    circuit.sx(2)

    def layer(on: QuantumCircuit, qubits: Sequence[int]) -> None:
        on.cx(qubits[0], qubits[1])
        on.rz(ANGLE, qubits[1])
        on.sx(qubits[1])

    if boxes:
        inner = QuantumCircuit(2, global_phase=0.2)
        layer(inner, [1, 0])
        outer = QuantumCircuit(3)
        outer.x(2)
        # The box's qubits, and those of the box in it, come in orders of their own.
        outer.append(BoxOp(inner), [0, 1])
        circuit.append(BoxOp(outer), [2, 1, 3])
        circuit.cx(1, 0)
        with circuit.box():
            circuit.measure([0, 1, 2], [2, 1, 0]) if measured else circuit.x([0, 1, 2])
    else:
        circuit.barrier(2, 1, 3)
        circuit.x(3)
        circuit.barrier(2, 1)
        layer(circuit, [1, 2])
        circuit.barrier(2, 1)
        circuit.barrier(2, 1, 3)
        circuit.cx(1, 0)
        circuit.barrier(0, 1, 2)
        circuit.measure([0, 1, 2], [2, 1, 0]) if measured else circuit.x([0, 1, 2])
        circuit.global_phase += 0.2
    return circuit


class TestOpened:
    def test_contents_are_where_the_boxes_were_between_barriers(self) -> None:
        assert opened(boxed()) == boxed(boxes=False)

    def test_the_whole_does_the_same(self) -> None:
        found, expected = opened(boxed(measured=False)), boxed(boxes=False, measured=False)
        # Phases, which no equality of circuits shows, included.
        assert np.allclose(*(Operator(circuit.assign_parameters([0.3])).data for circuit in (found, expected)))

    def test_last_measurements_stay_last(self) -> None:
        assert opened(boxed()).data[-1].name == "measure"

    def test_a_box_of_one_qubit_holds_nothing_back(self) -> None:
        circuit = QuantumCircuit(1)
        with circuit.box():
            circuit.x(0)
        circuit.x(0)
        assert [part.name for part in opened(circuit).data] == ["x", "x"]

    @pytest.mark.parametrize("kind", ["none", "conditional", "variable", "inside"])
    def test_what_needs_the_engine_is_left_to_it(self, kind: str) -> None:
        circuit = QuantumCircuit(2, 1)
        if kind == "conditional":
            with circuit.if_test((circuit.clbits[0], 1)), circuit.box():
                circuit.x(0)
        elif kind == "variable":
            with circuit.box():
                circuit.add_var("own", expr.lift(True))  # noqa: FBT003 - a value
        elif kind == "inside":
            with circuit.box(), circuit.box(), circuit.if_test((circuit.clbits[0], 1)):
                circuit.x(0)
        assert opened(circuit) is circuit


class TestIsa:
    @pytest.mark.parametrize("name", DEVICES)
    def test_every_device_takes_boxes_of_its_own_gates(self, name: str) -> None:
        device = load_device(Catalog(), name, ideal_qubits=5)
        circuit = QuantumCircuit(1, 1)
        with circuit.box(), circuit.box():
            circuit.x(0)
        with circuit.box():
            circuit.measure(0, 0)
        check_circuit(circuit, device, Options(), "pubs[0]")
        sample = PlainExecutor().execute_sampler([SamplerPub.coerce((circuit, None, 1000))], {}, name)
        assert sample[0].data.c.get_int_counts()[1] > 500

    def test_contents_are_checked_on_the_qubits_that_they_act_on(self) -> None:
        device = load_device(Catalog(), "fake_manila", ideal_qubits=5)
        check_circuit(boxed(), device, Options(), "pubs[0]")
        inner, outer, circuit = QuantumCircuit(2), QuantumCircuit(2), QuantumCircuit(5)
        inner.cx(0, 1)
        outer.append(BoxOp(inner), [1, 0])
        circuit.append(BoxOp(outer), [4, 1])
        with pytest.raises(NotIsaError, match="cx on qubits 1, 4 is not supported"):
            check_circuit(circuit, device, Options(), "pubs[0]")

    def test_options_that_restrict_circuits_reach_into_boxes(self) -> None:
        device = load_device(Catalog(), "fake_manila", ideal_qubits=5)
        with pytest.raises(NotIsaError, match=r"x on qubit 3 is not in the option simulator\.basis_gates"):
            check_circuit(boxed(), device, Options(basis_gates=frozenset({"sx", "cx", "rz"})), "pubs[0]")
        with pytest.raises(NotIsaError, match=r"cx on qubits 1, 0 is not in the option simulator\.coupling_map"):
            check_circuit(boxed(), device, Options(coupling_map=frozenset({(1, 2)})), "pubs[0]")

    @pytest.mark.parametrize("kind", ["box", "conditional"])
    def test_control_flow_and_boxes_in_each_other_are_looked_into(self, kind: str) -> None:
        device = load_device(Catalog(), "fake_manila", ideal_qubits=5)
        circuit = QuantumCircuit(5, 1)
        if kind == "box":
            with circuit.box(), circuit.if_test((circuit.clbits[0], 1)):
                circuit.cx(0, 4)
        else:
            with circuit.if_test((circuit.clbits[0], 1)), circuit.box():
                circuit.cx(0, 4)
        with pytest.raises(NotIsaError, match="cx on qubits 0, 4"):
            check_circuit(circuit, device, Options(), "pubs[0]")

    def test_angles_of_rzz_in_boxes_are_checked(self) -> None:
        device = load_device(Catalog(), "fake_fractional", ideal_qubits=5)
        angle = Parameter("a")
        circuit, fixed = QuantumCircuit(2), QuantumCircuit(2)
        with circuit.box():
            circuit.rzz(2 * angle, 1, 0)
        with fixed.box():
            fixed.rzz(2.0, 1, 0)
        check_circuit(circuit, device, Options(), "pubs[0]")
        check_rzz_values(circuit, SamplerPub.coerce((circuit, [0.7])).parameter_values, device, "pubs[0]")
        with pytest.raises(NotIsaError, match=r"a=0\.9 makes it 1\.8"):
            check_rzz_values(circuit, SamplerPub.coerce((circuit, [0.9])).parameter_values, device, "pubs[0]")
        with pytest.raises(NotIsaError, match=r"has the angle 2\.0"):
            check_circuit(fixed, device, Options(), "pubs[0]")


def annotated(*annotations: Annotation) -> Build:
    def build(circuit: QuantumCircuit) -> None:
        with circuit.box(list(annotations)):
            circuit.x(0)

    return build


def lasting(circuit: QuantumCircuit) -> None:
    with circuit.box(duration=400, unit="dt"):
        circuit.x(0)


def hidden(circuit: QuantumCircuit) -> None:
    with circuit.box(), circuit.if_test((circuit.clbits[0], 1)), circuit.box([Twirl()]):
        circuit.x(0)


class TestWhatABoxAsksFor:
    @pytest.mark.parametrize(
        ("build", "words"),
        [
            (annotated(Twirl()), r"pubs\[0\]: a box has the annotation Twirl.*build one with samplomatic\.build"),
            (annotated(Tag("name"), InjectNoise("errors")), "annotation InjectNoise"),
            (annotated(ChangeBasis(ref="basis")), "annotation ChangeBasis"),
            (annotated(Annotation()), "annotation Annotation"),
            (lasting, r"pubs\[0\]: boxes with a duration cannot be simulated: give them delays"),
            (hidden, "annotation Twirl"),
        ],
        ids=["twirl", "noise", "basis", "unknown", "duration", "hidden"],
    )
    @pytest.mark.parametrize("program", ["sampler", "estimator"])
    def test_more_than_its_contents_is_refused_by_name(self, program: str, build: Build, words: str) -> None:
        circuit = QuantumCircuit(1, 1)
        build(circuit)
        with pytest.raises(InvalidInputError, match=words):
            run(program, circuit, level=0)

    def test_a_tag_asks_for_nothing(self) -> None:
        circuit = QuantumCircuit(1, 1)
        annotated(Tag("name"))(circuit)
        assert run("estimator", circuit, level=0)[0].data.evs == -1


def run(program: str, circuit: QuantumCircuit, *, level: int) -> PrimitiveResult[Any]:
    executor = PlainExecutor()
    if program == "sampler":
        measured = circuit.copy()
        measured.measure_all()
        return executor.execute_sampler([SamplerPub.coerce(measured)], {}, "fake_quantum_sim")
    pub = EstimatorPub.coerce((circuit, "I" * (circuit.num_qubits - 1) + "Z"))
    return executor.execute_estimator([pub], {"resilience_level": level}, "fake_quantum_sim")


SAMPLER_OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "measurements": {"twirling": {"enable_measure": True}},
    "gates": {"twirling": {"enable_gates": True, "num_randomizations": 4}},
    "all": {"twirling": {"enable_gates": True, "enable_measure": True, "num_randomizations": 4}},
    "decoupled": {"dynamical_decoupling": {"enable": True}},
    "both": {"dynamical_decoupling": {"enable": True}, "twirling": {"enable_gates": True, "num_randomizations": 4}},
}


class TestPrograms:
    @pytest.mark.parametrize("options", SAMPLER_OPTIONS.values(), ids=SAMPLER_OPTIONS)
    def test_the_sampler_gives_the_bits_of_a_circuit_with_barriers(self, sample: Run, options: dict[str, Any]) -> None:
        bits = [
            sample([(boxed(boxes=boxes), [[0.3], [1.2]], 800)], **options)[0].data.c.array for boxes in (True, False)
        ]
        assert np.array_equal(*bits)

    @pytest.mark.parametrize("level", [0, 1, pytest.param(2, marks=pytest.mark.slow)])
    def test_the_estimator_gives_the_values_of_a_circuit_with_barriers(self, estimate: Run, level: int) -> None:
        bare = [boxed(boxes=boxes, measured=False) for boxes in (True, False)]
        evs = [
            estimate(
                [(circuit, ["IIZZI", "IIXIX"], 0.3)],
                backend="fake_manila",
                resilience_level=level,
                twirling={"num_randomizations": 4},
            )[0].data.evs
            for circuit in bare
        ]
        assert np.array_equal(*evs)

    def test_dynamic_circuits_have_boxes(self, sample: Run) -> None:
        circuit = QuantumCircuit(5, 2)
        flag = circuit.add_var("flag", expr.lift(False))  # noqa: FBT003 - a value
        circuit.x(0)
        with circuit.box():
            circuit.measure(0, 0)
            circuit.store(flag, circuit.clbits[0])
        with circuit.if_test(flag), circuit.box(), circuit.box():
            circuit.x(3)
        circuit.measure(3, 1)
        (result,) = sample([(circuit, None, 50)], backend="fake_quantum_sim")
        assert result.data.c.get_counts() == {"11": 50}

    @pytest.mark.parametrize("box", ["box", "box[100ns]"])
    def test_openqasm_has_boxes(self, executor: PlainExecutor, box: str) -> None:
        text = f'OPENQASM 3.0; include "stdgates.inc"; bit[1] c; {box} {{ x $3; box {{ x $0; }} }} c[0] = measure $3;'
        pub = sampler_pub([text, [], 50], "pubs[0]")
        if box != "box":
            with pytest.raises(InvalidInputError, match=r"pubs\[0\]: boxes with a duration"):
                executor.execute_sampler([pub], {}, "fake_quantum_sim")
            return
        (result,) = executor.execute_sampler([pub], {}, "fake_quantum_sim")
        assert result.data.c.get_counts() == {"1": 50}

    def test_twirling_is_refused_for_control_flow_in_boxes_only(self, sample: Run) -> None:
        circuit = QuantumCircuit(5, 1)
        with circuit.box(), circuit.if_test((circuit.clbits[0], 1)):
            circuit.x(0)
        with pytest.raises(UnsupportedOptionError, match="circuits with control flow"):
            sample([circuit], twirling={"enable_gates": True})

    def test_a_dry_run_takes_as_long(self) -> None:
        seconds = []
        for boxes in (True, False):
            runner = DryRun(PlainExecutor())
            sampler.execute(runner, [SamplerPub.coerce((boxed(boxes=boxes), [0.3], 100))], Options(), "fake_manila")
            seconds.append(runner.seconds)
        assert seconds[0] == seconds[1] > 0

    def test_boxes_are_held_back_in_schedules(self) -> None:
        target = load_device(Catalog(), "fake_manila", ideal_qubits=5).target
        plans = [schedule(boxed(boxes=boxes), target) for boxes in (True, False)]
        events = [[event for event in plan.events if event.name != "barrier"] for plan in plans]
        assert events[0] == events[1]

    def test_the_noise_learner_finds_layers_in_boxes(self) -> None:
        circuit = QuantumCircuit(5)
        with circuit.box():
            circuit.cx(0, 1)
            circuit.cx(3, 2)
        options = {"num_randomizations": 1, "shots_per_randomization": 1, "layer_pair_depths": [0, 1]}
        params = json.dumps({"circuits": [circuit], "options": options}, cls=RuntimeEncoder).encode()
        document = noise_learner.execute(SimulatedShots(PlainExecutor()), params, "fake_manila", 1).document
        (layer,) = NoiseLearnerResultDecoder.decode(document.decode())
        assert sorted(layer.qubits) == [0, 1, 2, 3]
