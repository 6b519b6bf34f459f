"""Words about executors that make no sense; `tests/processes/cluster/test_service.py` gives some to a command."""

import re

import pytest

from qiskit_runtime_server import Settings
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.roles.api import demand_services_only
from qiskit_runtime_server.roles.pools import pools_of


@pytest.mark.parametrize("executors", [(), ("aer=2",)])
def test_an_api_is_given_services_only(executors: tuple[str, ...]) -> None:
    settings = Settings(executors=executors) if executors else Settings()
    with pytest.raises(StartupError, match=re.escape(f"--executors {settings.own_executors[0]}=http://")):
        demand_services_only(settings)


@pytest.mark.parametrize(
    ("executors", "words"),
    [
        (("aer=ftp://x:1",), "NAME=http://"),
        (("aer=http://x:seven",), "NAME=http://"),
        (("aer=1", "aer=http://127.0.0.1:1"), "'aer'"),
    ],
)
async def test_executors_that_make_no_sense_are_quoted(executors: tuple[str, ...], words: str) -> None:
    with pytest.raises(StartupError, match=re.escape(words)):
        pools_of(Settings(executors=executors), None, ByteBudget(1))
