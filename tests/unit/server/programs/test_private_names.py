"""Each private name of the client and of the libraries of mitigation does what is expected of it, in one module."""

import ast
import inspect
import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from qiskit.circuit import ParameterVector, QuantumCircuit, QuantumRegister
from qiskit.quantum_info import PauliLindbladMap, SparsePauliOp
from qiskit.transpiler import PassManager
from qiskit_ibm_runtime.execution_span import DoubleSliceSpan
from qiskit_mitigation import PEC, GateFolding
from qiskit_mitigation.zne import extrapolation, gate_folding
from samplomatic import ChangeBasis, Twirl, build
from samplomatic.annotations import InjectNoise
from samplomatic.transpiler import generate_boxing_pass_manager
from samplomatic.utils import get_annotation

import qiskit_runtime_server
from qiskit_runtime_server.executors.aer import AerExecutor
from qiskit_runtime_server.programs import private_names
from qiskit_runtime_server.programs.device.shots import SimulatedShots
from qiskit_runtime_server.programs.mitigation.learning import learned
from qiskit_runtime_server.programs.options.mitigation import Check, Checks, LayerLearning
from qiskit_runtime_server.programs.options.options import Options
from qiskit_runtime_server.programs.prepared import PreparedDevice
from qiskit_runtime_server.simulation.seeds import SeedPath

SERVER = Path(qiskit_runtime_server.__file__).parent


def test_layers_are_boxed_and_their_noise_is_named() -> None:
    circuit = QuantumCircuit(2)
    circuit.cx(0, 1)
    options = {"enable_gates": True, "enable_measures": True, "twirling_strategy": "active"}
    boxed = private_names.boxed_layers(circuit, {**options, "measure_annotations": "all"})
    noisy = [part for part in boxed if part.name == "box" and get_annotation(part.operation, InjectNoise) is not None]
    assert len(noisy) == 1


def test_a_generator_takes_the_place_of_the_seed_of_folding_and_leaves_it_again() -> None:
    original, generator = gate_folding.GateFoldingPass, np.random.default_rng(1)
    assert inspect.signature(original.__init__).parameters["seed"].default is None
    with private_names.folding_by(generator):
        folding = gate_folding.GateFoldingPass
        assert (folding.func, folding.keywords) == (original, {"seed": generator})
        folding(noise_factor=1.5)
    assert gate_folding.GateFoldingPass is original


@pytest.mark.parametrize(
    ("factors", "values", "error"),
    [
        # At 0 a line through two points is 3/2 of the first less 1/2 of the second.
        ([1, 3], [0.8, 0.4], np.hypot(1.5 * 0.06, 0.5 * 0.08)),
        ([1, 3], [0.5, 0.5], np.hypot(1.5 * 0.06, 0.5 * 0.08)),
        ([3, 3], [0.5, 0.4], np.nan),
    ],
)
def test_a_fit_through_all_points_has_the_error_of_its_points(
    factors: list[float], values: list[float], error: float
) -> None:
    spreads, fitting = np.array([0.6, 0.8]), extrapolation.curve_fit

    def fitted(spreads: NDArray[np.float64] | None) -> NDArray[np.float64]:
        x, y, at = np.array(factors), np.array(values), np.zeros(1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", np.exceptions.RankWarning)
            return np.asarray(extrapolation._extrapolate("linear", x, y, np.zeros(2), spreads, at, 0)[1])

    with private_names.fits_with_errors(100):
        assert fitted(spreads) == pytest.approx(error, nan_ok=True)
        assert fitted(None) == pytest.approx(0 * error, nan_ok=True)
    assert not np.isfinite(fitted(spreads))
    assert extrapolation.curve_fit is fitting


def test_pec_asks_nothing_but_boxes_for_annotations() -> None:
    circuit = QuantumCircuit(2)
    circuit.delay(100, 0)
    with circuit.box([InjectNoise("noise")]):
        circuit.cx(0, 1)
    errors = {"noise": PauliLindbladMap.from_list([("XX", 0.1)])}
    with private_names.annotations_of_boxes():
        assert PEC.calculate_gamma(circuit, errors, 1) == pytest.approx(np.exp(0.2))
    with pytest.raises(AttributeError):
        PEC.calculate_gamma(circuit, errors, 1)


def test_circuits_are_boxed_and_built_by_others_where_the_libraries_would() -> None:
    modules = {module.__name__.removeprefix("qiskit_"): module for module in private_names._BUILDING}
    names = {
        name: {each for each in ("build", "generate_boxing_pass_manager") if hasattr(module, each)}
        for name, module in modules.items()
    }
    both = {"build", "generate_boxing_pass_manager"}
    assert names == {
        "ibm_runtime.executor_sampler.prepare": both,
        "mitigation.mitigation_task": both,
        "mitigation.pec": {"build"},
        "mitigation.trex": both,
        "mitigation.zne.gate_folding": {"build"},
        "mitigation.zne.pea": {"build"},
    }
    circuit, asked = QuantumCircuit(2), []

    def box(circuit: QuantumCircuit, options: Mapping[str, object]) -> QuantumCircuit:
        asked.append(options)
        return circuit

    with private_names.building_by(box, build):
        private_names.boxed_layers(circuit, {"enable_gates": True})
        assert {module.build for module in modules.values()} == {build}
    assert [options["inject_noise_targets"] for options in asked] == ["gates"]
    assert modules["mitigation.trex"].generate_boxing_pass_manager is generate_boxing_pass_manager


def test_a_task_is_folded_and_boxed_by_others_who_may_know_the_circuit_already() -> None:
    circuit, asked = QuantumCircuit(2), []
    circuit.cx(0, 1)
    circuit.cx(0, 1)

    def boxed(circuit: QuantumCircuit, how: object, make: Callable[[], tuple[QuantumCircuit, bool]]) -> QuantumCircuit:
        made, changes = make()
        asked.append((circuit, how, changes, made))
        return made

    given = {"observables": [SparsePauliOp("XZ")], "parameters": None, "noise_factors": [1, 1.5, 3]}
    with private_names.folding_by(np.random.default_rng(1)):
        plain = GateFolding().prepare(circuit, **given)
    with private_names.folding_by(np.random.default_rng(1)), private_names.preparing_by(boxed):
        program = GateFolding().prepare(circuit, **given)
    assert [changes for _, _, changes, _ in asked] == [False, True, False]
    assert len({how for _, how, _, _ in asked}) == 3
    for item, other in zip(program.items, plain.items, strict=True):
        assert [part.name for part in item.circuit.data] == [part.name for part in other.circuit.data]
        assert [array.tolist() for array in item.samplex_arguments.values()] == [
            array.tolist() for array in other.samplex_arguments.values()
        ]
    assert gate_folding.PassManager is PassManager
    assert private_names.boxed_layers(circuit, {}).count_ops() == {"box": 3}


@pytest.mark.parametrize("number", [1, 7])
@pytest.mark.parametrize("decomposition", ["rzsx", "rzrx"])
def test_samplexes_draw_for_many_arguments_at_once_what_they_draw_for_each(decomposition: str, number: int) -> None:
    angles = ParameterVector("a", 3)
    circuit = QuantumCircuit(3)
    for pair, angle in zip(((0, 1), (1, 2)), angles, strict=False):
        with circuit.box([Twirl(decomposition=decomposition), InjectNoise("noise", "scale")]):
            circuit.sx(pair)
            circuit.rz(angle + angles[2], pair)
            circuit.rx(angle, pair[0])
            circuit.cx(*pair)
    with circuit.box([Twirl(group="local_pauli", decomposition=decomposition)]):
        circuit.rzz(angles[2], 0, 2)
    with circuit.box([Twirl(decomposition=decomposition), ChangeBasis(ref="basis", decomposition=decomposition)]):
        circuit.h(0)
        circuit.measure_all()
    _, samplex = build(circuit)
    noise = {"pauli_lindblad_maps.noise": PauliLindbladMap.from_list([("XX", 0.1), ("IZ", 0.3)])}
    arguments = [
        samplex.inputs().bind(parameter_values=[0.1, row, 3], **{"basis_changes.basis": [row, 1, 2]}, **noise)
        for row in range(4)
    ]

    def together(*rows: int) -> list[dict[str, bytes]]:
        generators = [np.random.default_rng(row) for row in rows]
        found = private_names.drawn(samplex, [arguments[row] for row in rows], number, generators)
        return [{name: array[place].tobytes() for name, array in found.items()} for place in range(len(rows))]

    each = [
        {name: array.tobytes() for name, array in samplex.sample(values, number, np.random.default_rng(row)).items()}
        for row, values in enumerate(arguments)
    ]
    assert set(each[0]) == {"measurement_flips.meas", "parameter_values", "pauli_signs"}
    assert together(0, 1, 2, 3) == each
    assert together(2) == [each[2]]


def test_what_was_learned_says_which_shots_it_kept_and_how_often_checks_flipped() -> None:
    circuit = QuantumCircuit(QuantumRegister(5, "q"))
    with circuit.box([Twirl()]):
        circuit.cx(0, 1)
    learning = LayerLearning(num_randomizations=2, shots_per_randomization=16, layer_pair_depths=(0, 1))
    prepared = PreparedDevice.of(SimulatedShots(AerExecutor(threads=1)), Options(), "fake_manila")
    checks = Checks(post=Check(enable=True, x_pulse_type="rx"))
    found = learned(prepared, circuit.data[0], learning, SeedPath((1,)), checks=checks)
    assert set(found.fractions_kept()) == {0, 1}
    assert all(0.5 < share < 1 for share in found.fractions_kept().values())
    assert all(0.8 < rate <= 1 for rates in found.success_rates().values() for rate in rates.values())
    assert {len(rates) for rates in found.success_rates().values()} == {3}


@pytest.mark.parametrize(
    ("name", "curve"), [("exponential", lambda x: 0.9 * np.exp(-0.2 * x)), ("linear", lambda x: 0.9 - 0.1 * x)]
)
def test_an_extrapolator_is_a_function_with_a_start_and_bounds(name: str, curve: object) -> None:
    assert callable(curve)
    factors = np.array([1.0, 3.0, 5.0])
    values = curve(factors)
    model, start, bounds = private_names.extrapolation_model(name, factors, values, np.ones(3))
    assert np.shape(model(factors, *start)) == (3,)
    assert len(bounds) == 2


def test_a_span_says_which_data_it_has() -> None:
    now = datetime.now(UTC)
    span = DoubleSliceSpan(now, now, {0: ((2, 3), slice(0, 2), slice(1, 3))})
    assert private_names.data_slices(span) == {0: ((2, 3), slice(0, 2), slice(1, 3))}


def test_no_other_module_uses_a_private_name_of_them() -> None:
    private = {node.attr for node in _attributes(SERVER / "programs/private_names.py") if node.attr.startswith("_")}
    samplexes = {"_sampling_nodes", "_evaluation_streams", "_collection_nodes"}
    nodes = {"_template_params_name", "_register_name", "_register_type", "_subsystem_idxs", "_synth"}
    fits = {"_build_model_spec", "_fraction_kept", "_success_rates"}
    assert private == {"_box_circuit", "_make_samplex_arguments", "_data_slices"} | samplexes | nodes | fits
    for path in SERVER.rglob("*.py"):
        if path.name != "private_names.py":
            assert {node.attr for node in _attributes(path)}.isdisjoint(private), path


def test_no_module_imports_a_private_name() -> None:
    for path in SERVER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and not (node.module or "").startswith("qiskit_runtime_server"):
                private = [name.name for name in node.names if name.name.startswith("_")]
                assert not private or node.module == "__future__", f"{path}: {node.module}.{private}"


def test_the_page_about_dependencies_lists_them() -> None:
    page = (SERVER.parents[1] / "docs/reference/dependencies.md").read_text()
    for module in ("programs/private_names.py", "simulation/noise_models.py"):
        names = {node.attr for node in _attributes(SERVER / module) if node.attr.startswith("_")}
        assert {name for name in names if f"`{name}`" not in page} == set()


def test_the_page_lists_what_is_imported_of_inner_modules_of_the_client() -> None:
    public = {"exceptions", "execution_span", "noise_learner", "options_models", "results"}
    imported: defaultdict[str, set[str]] = defaultdict(set)
    for path in SERVER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("qiskit_ibm_runtime."):
                module = str(node.module).partition(".")[2]
                if module not in public:
                    imported[module] |= {name.name for name in node.names}
    page = (SERVER.parents[1] / "docs/reference/dependencies.md").read_text().partition("## Inner modules")[2]
    rows = re.findall(r"^\| `([\w.]+)` \| (.+?) \|", page, re.MULTILINE)
    assert {module: set(re.findall(r"`(\w+)`", names)) for module, names in rows} == imported


def _attributes(path: Path) -> list[ast.Attribute]:
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Attribute)]
