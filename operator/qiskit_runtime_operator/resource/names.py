"""What things are called: the resource itself, labels, and the objects of a RuntimeServer."""

from typing import Final, NamedTuple

GROUP: Final = "runtimeserver.dev"
# Also served, and meaning the same, is v1beta1: docs/decisions/0027.
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "RuntimeServer"
PLURAL: Final = "runtimeservers"

# What the field managers of all operators begin with, and the value of the label below.
MANAGER: Final = "qiskit-runtime-operator"

APP_LABEL: Final = "app.kubernetes.io/name"
INSTANCE_LABEL: Final = "app.kubernetes.io/instance"
COMPONENT_LABEL: Final = "app.kubernetes.io/component"
MANAGED_BY_LABEL: Final = "app.kubernetes.io/managed-by"
EXECUTOR_LABEL: Final = f"{GROUP}/executor"
DATA_OF_LABEL: Final = f"{GROUP}/data-of"
# Finds what the operator makes, pods included.
OWNED_SELECTOR: Final = f"{MANAGED_BY_LABEL}={MANAGER}"

CONFIG_CHECKSUM: Final = f"{GROUP}/config-checksum"
KEYS_CHECKSUM: Final = f"{GROUP}/keys-checksum"
# On a Deployment: of the pod template that was rendered, but for the keys.
CLAIMS_CHECKSUM: Final = f"{GROUP}/claims-checksum"
TEMPLATE_CHECKSUM: Final = f"{GROUP}/template-checksum"
# On a Deployment: the count that the RuntimeServer asked for when it was last applied.
REPLICAS_ASKED: Final = f"{GROUP}/replicas"

# On a pod: those with lower numbers are removed first, says Kubernetes.
DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"

# On a pod, and on the Deployment that makes it: the LocalQueue whose quota it needs. Gates of Kueue's have its prefix.
KUEUE: Final = "kueue.x-k8s.io"
QUEUE_LABEL: Final = f"{KUEUE}/queue-name"

# On a RuntimeServer, with this value: nothing is written for it but its status.
RECONCILE: Final = f"{GROUP}/reconcile"
PAUSED: Final = "paused"
# On a RuntimeServer: another value than before asks for other keys. On the Secret with them: the last one that did.
ROTATE_KEYS: Final = f"{GROUP}/rotate-keys"
# On that Secret: whether the second keys are those to come, and since when they are the former ones.
KEYS_ANNOUNCED: Final = f"{GROUP}/keys-announced"
KEYS_CHANGED_AT: Final = f"{GROUP}/keys-changed-at"

# In the status of a RuntimeServer: which operator has claimed it, and which others would look after it.
OPERATOR: Final = "operator"
OTHER_OPERATORS: Final = "otherOperators"
CLAIM: Final = (OPERATOR, OTHER_OPERATORS)

# In the status of a RuntimeServer: when a roll-out began that had to wait for its turn.
LAST_ROLLOUT: Final = "lastRollout"

# In the status of a RuntimeServer: the UID of the claim with its data.
VOLUME_CLAIM: Final = "volumeClaim"
# And how large its volume is.
VOLUME_CAPACITY: Final = "volumeCapacity"

# In the Secret of a RuntimeServer's keys.
SIGNING_KEY: Final = "signing-key"
EXECUTOR_KEY: Final = "executor-key"
LOAD_KEY: Final = "load-key"
KEYS: Final = (SIGNING_KEY, EXECUTOR_KEY, LOAD_KEY)

# The container of ours in each pod.
SERVER: Final = "server"

API: Final = "api"
EXECUTOR: Final = "executor"

# Services, and labels that hold these names, can be no longer.
MAX_NAME: Final = 63


class Key(NamedTuple):
    """Which RuntimeServer."""

    namespace: str
    name: str


def api_name(server: str) -> str:
    """Return the name of everything of the api's."""
    return f"{server}-api"


def executor_name(server: str, executor: str) -> str:
    """Return the name of everything of one executor's."""
    return f"{executors_name(server)}-{executor}"


def executors_name(server: str) -> str:
    """Return the name of what all executors share."""
    return f"{server}-executor"


def keys_name(server: str) -> str:
    """Return the name of the Secret that is made once."""
    return f"{server}-keys"


def authority_name(server: str) -> str:
    """Return the name of the Secret with the authority that signs the certificates of a RuntimeServer."""
    return f"{server}-authority"


def api_certificate_name(server: str) -> str:
    """Return the name of the Secret with the certificate that the api shows executors."""
    return f"{api_name(server)}-certificate"


def executors_certificate_name(server: str) -> str:
    """Return the name of the Secret with the certificate of all executors."""
    return f"{executors_name(server)}-certificate"


def also(key: str) -> str:
    """Return where, in the Secret of the keys, the second one of a kind is."""
    return f"{key}-also"


def data_name(server: str) -> str:
    """Return the name of the claim on the volume with the embedded database."""
    return f"{server}-data"
