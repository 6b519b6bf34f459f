"""The claim on the data: new, found, grown, let go."""

import pytest

from kit.kubernetes.runtime_servers import UID, runtime_server
from qiskit_runtime_operator.render.volume_claim import data_claim, is_data_of
from qiskit_runtime_operator.resource.model import Manifest


def claim_of(sqlite: Manifest, live: Manifest | None = None) -> Manifest:
    claim = data_claim(runtime_server({"database": {"sqlite": sqlite}}), live)
    assert claim is not None
    return claim


def test_a_new_claim_is_as_asked_for_and_nobodys() -> None:
    claim = claim_of({"storage": "2048Mi", "storageClassName": "fast"})
    assert claim["spec"]["resources"] == {"requests": {"storage": "2Gi"}}
    assert claim["spec"]["storageClassName"] == "fast"
    assert "ownerReferences" not in claim["metadata"]
    assert is_data_of(runtime_server(), claim)
    assert not is_data_of(runtime_server(name="other"), claim)


@pytest.mark.parametrize(
    ("there", "capacity", "asked", "size"),
    [
        ("5Gi", "5Gi", "8Gi", "8Gi"),
        ("8Gi", "8Gi", "5Gi", "8Gi"),
        ("1G", "1G", "1Gi", "1Gi"),
        # Not bound yet.
        ("8Gi", None, "5Gi", "8Gi"),
        # Asked to grow, which it has not done yet, or cannot.
        ("8Gi", "5Gi", "6Gi", "6Gi"),
        # Kubernetes does not let it go back to what it has.
        ("8Gi", "5Gi", "5Gi", "8Gi"),
        ("8Gi", "5Gi", "4Gi", "8Gi"),
        # The provisioner gave more than was asked for.
        ("5Gi", "10Gi", "5Gi", "5Gi"),
    ],
)
def test_a_claim_that_is_there_keeps_its_class_and_only_grows(
    there: str, capacity: str | None, asked: str, size: str
) -> None:
    live = claim_of({"storage": there, "storageClassName": "slow"})
    live["status"] = {"capacity": {} if capacity is None else {"storage": capacity}}
    live["spec"] |= {"volumeName": "pv-1", "volumeMode": "Filesystem"}
    claim = claim_of({"storage": asked, "storageClassName": "fast"}, live)
    assert claim["spec"] == {
        "accessModes": ["ReadWriteOnce"],
        "storageClassName": "slow",
        "resources": {"requests": {"storage": size}},
    }


def test_a_claim_has_an_owner_only_if_it_is_to_go_with_it() -> None:
    (owner,) = claim_of({"retention": "Delete"})["metadata"]["ownerReferences"]
    assert owner["uid"] == UID


def test_there_is_none_for_a_database_elsewhere() -> None:
    server = runtime_server({"database": {"postgresql": {"urlSecretRef": {"name": "database"}}}})
    assert data_claim(server, None) is None
