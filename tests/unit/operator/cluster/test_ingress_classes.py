"""IngressClasses are read seldom, and not knowing them is no error."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import cast

from qiskit_runtime_operator.cluster.api_server import Cluster, Listing
from qiskit_runtime_operator.cluster.ingress_classes import IngressClasses
from qiskit_runtime_operator.errors import ClusterError, RefusedError


class _Listed:
    """Gives these answers, one after the other, as the real API server does not on demand."""

    def __init__(self, answers: Sequence[Exception | str]) -> None:
        self.answers = list(answers)

    async def list(self, *_: object) -> Listing:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Listing(objects=[{"metadata": {"name": answer}}], version=1)


async def test_who_may_not_list_them_does_not_know_and_an_answer_holds_for_a_while() -> None:
    now = datetime(2026, 5, 1, 12, tzinfo=UTC)
    listed = _Listed([RefusedError("no right"), "nginx", ClusterError("busy"), RefusedError("no right any more")])
    classes = IngressClasses(cast("Cluster", listed), lambda: now)
    found = []
    for _ in range(4):
        found.append(await classes.names())
        assert await classes.names() == found[-1]
        now += timedelta(minutes=1)
    assert found == [None, {"nginx"}, {"nginx"}, None]
    assert listed.answers == []
