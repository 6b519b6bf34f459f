"""What the watches have told of the cluster."""

from typing import Any

from kit.kubernetes.runtime_servers import UID, body
from qiskit_runtime_operator.resource.kinds import KINDS, PODS, SERVERS
from qiskit_runtime_operator.resource.names import Key
from qiskit_runtime_operator.watch.inventory import Inventory, Ref

DEPLOYMENTS = KINDS["Deployment"]
LAB = Key("research", "lab")
REF = Ref("Deployment", "research", "lab-api")


def server(version: int = 1, **changes: Any) -> dict[str, Any]:
    found = body()
    return {**found, "metadata": {**found["metadata"], "resourceVersion": str(version)}, **changes}


def deployment(version: int = 2, *, uid: str = "d", owned: bool = True, **changes: Any) -> dict[str, Any]:
    owner = {"kind": "RuntimeServer", "name": "lab", "uid": UID, "controller": True}
    metadata = {"name": "lab-api", "namespace": "research", "uid": uid, "resourceVersion": str(version)}
    owners = {"ownerReferences": [owner]} if owned else {}
    return {"metadata": {**metadata, **owners}, "spec": {"replicas": 1}, **changes}


def test_what_is_new_or_gone_asks_for_a_pass_and_repetitions_do_not() -> None:
    inventory = Inventory()
    assert inventory.see(SERVERS, "ADDED", server()) == LAB
    assert inventory.see(DEPLOYMENTS, None, deployment()) == LAB
    assert inventory.see(DEPLOYMENTS, "MODIFIED", deployment(3)) is None
    assert inventory.see(DEPLOYMENTS, "DELETED", deployment(4)) == LAB
    assert inventory.find(REF) is None


def test_a_status_that_the_operator_wrote_asks_for_nothing_but_that_of_a_deployment_does() -> None:
    inventory = Inventory()
    inventory.see(SERVERS, None, server())
    inventory.see(DEPLOYMENTS, None, deployment())
    assert inventory.see(SERVERS, "MODIFIED", server(2, status={"url": "x"})) is None
    assert inventory.see(DEPLOYMENTS, "MODIFIED", deployment(3, status={"readyReplicas": 1})) == LAB
    found = inventory.server(LAB)
    assert found is not None
    assert found["status"] == {"url": "x"}


def test_news_that_come_late_are_not_believed() -> None:
    inventory = Inventory()
    inventory.see(DEPLOYMENTS, None, deployment(5, uid="new"))
    assert inventory.see(DEPLOYMENTS, "DELETED", deployment(4, uid="old")) is None
    known = inventory.find(REF)
    assert known is not None
    assert known.uid == "new"


def test_an_object_that_loses_its_owner_still_asks_for_a_pass_of_the_one_it_had() -> None:
    inventory = Inventory()
    inventory.see(DEPLOYMENTS, None, deployment())
    assert inventory.see(DEPLOYMENTS, "MODIFIED", deployment(3, owned=False)) == LAB
    assert [ref for ref, _ in inventory.parts(LAB)] == [REF]


def test_what_a_list_does_not_have_is_gone_in_its_namespace_only() -> None:
    inventory = Inventory()
    inventory.see(DEPLOYMENTS, None, deployment())
    inventory.begin_listing()
    assert inventory.see_all(DEPLOYMENTS, "elsewhere", [], 9) == []
    assert inventory.find(REF) is not None
    assert inventory.see_all(DEPLOYMENTS, "research", [], 9) == [LAB]
    assert inventory.find(REF) is None
    assert not list(inventory.parts(LAB))


def test_what_is_deleted_while_a_list_is_read_does_not_come_back_with_it() -> None:
    inventory = Inventory()
    inventory.see(DEPLOYMENTS, None, deployment())
    inventory.begin_listing()
    inventory.see(DEPLOYMENTS, "DELETED", deployment(3))
    inventory.see_all(DEPLOYMENTS, None, [deployment()], 2)
    assert inventory.find(REF) is None


def test_what_is_made_while_a_list_is_read_is_not_gone_because_it_is_not_in_it() -> None:
    inventory = Inventory()
    inventory.begin_listing()
    inventory.see(DEPLOYMENTS, "ADDED", deployment(3))
    assert inventory.see_all(DEPLOYMENTS, None, [], 2) == []
    assert inventory.find(REF) is not None


def test_pods_are_of_the_server_that_their_labels_name() -> None:
    metadata = {"name": "p", "namespace": "research", "uid": "p", "resourceVersion": "1"}
    labels = {"labels": {"app.kubernetes.io/instance": "lab"}}
    inventory = Inventory()
    assert inventory.see(PODS, "ADDED", {"metadata": {**metadata, **labels}, "spec": {}}) == LAB
