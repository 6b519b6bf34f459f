"""Whose turn it is to be rolled out, by what statuses say."""

from datetime import UTC, datetime, timedelta

import pytest

from kit.kubernetes.runtime_servers import body, render_context, runtime_server
from qiskit_runtime_operator.render import render
from qiskit_runtime_operator.resource.kinds import KINDS, SERVERS, ResourceKind
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer
from qiskit_runtime_operator.run.turns import Turns
from qiskit_runtime_operator.watch.inventory import Inventory

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("last", ["2026-05-01T11:59:00Z", "2026-05-01t11:59:00z", "2026-05-01T11:59:00.5+00:00"])
def test_the_last_roll_out_is_counted_however_its_time_is_spelled(last: str) -> None:
    """The API server takes times in any spelling of RFC 3339, and gives them back as they were written."""
    inventory, server, wanted = rolled_out(last)
    turns = Turns(inventory, interval=timedelta(minutes=5))
    assert turns.hold_back(server, wanted, NOW)
    assert list(turns.next(NOW)) == []
    assert list(turns.next(NOW + timedelta(minutes=5))) == [server.key]


@pytest.mark.parametrize(
    "last", ["2026-05-01T11:59:00x5Z", "2026-05-01T11:59:00+99:99", "0000-01-01T00:00:00Z", "0001-01-01T00:00:00+14:00"]
)
def test_what_is_no_time_and_the_api_server_takes_for_one_holds_nobody_back(last: str) -> None:
    inventory, server, wanted = rolled_out(last)
    turns = Turns(inventory, interval=timedelta(minutes=5))
    assert not turns.hold_back(server, wanted, NOW)


def rolled_out(last: str) -> tuple[Inventory, RuntimeServer, list[tuple[ResourceKind, Manifest]]]:
    """Return a RuntimeServer that was last rolled out at a time, and what an upgrade would roll."""
    inventory, server = Inventory(), runtime_server()
    shown = body({})
    shown["metadata"]["resourceVersion"] = "1"
    shown["status"] = {"lastRollout": last, "observedGeneration": server.generation}
    inventory.see(SERVERS, None, shown)
    wanted = [(KINDS[item["kind"]], item) for item in render(server, render_context()) if item["kind"] == "Deployment"]
    for kind, manifest in wanted:
        older = {**manifest["metadata"], "annotations": {}, "uid": manifest["metadata"]["name"], "resourceVersion": "2"}
        inventory.see(kind, None, {**manifest, "metadata": older})
    return inventory, server, wanted
