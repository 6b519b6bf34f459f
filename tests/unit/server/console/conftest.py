"""The console of an api in this process."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from kit.server.console import Console, console_in_process


@pytest.fixture
async def console(tmp_path: Path) -> AsyncIterator[Console]:
    async with console_in_process(tmp_path) as served:
        yield served
