"""What the status says of an object that is not as the RuntimeServer asks for, by why it is not."""

from collections.abc import Iterable

from qiskit_runtime_operator.errors import ConflictError, RefusedError, StaleError
from qiskit_runtime_operator.resource.model import Manifest
from qiskit_runtime_operator.status.conditions import Reason, shortened
from qiskit_runtime_operator.status.status import NOT_WRITTEN, READ_BY_PODS, Refusal


def write_refused(kind: str, name: str, why: str) -> Refusal:
    """Return the words of the API server."""
    return Refusal(kind=kind, name=name, reason=Reason.WRITE_REFUSED, message=why)


def watch_refused(kind: str, why: str) -> Refusal:
    """Return that objects of a kind cannot be watched."""
    message = f"cannot be watched, and what happens to them goes unnoticed: {why}"
    return Refusal(kind=kind, name="objects", reason=Reason.WATCH_REFUSED, message=message)


def name_taken(kind: str, name: str) -> Refusal:
    """Return that the name belongs to somebody else."""
    message = "it is not this RuntimeServer's: delete it, or choose another name"
    return Refusal(kind=kind, name=name, reason=Reason.NAME_TAKEN, message=message)


def contested(kind: str, name: str, who: str) -> Refusal:
    """Return who changes an object again and again."""
    message = f"{who} changes or deletes it again and again; it is set back at most once a minute"
    return Refusal(kind=kind, name=name, reason=Reason.CONTESTED, message=message)


def lacks_what_it_reads(manifest: Manifest, refusals: Iterable[Refusal]) -> bool:
    """Tell whether a Deployment would roll pods to what they read at their start, and that could not be written.

    They would read it as it was, or as it is somebody else's, and nothing would roll them once it is written.
    """
    if manifest["kind"] != "Deployment" or manifest["spec"].get("replicas") == 0:
        return False
    name = manifest["metadata"]["name"]
    return any(
        refusal.kind in READ_BY_PODS and refusal.name == name and refusal.reason in NOT_WRITTEN for refusal in refusals
    )


def failed(error: Exception) -> str:
    """Return what ended a pass, in words that may be shown: those of the API server, and of all else only the kind."""
    told = isinstance(error, (ConflictError, StaleError, RefusedError))
    why = f": {error}" if told else ", of which its log says more"
    return shortened(f"a pass of the operator ended with {type(error).__name__}{why}")
