"""Why a pod has no node: what the scheduler says, or what holds the pod back before the scheduler looks at it. Pure."""

from typing import Final

from qiskit_runtime_operator.resource.model import Manifest, condition_of
from qiskit_runtime_operator.resource.names import KUEUE, QUEUE_LABEL

_GATED: Final = "SchedulingGated"


def is_gated(pod: Manifest) -> bool:
    """Tell whether a scheduling gate holds a pod back."""
    scheduled = condition_of(pod, "PodScheduled")
    return scheduled.get("status") == "False" and scheduled.get("reason") == _GATED


def unscheduled(pod: Manifest) -> str:
    """Return why a pod has no node; empty if it has one, or nothing is known yet.

    The scheduler says nothing of a pod before all of its ResourceClaims have been made. Of a gated pod the API server
    says only that it is gated, so its gates are named. Kueue's gates are called as its group of APIs, see
    https://kueue.sigs.k8s.io/docs/tasks/run/plain_pods.
    """
    scheduled = condition_of(pod, "PodScheduled")
    if not scheduled:
        return ", ".join(f"waits for a ResourceClaim of ResourceClaimTemplate {name}" for name in _without_claim(pod))
    if scheduled.get("status") != "False":
        return ""
    gates = sorted(gate["name"] for gate in pod.get("spec", {}).get("schedulingGates", ()))
    if is_gated(pod) and gates:
        words = [f"held back by the scheduling gate {gate}" for gate in gates if not gate.startswith(f"{KUEUE}/")]
        if len(words) < len(gates):
            queue = pod["metadata"].get("labels", {}).get(QUEUE_LABEL)
            words.insert(0, f"waits for Kueue to admit it to the queue {queue}" if queue else "waits for Kueue")
        return ", ".join(words)
    return str(scheduled.get("message") or scheduled.get("reason", ""))


def _without_claim(pod: Manifest) -> list[str]:
    """Return the names of the templates from which no claim has been made for a pod."""
    made = {status["name"] for status in pod.get("status", {}).get("resourceClaimStatuses", ())}
    claims = pod.get("spec", {}).get("resourceClaims", ())
    templates = {claim["name"]: claim.get("resourceClaimTemplateName") for claim in claims}
    return sorted(template for name, template in templates.items() if template and name not in made)
