"""The claim on the volume with the embedded database: kept when its RuntimeServer goes, and taken up again."""

from qiskit_runtime_operator.render.metadata import instance_selector, labels
from qiskit_runtime_operator.resource.model import Manifest, Retention, RuntimeServer
from qiskit_runtime_operator.resource.names import DATA_OF_LABEL, data_name
from qiskit_runtime_operator.resource.quantities import amount


def data_claim(server: RuntimeServer, live: Manifest | None) -> Manifest | None:
    """Return the claim to apply, or None if the database is elsewhere.

    Args:
        server: Whose data it is.
        live: The claim of that name as it is now, if it is one of `server`'s. Of its specification only the size can
            change. It can grow; and as long as the volume has not grown to what was asked for, less can be asked for.
    """
    sqlite = server.spec.database.sqlite
    if sqlite is None:
        return None
    storage_class = {"storageClassName": sqlite.storage_class_name} if sqlite.storage_class_name else {}
    new = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": sqlite.storage}},
        **storage_class,
    }
    owner = {"ownerReferences": [server.owner]} if sqlite.retention is Retention.DELETE else {}
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {
            "name": data_name(server.name),
            "namespace": server.namespace,
            "labels": {**labels(instance_selector(server)), DATA_OF_LABEL: server.name},
            **owner,
        },
        "spec": new if live is None else _grown(new, live),
    }


def is_data_of(server: RuntimeServer, claim: Manifest) -> bool:
    """Tell whether a claim holds the data of a RuntimeServer of this name."""
    return bool(claim["metadata"].get("labels", {}).get(DATA_OF_LABEL) == server.name)


def _grown(new: Manifest, live: Manifest) -> Manifest:
    spec = live["spec"]
    kept = {key: spec[key] for key in ("accessModes", "storageClassName") if key in spec}
    asked, wanted = (claim["resources"]["requests"]["storage"] for claim in (spec, new))
    # Of a volume that has not grown to what was asked for, less can be asked for, but for more than it has: see
    # https://kubernetes.io/docs/concepts/storage/persistent-volumes/#recovering-from-failure-when-expanding-volumes
    there = live.get("status", {}).get("capacity", {}).get("storage")
    smaller = there is not None and amount(there) < amount(wanted)
    return {**kept, "resources": {"requests": {"storage": wanted if smaller else max(asked, wanted, key=amount)}}}
