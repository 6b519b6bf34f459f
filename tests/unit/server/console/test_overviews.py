"""Devices, executors, sessions and usage on the console."""

import html
import itertools
import json
import re
from dataclasses import replace

import pytest

from kit.server.api_in_process import BACKEND, submit
from kit.server.console import Console, csrf_in
from qiskit_runtime_server.backends.catalog import Catalog, configuration_document
from qiskit_runtime_server.console.coupling_map import MOST_QUBITS, DrawnQubit, drawing

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


async def test_a_device_is_drawn_and_its_calibration_is_listed(console: Console) -> None:
    listed = (await console.alice.get("/devices")).text
    assert f'href="/ui/devices/{BACKEND.replace("@", "%40")}"' in listed
    text = (await console.alice.get(f"/devices/{BACKEND}")).text
    assert (text.count("<circle"), len(re.findall(r'<line class="e\d" x1="\d+\.', text))) == (5, 4)
    errors = re.findall(r"<td>cx</td><td class=\"number\">([\d.e-]+)", text)
    assert len(errors) == 4
    assert all(0 < float(error) < 0.1 for error in errors)
    assert "T1 [\N{MICRO SIGN}s]" in text
    assert ">cx, id, rz, sx, x<" in text
    assert (await console.alice.get("/devices/no_such@played")).status_code == 404


async def test_a_coupling_is_broken_whose_basis_gate_is_whatever_fractional_ones_do(console: Console) -> None:
    services = replace(console.api.services, catalog=Catalog(include=("fake_fez",)))
    console.api.app.state.services = services
    page = (await console.alice.get("/devices/fake_fez@played")).text
    assert "<title>27–28: cz error 1</title>" in page  # noqa: RUF001 - as the page has it
    assert "rzz error" not in page


async def test_devices_are_searched_for(console: Console) -> None:
    text = (await console.alice.get("/devices", params={"search": "MANILA"})).text
    assert ("fake_manila" in text, "fake_quantum_sim" in text) == (True, False)
    nothing = (await console.alice.get("/devices", params={"search": HOSTILE})).text
    assert ("There are none like that" in nothing, "<table" in nothing, "<img" in nothing) == (True, False, False)


async def test_an_ideal_device_says_that_all_its_qubits_are_coupled(console: Console) -> None:
    text = (await console.alice.get("/devices/fake_quantum_sim@played")).text
    assert ("Every qubit is coupled with every other one" in text, "<circle" in text) == (True, False)


@pytest.mark.parametrize("name", Catalog().names())
def test_no_two_qubits_of_a_device_are_drawn_at_one_place(name: str) -> None:
    configuration = json.loads(configuration_document(Catalog().get(name, ideal_qubits=5), "x"))
    drawn = drawing(configuration, {})
    if drawn is None:
        assert not configuration["coupling_map"]
        return
    places = [(qubit.x, qubit.y) for qubit in drawn.qubits]
    apart = [abs(a - c) + abs(b - d) for (a, b), (c, d) in itertools.combinations(places, 2)]
    assert min(apart, default=99.0) > 17  # circles have a radius of 8.5
    assert len(drawn.qubits) == configuration["n_qubits"]
    assert drawn.width < 1000
    lengths = [((line.one.x - line.other.x) ** 2 + (line.one.y - line.other.y) ** 2) ** 0.5 for line in drawn.couplings]
    assert max(lengths) < 90


@pytest.mark.parametrize("name", Catalog().names())
def test_no_two_couplings_of_a_device_cross(name: str) -> None:
    configuration = json.loads(configuration_document(Catalog().get(name, ideal_qubits=5), "x"))
    drawn = drawing(configuration, {})
    lines = [] if drawn is None else [(line.one, line.other) for line in drawn.couplings]
    crossing = [
        (one, other)
        for one, other in itertools.combinations(lines, 2)
        if not set(one) & set(other) and are_apart(one, other) and are_apart(other, one)
    ]
    assert crossing == []


def are_apart(line: tuple[DrawnQubit, DrawnQubit], points: tuple[DrawnQubit, DrawnQubit]) -> bool:
    """Return whether two points are on different sides of a line."""
    (a, b), sides = line, 1.0
    for point in points:
        sides *= (b.x - a.x) * (point.y - a.y) - (b.y - a.y) * (point.x - a.x)
    return sides < 0


def test_errors_are_in_five_classes_of_about_one_size_and_large_devices_are_not_drawn() -> None:
    pairs = [[number, number + 1] for number in range(10)]
    errors = {(one, other): ("cz", 0.001 * (one + 1)) for one, other in pairs[:8]} | {(8, 9): ("cz", 1.0)}
    drawn = drawing({"n_qubits": 11, "coupling_map": pairs}, errors)
    assert drawn is not None
    assert [coupling.colour for coupling in drawn.couplings] == [0, 0, 1, 1, 2, 3, 3, 4, None, None]
    assert [coupling.broken for coupling in drawn.couplings].index(True) == 8
    assert drawn.bounds[0] == (0.001, 0.002)
    assert drawing({"n_qubits": MOST_QUBITS + 1, "coupling_map": pairs}, errors) is None


async def test_admins_see_where_executors_are_and_pause_them(console: Console) -> None:
    own = (await console.alice.get("/executors")).text
    assert ("played" in own, "10.0.0.7" in own, "Start no more jobs" in own) == (True, False, False)
    told = (await console.ada.get("/executors")).text
    assert ("10.0.0.7" in told, "Start no more jobs on it" in told) == (True, True)
    form = {"csrf": await csrf_in(console.ada, "/executors"), "draining": "yes"}
    assert (await console.ada.post("/executors/played/drain", data=form)).status_code == 303
    assert "An admin has paused this executor" in (await console.alice.get("/executors")).text
    of_alice = form | {"csrf": await csrf_in(console.alice, "/executors")}
    assert (await console.alice.post("/executors/played/drain", data=of_alice)).status_code == 403


async def test_sessions_are_listed_and_closed(console: Console) -> None:
    session = (await console.api.alice.post("/sessions", json={"backend": BACKEND})).json()["id"]
    batch = (await console.api.alice.post("/sessions", json={"backend": BACKEND, "mode": "batch"})).json()["id"]
    job = await submit(console.api.alice, session_id=session)
    text = (await console.alice.get("/sessions")).text
    assert (session in text, batch in text, "teaching" in text) == (True, False, True)
    assert batch in (await console.alice.get("/sessions", params={"mode": "batch"})).text
    teaching = "crn:v1:bluemix:public:quantum-computing:us-east:a/alice:teaching::"
    assert session not in (await console.alice.get("/sessions", params={"instance": teaching})).text
    page = (await console.alice.get(f"/sessions/{session}")).text
    assert (job in page, "accepts jobs" in page) == (True, True)
    csrf = await csrf_in(console.alice, "/sessions")
    assert (await console.alice.post(f"/sessions/{session}/close", data={"csrf": csrf})).status_code == 303
    assert "accepts no jobs" in (await console.alice.get(f"/sessions/{session}")).text
    assert (await console.bob.get(f"/sessions/{session}")).status_code == 404


async def test_sessions_are_paged_through(console: Console) -> None:
    made = [(await console.api.alice.post("/sessions", json={"backend": BACKEND})).json()["id"] for _ in range(30)]
    first = (await console.alice.get("/sessions")).text
    [older] = re.findall(r'rel="next" href="/ui([^"]+)"', first)
    second = (await console.alice.get(html.unescape(older))).text
    assert [one for text in (first, second) for one in re.findall(r'class="id" href="/ui/sessions/([^"]+)"', text)] == (
        made[::-1]
    )


async def test_usage_is_for_admins(console: Console) -> None:
    await submit(console.api.alice)
    await console.api.end_next(seconds=90)
    waiting = await submit(console.api.alice)
    text = (await console.ada.get("/usage")).text
    assert ('account=alice">alice<' in text, "1 min 30 s" in text, text.count('<rect class="bar"')) == (True, True, 1)
    assert (await console.alice.get("/usage")).status_code == 403
    csrf = await csrf_in(console.ada, "/usage")
    assert (await console.ada.post("/usage/alice/cancel", data={"csrf": csrf})).status_code == 303
    assert (await console.api.alice.get(f"/jobs/{waiting}")).json()["status"] == "Cancelled"


async def test_a_teacher_sees_the_usage_of_the_class(console: Console) -> None:
    for client in (console.api.bob, console.api.ada):
        await submit(client)
        await console.api.end_next(seconds=90)
    text = (await console.tess.get("/class-usage")).text
    assert ('href="/ui/class?account=bob"' in text, "1 min 30 s" in text, ">ada<" in text) == (True, True, False)
    assert "Cancel all" not in text
    assert (await console.tess.get("/usage")).status_code == 403
    assert (await console.bob.get("/class-usage")).status_code == 403
    form = {"csrf": await csrf_in(console.tess, "/class-usage")}
    assert (await console.tess.post("/usage/bob/cancel", data=form)).status_code == 403


@pytest.mark.parametrize("path", ["/devices", "/executors", "/sessions", "/usage", "/all-jobs"])
async def test_every_page_is_for_those_who_have_signed_in(console: Console, path: str) -> None:
    assert (await console.nobody.get(path)).headers["location"] == "/ui/sign-in"
    assert (await console.ada.get(path)).status_code == 200
