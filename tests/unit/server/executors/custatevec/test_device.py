"""The code for GPUs, as far as it can be tried without one: on an emulated library, and against the real one."""

import ast
import inspect
from collections.abc import Iterator
from contextlib import ExitStack
from enum import IntEnum
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from kit.quantum import custatevec_emulated as emulated
from qiskit_runtime_server.errors import OutOfMemoryError, StartupError
from qiskit_runtime_server.executors import custatevec
from qiskit_runtime_server.executors.custatevec import device_library
from qiskit_runtime_server.executors.custatevec.device_state import DeviceQueue, DeviceState
from qiskit_runtime_server.executors.custatevec.device_states import DeviceStates
from qiskit_runtime_server.executors.custatevec.executor import CuStateVecExecutor
from qiskit_runtime_server.executors.custatevec.options import LIMITS, Options

SOURCES = list(Path(custatevec.__file__).parent.glob("device_*.py"))


@pytest.fixture
def library() -> device_library.Library:
    return emulated.library(single=True)


def states(library: device_library.Library, **options: object) -> DeviceStates:
    return DeviceStates(Options.of(options), library, host_bytes=2**30)


def modules() -> tuple[ModuleType, ModuleType]:
    """Return the bindings; skip the test where they are not installed."""
    pytest.importorskip("cuquantum.bindings.custatevecEx", reason="needs the extra custatevec", exc_type=ImportError)
    return import_module("cuquantum.bindings.custatevec"), import_module("cuquantum.bindings.custatevecEx")


def public(thing: object) -> Iterator[tuple[str, object]]:
    return ((name, value) for name, value in inspect.getmembers(thing) if not name.startswith("_"))


def used(name: str) -> set[str]:
    """Return what the code takes from a module that it calls `name`."""
    nodes = [node for path in SOURCES for node in ast.walk(ast.parse(path.read_text()))]
    owners = {name, f"library.{name}", f"self._library.{name}", f"self.{name}"}
    return {node.attr for node in nodes if isinstance(node, ast.Attribute) and ast.unparse(node.value) in owners}


@pytest.mark.parametrize(("name", "stand_in"), [("sv", emulated.EmulatedCuStateVec), ("ex", emulated.EmulatedEx())])
def test_everything_that_is_called_is_emulated(name: str, stand_in: object) -> None:
    assert len(used(name)) > 10
    assert used(name) <= {member for member, _ in public(stand_in)}


@pytest.mark.parametrize("place", [0, 1], ids=["custatevec", "custatevecEx"])
def test_the_library_has_what_is_emulated_with_the_same_arguments(place: int) -> None:
    real = modules()[place]
    stand_in = (emulated.EmulatedCuStateVec, emulated.EmulatedEx())[place]
    for name, value in public(stand_in):
        if inspect.isclass(value) and issubclass(value, IntEnum):
            assert {member.name: member.value for member in value}.items() <= {
                member.name: member.value for member in getattr(real, name)
            }.items(), name
        elif inspect.isroutine(value):
            assert list(inspect.signature(value).parameters) == list(
                inspect.signature(getattr(real, name)).parameters
            ), name
    if place:
        assert vars(emulated.SVUpdaterConfigItem(1, 4)) == {
            key: getattr(real.SVUpdaterConfigItem(1, 4), key) for key in ("name", "value")
        }
    else:
        assert issubclass(real.cuStateVecError, Exception)


def test_the_library_takes_what_the_options_allow_and_no_more() -> None:
    """It makes configurations without a GPU, and checks the numbers in them."""
    sv, ex = modules()
    real = device_library.Library.of(emulated.CUPY, sv, ex, single=True)
    spread = states(real, processes=True)
    spread.__dict__["_num_processes"] = 4
    made = [
        ex.configure_state_vector_single_device(real.data_type, 30, 30 - LIMITS["host_qubits"][1], 0, 0),
        spread._multi_process((real.data_type, 30, 28)),
    ]
    with pytest.raises(sv.cuStateVecError, match="INVALID_VALUE"):
        ex.configure_state_vector_single_device(real.data_type, 30, 29 - LIMITS["host_qubits"][1], 0, 0)
    names = ex.SVUpdaterConfigName
    for option, name in (
        ("host_threads", names.MAX_NUM_HOST_THREADS),
        ("dense_fusion", names.DENSE_FUSION_SIZE),
        ("diagonal_fusion", names.DIAGONAL_FUSION_SIZE),
    ):
        least, most = LIMITS[option]
        made += [
            ex.configure_sv_updater(real.data_type, [ex.SVUpdaterConfigItem(name, size)]) for size in (least, most)
        ]
        for size in (least - 1, most + 1):
            with pytest.raises(sv.cuStateVecError, match="INVALID_VALUE"):
                ex.configure_sv_updater(real.data_type, [ex.SVUpdaterConfigItem(name, size)])
    updater = ex.sv_updater_create(made[-1], 0)
    ex.sv_updater_destroy(updater)
    for address in made:
        ex.dictionary_destroy(address)


def test_what_is_made_is_destroyed_even_after_a_failure(library: device_library.Library) -> None:
    made = states(library)
    with ExitStack() as stack:
        stack.enter_context(made.state(3))
        stack.enter_context(made.queue())
        assert len(library.ex.alive) == 2
    assert library.ex.alive == {}
    with pytest.raises(RuntimeError), made.state(3), made.queue():
        raise RuntimeError
    assert library.ex.alive == {}


@pytest.mark.parametrize(
    ("options", "num_qubits", "configured"),
    [
        ({}, 20, (20, 20, 0)),
        ({"devices": [1]}, 20, (20, 20, 1)),
        ({"devices": [1, 0]}, 20, (20, 19, (1, 0))),
        ({"host_qubits": 2}, 20, (20, 20, 0)),
        ({"host_qubits": 2}, 26, (26, 24, 0)),
        ({"processes": True}, 20, (20, 18, "processes")),
    ],
)
def test_a_state_is_spread_as_the_options_say(
    library: device_library.Library, options: dict[str, object], num_qubits: int, configured: tuple[int, int, object]
) -> None:
    made = states(library, **options)
    with made.state(num_qubits) as state:
        assert library.ex.configured == [configured]
        # There is one array to copy only if it is all on one device.
        assert state.checkpoint() == (configured[1] == num_qubits)


def test_the_memory_grows_with_devices_and_with_the_hosts(library: device_library.Library) -> None:
    one = states(library).device()
    assert one.name == "Emulated"
    assert one.compute_capability == "9.0"
    assert one.memory_bytes == int(0.9 * emulated.MEMORY)
    assert one.batch_bytes == one.memory_bytes // 2
    two = states(library, devices=[0, 1]).device()
    assert (two.name, two.memory_bytes) == ("2 x Emulated", 2 * one.memory_bytes)
    assert states(library, host_qubits=2).device().memory_bytes == 8 << 26
    assert states(library, processes=True).device().memory_bytes == 4 * one.memory_bytes
    with pytest.raises(StartupError, match="no GPU 7: the driver shows 2"):
        states(library, devices=[7]).device()


def test_a_batch_larger_than_its_scratch_memory_works_in_pieces(
    library: device_library.Library, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qiskit_runtime_server.executors.custatevec.device_batch.SCRATCH_BYTES", 200)
    flips = np.array([np.eye(2), [[0, 1], [1, 0]]], dtype=np.complex128)
    with states(library).batch(3, 20) as batch:
        batch.branch(np.zeros(19, dtype=np.int64))
        assert batch.size == 20
        batch.apply(flips, np.arange(20) % 2, (1,))
        lanes = np.random.default_rng(1).integers(0, 20, 500)
        assert batch.sample((0, 1), lanes, np.full(500, 0.5)).tolist() == (2 * (lanes % 2)).tolist()


def test_all_work_of_a_process_goes_through_the_stream_in_whose_order_memory_is_used_again(
    library: device_library.Library,
) -> None:
    """With CUPY_CUDA_PER_THREAD_DEFAULT_STREAM=1 it is not the one that handles and states have if nobody says."""
    made = states(library)
    with made.batch(2, 1), made.state(3) as state:
        assert isinstance(state, DeviceState)
        *_, stream, _ = library.ex.state_vector_get_resources_from_device_sub_sv(state.address, 0)
        assert stream == library.sv.get_stream(made._handle) == emulated.CURRENT_STREAM


def test_what_was_put_off_is_done_before_amplitudes_are_copied_to_or_fro(library: device_library.Library) -> None:
    made = states(library)
    flip = np.array([[0, 1], [1, 0]], dtype=np.complex128)
    with made.state(3) as state, made.queue() as queue:
        assert isinstance(state, DeviceState)
        queue.matrix(flip, (1,))
        queue.apply(state, np.empty(0))
        with pytest.raises(emulated.CuStateVecError, match="RESOURCES_NOT_ACCESSIBLE"):
            state._memory()
        assert state.checkpoint()
        for _ in range(2):
            queue.apply(state, np.empty(0))
            state.restore()
            assert np.abs(state.amplitudes()).tolist() == [0, 0, 1, 0, 0, 0, 0, 0]


def test_fusion_is_as_wide_as_the_options_say(library: device_library.Library) -> None:
    with states(library, dense_fusion=5, diagonal_fusion=0, host_threads=8).queue():
        assert library.ex.configured == [((0, 8), (1, 5), (2, 0))]


def test_matrices_are_queued_in_their_shortest_form(library: device_library.Library) -> None:
    with states(library).queue() as queue:
        assert isinstance(queue, DeviceQueue)
        kinds = [
            queue._elements(np.array(matrix, dtype=np.complex128))
            for matrix in ([[1, 0], [0, 1j]], [[0, 2], [3j, 0]], [[1, 1], [1, -1]])
        ]
    assert [kind for kind, _ in kinds] == [2, 4, 1]
    assert [elements.tolist() for _, elements in kinds[:2]] == [[1, 1j], [2, 3j]]


@pytest.mark.parametrize(
    "error",
    [
        emulated.OutOfMemoryError(),
        emulated.CuStateVecError(2),
        emulated.CuStateVecError(11),
        emulated.CUDARuntimeError(2),
    ],
)
def test_memory_that_runs_out_later_is_told_with_the_size(library: device_library.Library, error: Exception) -> None:
    made = states(library)
    message = "1 state of 20 qubits: 8 MiB needed, 256 MiB free"
    with pytest.raises(OutOfMemoryError, match=message), made.state(20):
        raise error
    assert library.ex.alive == {}
    with pytest.raises(OutOfMemoryError, match="8 states of 10 qubits: 64 KiB needed"), made.batch(10, 8):
        raise error


def test_other_errors_of_the_library_stay_what_they_are(library: device_library.Library) -> None:
    for error in (emulated.CuStateVecError(3), emulated.CUDARuntimeError(700)):
        with pytest.raises(type(error)), states(library).state(4):
            raise error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colour": "red"}, "no option 'colour'; there are: batched_qubits"),
        ({"precision": "half"}, "precision is 'half'; it takes one of single, double"),
        ({"devices": [0, 1, 2]}, "devices is"),
        ({"devices": [0, 0]}, "devices is"),
        ({"host_qubits": 4}, "host_qubits is 4; it takes an integer from 0 to 3"),
        ({"dense_fusion": "wide"}, "dense_fusion is 'wide'"),
        ({"processes": True, "host_qubits": 1}, "only one can enlarge a state"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(StartupError, match=message):
        CuStateVecExecutor(**options)
