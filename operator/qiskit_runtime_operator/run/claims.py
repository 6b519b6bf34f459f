"""Which of several operators looks after a RuntimeServer: the one that claimed it first, in its status.

The claim is written before anything else is, against the resource version that was seen, so that one of two gets it.
It names the operator by its Lease, which all replicas and all versions of a release share. An operator that finds the
claim of another adds itself to `otherOperators` and writes nothing else; the condition is for the one that has it.

A claim passes on when the Lease of its operator is gone, or was left alone for long; that of somebody who can be no
operator, because it was written by hand, at once. Who may not read that Lease does not know, and takes nothing.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from qiskit_runtime_operator.cluster.api_server import Cluster
from qiskit_runtime_operator.errors import RefusedError, StaleError
from qiskit_runtime_operator.resource.identity import OperatorIdentity
from qiskit_runtime_operator.resource.kinds import LEASES, SERVERS
from qiskit_runtime_operator.resource.names import CLAIM, KIND, OPERATOR, OTHER_OPERATORS, Key
from qiskit_runtime_operator.watch.inventory import Inventory, Ref

# However many RuntimeServers another operator has claimed, and however often they change.
_ASK_AGAIN: Final = timedelta(seconds=30)


class Claims:
    """The claims of one operator.

    Args:
        cluster: Where they are written.
        inventory: Where they are read.
        identity: Of the operator.
        takeover: For how long the Lease of another one must have been left alone.
        now: The clock.
    """

    def __init__(
        self,
        cluster: Cluster,
        inventory: Inventory,
        identity: OperatorIdentity,
        takeover: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self._cluster = cluster
        self._inventory = inventory
        self._identity = identity
        self._takeover = takeover
        self._ask_again = min(_ASK_AGAIN, takeover)
        self._now = now
        self._answers: dict[str, tuple[datetime, bool]] = {}
        self._impossible: set[str] = set()

    def has(self, key: Key) -> bool:
        """Tell whether a RuntimeServer is this operator's, or may become so."""
        return self._claim(key).get(OPERATOR) in (None, str(self._identity))

    async def hold(self, key: Key, uid: str) -> bool:
        """Claim a RuntimeServer if that may be, and tell whether it is this operator's to look after.

        Raises:
            ClusterError: If it has to be asked again.
        """
        claim, me = self._claim(key), str(self._identity)
        holder, others = claim.get(OPERATOR), claim.get(OTHER_OPERATORS, [])
        if holder not in (None, me) and not await self._is_gone(holder):
            if me not in others:
                await self._write(key, uid, holder, {*others, me})
            return False
        here = {other for other in others if other != me and not await self._is_gone(other)}
        if uid in self._impossible or (holder == me and here == {*others}):
            return True
        await self._write(key, uid, me, here)
        if self._claim(key).get(OPERATOR) != me:
            # The CRD is older than the operator.
            self._impossible.add(uid)
        return True

    def _claim(self, key: Key) -> Mapping[str, Any]:
        body = self._inventory.server(key)
        claim: Mapping[str, Any] = body["claim"] if body else {}
        return claim

    async def _write(self, key: Key, uid: str, holder: str, others: set[str]) -> None:
        known = self._inventory.find(Ref(KIND, *key))
        if known is None or known.uid != uid:
            raise StaleError(f"RuntimeServer {key.name} has been replaced by another one of this name")
        rest = {name: value for name, value in known.body["status"].items() if name not in CLAIM}
        claim = {OPERATOR: holder, **({OTHER_OPERATORS: sorted(others)} if others else {})}
        written = await self._cluster.write_claim(*key, uid, {**rest, **claim}, known.version)
        if written is None:
            raise StaleError(f"RuntimeServer {key.name} has changed")
        self._inventory.see(SERVERS, None, written)

    async def _is_gone(self, operator: str) -> bool:
        at, gone = self._answers.get(operator, (None, False))
        if at is None or self._now() - at > self._ask_again:
            identity = OperatorIdentity.parse(operator)
            gone = identity is None or await self._left_alone(identity)
            self._answers[operator] = (self._now(), gone)
        return gone

    async def _left_alone(self, operator: OperatorIdentity) -> bool:
        try:
            lease = await self._cluster.get(LEASES, operator.namespace, operator.lease)
        except RefusedError:
            return False
        renewed = lease.get("spec", {}).get("renewTime") if lease else None
        return renewed is None or self._now().astimezone(UTC) - datetime.fromisoformat(renewed) > self._takeover
