"""The console of an api in this process, as browsers that have signed in see it."""

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from kit.server.api_in_process import NAMES, Api, api_in_process


@dataclass(frozen=True, kw_only=True)
class Console:
    """The console and its visitors.

    Attributes:
        api: What it stands on.
        nobody: Has not signed in; the others are those of `api`.
    """

    api: Api
    nobody: httpx.AsyncClient
    ada: httpx.AsyncClient
    alice: httpx.AsyncClient
    bob: httpx.AsyncClient
    tess: httpx.AsyncClient


@asynccontextmanager
async def console_in_process(folder: Path, **changes: Any) -> AsyncIterator[Console]:
    """Serve the accounts of `api_in_process`, with settings that are changed."""
    async with AsyncExitStack() as stack:
        api = await stack.enter_async_context(api_in_process(folder, **changes))

        async def browser(token: str | None) -> httpx.AsyncClient:
            transport = httpx.ASGITransport(api.app)
            made = await stack.enter_async_context(httpx.AsyncClient(transport=transport, base_url="https://api/ui"))
            if token is not None:
                answer = await made.post("/sign-in", data={"token": token})
                assert (answer.status_code, answer.headers["location"]) == (303, "/ui/jobs"), answer.text
            return made

        browsers = {name: await browser(name) for name in NAMES}
        yield Console(api=api, nobody=await browser(None), **browsers)


async def csrf_in(browser: httpx.AsyncClient, path: str) -> str:
    """Return the token of the forms on a page."""
    answer = await browser.get(path)
    assert answer.status_code == 200, answer.text
    return str(re.findall(r'name="csrf" value="([0-9a-f]{64})"', answer.text)[0])
