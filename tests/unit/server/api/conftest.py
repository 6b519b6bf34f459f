"""An api in this process, for every test of a route."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.server.api_in_process import Api, api_in_process


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Api]:
    async with api_in_process(tmp_path) as served:
        yield served
