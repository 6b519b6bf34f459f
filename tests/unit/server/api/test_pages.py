"""The pages for people: what they say, to whom, and that browsers load nothing for them."""

from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from kit.server.api_in_process import Api, submit
from kit.server.played_pool import NAME
from qiskit_runtime_server import Settings, create_app


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_a_page_runs_no_script_and_loads_nothing(api: Api, path: str) -> None:
    answer = await api.nobody.get(path)
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    policy = answer.headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    assert not any(word in answer.text for word in ("<script", "<link", "<img", "src=", "@import", "url("))


async def test_the_first_page_says_how_to_connect_and_which_executors_there_are(api: Api) -> None:
    page = (await api.nobody.get("/", headers={"X-Forwarded-Proto": "https"})).text
    assert api.app.version in page
    assert "qiskit-runtime-server connect https://api" in page
    assert f"<tr><td>{NAME}</td><td>1</td><td>1</td>" in page


async def test_the_queue_is_shown_only_where_anybody_may_ask_for_it(api: Api) -> None:
    await submit(api.alice)
    settings = api.services.settings
    api.app.state.services = replace(api.services, settings=settings.model_copy(update={"tokens": Path("tokens")}))
    page = (await api.nobody.get("/")).text
    assert "Queued" not in page
    assert f"<td>{NAME}</td><td>1</td><td>1</td></tr>" in page
    api.app.state.services = replace(api.services, settings=settings.model_copy(update={"tokens": None}))
    page = (await api.nobody.get("/")).text
    assert f"<td>{NAME}</td><td>1</td><td>1</td><td>1</td><td>0</td><td>online</td>" in page


async def test_a_host_that_is_a_script_is_text(api: Api) -> None:
    page = (await api.nobody.get("/", headers={"Host": "<script>alert(1)</script>"})).text
    assert "<script" not in page


async def test_every_operation_is_on_the_page_of_the_api(api: Api) -> None:
    page = (await api.nobody.get("/docs")).text
    for path, methods in (await api.nobody.get("/openapi.json")).json()["paths"].items():
        assert all(f"<code>{method.upper()} {path}</code>" in page for method in methods)


async def test_the_description_of_the_api_can_be_turned_off(tmp_path: Path) -> None:
    app = create_app(settings=Settings(_env_file=None, api_docs=False, data_dir=tmp_path))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as client:
        for path in ("/docs", "/openapi.json", "/redoc"):
            assert (await client.get(path)).status_code == 404
