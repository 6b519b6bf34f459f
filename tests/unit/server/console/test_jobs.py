"""Jobs on the console: who sees which, what their pages say, and that nothing in them is more than text."""

import html
import json
import re
from typing import Any

import msgspec
import pytest

from kit.server.api_in_process import BACKEND, submit
from kit.server.console import Console, csrf_in
from kit.server.played_pool import NAME, PlayedPool
from qiskit_runtime_server.jobs import JobState, Outcome
from qiskit_runtime_server.messages.messages import Completed, Failed, Metrics, Progress, Started

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"


def ids_in(text: str) -> list[str]:
    return re.findall(r'<th scope="row"><a class="id" href="[^"]+">([^<]+)</a>', text)


async def test_an_account_sees_its_own_jobs_and_no_others(console: Console) -> None:
    of_alice, of_bob = await submit(console.api.alice), await submit(console.api.bob)
    assert ids_in((await console.alice.get("/jobs")).text) == [of_alice]
    assert ids_in((await console.bob.get("/jobs")).text) == [of_bob]
    csrf = await csrf_in(console.bob, "/jobs")
    for path in ("", "/result.json", "/job.json", "/log.txt"):
        answer = await console.bob.get(f"/jobs/{of_alice}{path}")
        assert (answer.status_code, of_alice in answer.text) == (404, True)
        assert "alice" not in answer.text
    for action in ("cancel", "delete"):
        assert (await console.bob.post(f"/jobs/{of_alice}/{action}", data={"csrf": csrf})).status_code == 404
    assert (await console.bob.get("/all-jobs")).status_code == 403
    assert (await console.api.alice.get(f"/jobs/{of_alice}")).json()["status"] == "Queued"


async def test_an_admin_sees_everybodys_jobs_and_may_cancel_them(console: Console) -> None:
    jobs = [await submit(console.api.alice), await submit(console.api.bob)]
    page = await console.ada.get("/all-jobs")
    assert ids_in(page.text) == jobs[::-1]
    assert ids_in((await console.ada.get("/all-jobs", params={"account": "bob"})).text) == jobs[1:]
    csrf = await csrf_in(console.ada, f"/jobs/{jobs[1]}")
    assert (await console.ada.post(f"/jobs/{jobs[1]}/cancel", data={"csrf": csrf})).status_code == 303
    assert "Cancelled by ada, an admin." in (await console.bob.get(f"/jobs/{jobs[1]}")).text


async def test_a_teacher_sees_jobs_of_the_class_and_may_cancel_but_not_delete_them(console: Console) -> None:
    own, of_bob = await submit(console.api.tess), await submit(console.api.bob)
    of_alice = await submit(console.api.alice)  # under the instance that is no part of the class
    assert ids_in((await console.tess.get("/jobs")).text) == [own]
    page = (await console.tess.get("/class")).text
    assert (ids_in(page), 'href="/ui/class?account=bob"' in page) == ([of_bob], True)
    assert ids_in((await console.tess.get("/class", params={"account": "alice"})).text) == []
    text = (await console.tess.get(f"/jobs/{of_bob}")).text
    assert ("Cancel this job" in text, "Delete it" in text) == (True, False)
    assert "Delete it" in (await console.tess.get(f"/jobs/{own}")).text
    for path in (f"/jobs/{of_alice}", f"/jobs/{of_alice}/log.txt"):
        assert (await console.tess.get(path)).status_code == 404
    csrf = {"csrf": await csrf_in(console.tess, "/class")}
    answers = [
        await console.tess.post(f"/jobs/{job}/{action}", data=csrf)
        for job, action in ((of_bob, "delete"), (of_bob, "cancel"), (of_alice, "cancel"))
    ]
    assert [answer.status_code for answer in answers] == [403, 303, 404]
    assert "Cancelled by tess, a teacher." in (await console.bob.get(f"/jobs/{of_bob}")).text
    assert [("Class<" in (await browser.get("/jobs")).text) for browser in (console.bob, console.ada)] == [False, False]
    for browser in (console.bob, console.ada):
        assert (await browser.get("/class")).status_code == 403
    assert (await console.tess.get("/all-jobs")).status_code == 403


async def test_an_address_without_a_page_is_a_page_that_leads_elsewhere(console: Console) -> None:
    answer = await console.alice.get("/jobs/of/<b>nobody")
    assert (answer.status_code, answer.headers["content-type"]) == (404, "text/html; charset=utf-8")
    assert "There is no page /ui/jobs/of/&lt;b&gt;nobody." in answer.text
    assert ("Sign out" in answer.text, 'href="/ui/devices"' in answer.text) == (True, True)
    nobody = await console.nobody.get("/nowhere")
    assert (nobody.status_code, nobody.headers["location"]) == (303, "/ui/sign-in")


async def test_jobs_are_filtered(console: Console) -> None:
    done = await submit(console.api.alice, tags=["thesis", "first"])
    await console.api.end_next()
    waits = await submit(console.api.alice, program_id="estimator", tags=["thesis"])
    other = await submit(console.api.alice, backend="fake_quantum_sim@played")

    async def found(**wanted: str) -> list[str]:
        return ids_in((await console.alice.get("/jobs", params=wanted)).text)

    assert await found() == [other, waits, done]
    assert await found(state="Completed") == [done]
    assert await found(state="Queued") == [other, waits]
    assert await found(program="estimator") == [waits]
    assert await found(backend=BACKEND) == [waits, done]
    assert await found(tags="thesis") == [waits, done]
    assert await found(tags="thesis,first") == [done]
    answer = await console.alice.get("/jobs", params={"state": "no state"})
    assert (answer.status_code, "That did not work" in answer.text) == (400, True)


async def test_pages_follow_each_other_whatever_arrives_meanwhile(console: Console) -> None:
    jobs = [await submit(console.api.alice) for _ in range(30)]
    first = await console.alice.get("/jobs", params={"program": "sampler"})
    await submit(console.api.alice)
    [older] = re.findall(r'rel="next" href="/ui([^"]+)"', first.text)
    second = await console.alice.get(html.unescape(older))
    assert ids_in(first.text) + ids_in(second.text) == jobs[::-1]
    assert 'rel="next"' not in second.text


async def test_a_queued_job_says_its_place_and_an_ended_one_has_its_result(console: Console) -> None:
    job, second = await submit(console.api.alice), await submit(console.api.alice)
    listed = (await console.alice.get("/jobs")).text
    assert ("place 2" in listed, ">Expected<" in listed) == (True, True)
    waiting = (await console.alice.get(f"/jobs/{second}")).text
    assert re.search(r"Place in the queue</dt><dd>2<", waiting)
    assert "data-live=1" in waiting
    await console.api.end_next()
    ended = (await console.alice.get(f"/jobs/{job}")).text
    assert ("data-live" in ended, "Cancel this job" in ended, "result.json" in ended) == (False, False, True)
    result = await console.alice.get(f"/jobs/{job}/result.json")
    assert (result.text, result.headers["content-disposition"]) == (
        '{"a": 1}',
        f'attachment; filename="{job}-result.json"',
    )
    document = (await console.alice.get(f"/jobs/{job}/job.json")).json()
    assert (document["id"], document["params"]) == (job, {"pubs": []})


async def test_a_running_job_says_how_far_it_is_in_words_and_in_no_more_than_text(console: Console) -> None:
    job = await submit(console.api.alice)
    claim = await console.api.start_next()
    told = Progress(done=3, total=10, seconds=5000.0, fraction=0.399, stage=f"pub 1 of 2, {HOSTILE}")
    await console.api.store.queue.note_progress(claim, told)
    page = (await console.alice.get(f"/jobs/{job}")).text
    [(name, value, description)] = re.findall(
        r'<label for="(\w+)">Done</label> <progress id="\1" max="100" value="(\d+)" aria-describedby="(\w+)"', page
    )
    assert (name, value) == ("progress", "39")
    [text] = re.findall(rf'<span id="{description}">(.*?)</span>', page)
    assert text.startswith("39 %: pub 1 of 2, &lt;script&gt;")
    assert text.endswith("3 of about 10 circuits")
    assert "39 % done, ends about" in (await console.alice.get("/jobs")).text
    assert "<img" not in page


ABOUT = {"metadata": HOSTILE}
ITEM = {
    "counts": [{"name": HOSTILE, "num_bits": 1, "sets": 6, "shots": 5, "distinct": 1, "bars": [["1", 5]], "others": 0}],
    "values": [],
    "more_values": 0,
    "arrays": [{"name": HOSTILE, "dtype": "bool", "shape": [6, 5, 1], "least": None, "largest": None}],
    **ABOUT,
}
LAYER = {"qubits": [3, 4], "generators": 15, "gamma": 1.25, "rates": [["X3 Z4", 0.02, 0.005]], **ABOUT}


async def test_items_and_learned_layers_are_shown_as_charts_and_tables_and_as_text(console: Console) -> None:
    async def page_of(made: dict[str, Any]) -> str:
        job = await submit(console.api.alice)
        await console.api.end_next()
        result = json.dumps({"pubs": [], "layers": [], "more": 1, **ABOUT, **made}).encode()
        console.api.services.pools[NAME] = PlayedPool([Started(), Completed(metrics=Metrics(), result=result)])  # type: ignore[index]
        page = (await console.alice.get(f"/jobs/{job}/outcomes")).text
        assert "<img" not in page
        return page

    items = await page_of({"kind": "item", "pubs": [ITEM, {**ITEM, "counts": [], "arrays": []}]})
    for text in (
        "Item 0: counts of &lt;script&gt;",
        "the first of 6 elements",
        "6 \N{MULTIPLICATION SIGN} 5 \N{MULTIPLICATION SIGN} 1",
        "Item 1 has no outcomes.",
        "1 more item is not shown",
    ):
        assert text in items
    layers = await page_of({"kind": "layer", "layers": [LAYER]})
    for text in (
        "Layer 0: qubits 3, 4",
        "15 generators, the 1 with the largest",
        "1.25 times as large",
        "0.02 ± 0.005",
    ):
        assert text in layers
    assert 'aria-label="Rates: X3 Z4: 0.02 ± 0.005"' in layers


async def test_cancelling_and_deleting(console: Console) -> None:
    job = await submit(console.api.alice)
    csrf = await csrf_in(console.alice, f"/jobs/{job}")
    for _ in range(2):  # a second time, it has ended already
        answer = await console.alice.post(f"/jobs/{job}/cancel", data={"csrf": csrf})
        assert (answer.status_code, answer.headers["location"]) == (303, f"/ui/jobs/{job}")
    assert "Cancelled by its owner." in (await console.alice.get(f"/jobs/{job}")).text
    assert (await console.alice.post(f"/jobs/{job}/delete", data={"csrf": csrf})).headers["location"] == "/ui/jobs"
    assert (await console.alice.get(f"/jobs/{job}")).status_code == 404


@pytest.mark.parametrize("path", ["/jobs", "/all-jobs"])
async def test_tags_and_filters_are_text(console: Console, path: str) -> None:
    await submit(console.api.alice, tags=[HOSTILE])
    page = await console.ada.get(path)
    filtered = await console.ada.get(path, params={"tags": HOSTILE, "backend": HOSTILE, "account": HOSTILE})
    shown = await console.alice.get("/jobs")
    for text in (page.text, filtered.text, shown.text):
        assert "<img" not in text
        assert "alert(1)</script>" not in text
    assert html.escape(HOSTILE).replace("&quot;", "&#34;").replace("&#x27;", "&#39;") in shown.text


async def test_log_lines_and_reasons_are_text(console: Console) -> None:
    job = await submit(console.api.alice)
    await console.api.store.documents.append_log(job, f"{HOSTILE}\n")  # type: ignore[arg-type]
    text = (await console.alice.get(f"/jobs/{job}")).text
    assert "&lt;script&gt;alert(1)" in text
    assert "<img" not in text
    missing = await console.alice.get("/jobs/%3Cimg%20src%3Dx%3E")
    assert (missing.status_code, "<img" in missing.text) == (404, False)


async def test_what_workers_say_of_circuits_and_results_is_text(console: Console) -> None:
    job = await submit(console.api.alice)
    failed = await submit(console.api.alice)
    await console.api.end_next()
    claim = await console.api.start_next()
    outcome = Outcome(state=JobState.FAILED, reason=f"{HOSTILE} reason")
    assert await console.api.store.queue.finish(claim, outcome, None)
    drawn = {"name": f"{HOSTILE} circuit", "operations": [(f"{HOSTILE} gate", 1)], "text": f"{HOSTILE} drawing"}
    sizes = dict.fromkeys(("num_qubits", "used_qubits", "num_clbits", "depth"), 1)
    left_out = {**drawn, "text": "", "left_out": f"{HOSTILE} why"}
    circuits = [{**sizes, "left_out": "", **drawn}, {**sizes, **left_out}]
    bars = [(f"{HOSTILE} bar", 1)]
    counts = {"name": f"{HOSTILE} register", "num_bits": 1, "sets": 1, "shots": 1, "distinct": 1, "others": 0}
    pub = {"counts": [{**counts, "bars": bars}], "values": [(0.5, 0.1)], "more_values": 0}
    views = {
        "circuits": {"circuits": circuits, "more": 0, "options": f"{HOSTILE} options"},
        "outcomes": {"pubs": [{**pub, "metadata": f"{HOSTILE} pub"}], "more": 0, "metadata": f"{HOSTILE} metadata"},
    }
    texts = {"": (await console.alice.get(f"/jobs/{failed}")).text}
    [pool] = console.api.services.pools.values()
    assert isinstance(pool, PlayedPool)
    for name, view in views.items():
        pool.plays = [[Completed(metrics=Metrics(), result=msgspec.json.encode(view))]]
        texts[name] = (await console.alice.get(f"/jobs/{job}/{name}")).text
    said = {"": ["reason"], "circuits": ["circuit", "gate", "drawing", "why", "options"]}
    said["outcomes"] = ["bar", "register", "pub", "metadata"]
    for name, words in said.items():
        assert ("<img" in texts[name], "alert(1)</script>" in texts[name]) == (False, False), name
        for word in words:
            assert f"onerror=alert(2)&gt; {word}" in texts[name], word


async def test_what_no_worker_was_free_to_make_is_asked_for_again(
    console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qiskit_runtime_server.dispatch.views._WAIT_SECONDS", 0.01)
    job = await submit(console.api.alice)
    await console.api.end_next()
    [pool] = console.api.services.pools.values()
    slot = await pool.reserve()
    for view in ("circuits", "outcomes"):
        busy = (await console.alice.get(f"/jobs/{job}/{view}")).text
        assert "All slots of played are taken" in busy
        assert 'id="loaded" data-again=5' in busy
        assert '<noscript><meta http-equiv="refresh" content="5"></noscript>' in busy
    slot.release()
    monkeypatch.undo()
    pool.plays = [[Failed(reason="It is damaged.", code=1002)]]  # type: ignore[attr-defined]
    damaged = (await console.alice.get(f"/jobs/{job}/outcomes")).text
    assert ("It is damaged." in damaged, "data-again" in damaged, "http-equiv" in damaged) == (True, False, False)


async def test_a_long_log_is_cut_and_whole_as_a_file(console: Console) -> None:
    job = await submit(console.api.alice)
    lines = [f"line {number}" for number in range(500)]
    await console.api.store.documents.append_log(job, "\n".join(lines) + "\n")  # type: ignore[arg-type]
    text = (await console.alice.get(f"/jobs/{job}")).text
    assert ("line 499" in text, "line 299\n" in text, "300 are left out" in text) == (True, False, True)
    assert (await console.alice.get(f"/jobs/{job}/log.txt")).text.splitlines() == lines
