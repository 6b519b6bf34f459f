"""Somebody else who sets the operator's fields again and again."""

import time

from kit.kubernetes.client import Manifest, eventually
from kit.kubernetes.lab import Lab

_CONTEST_SECONDS = 12


def contend(lab: Lab, patch: Manifest, seconds: float) -> int:
    """Change the api's Service as soon as it is set back, for a while, as another controller does; return how often."""
    times, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        ours = lab.part("Service", "api")["spec"]["selector"]["app.kubernetes.io/instance"] == lab.name
        if ours:
            lab.merge("Service", "api", patch, manager="argocd-controller")
            times += 1
        time.sleep(0.02)
    return times


def test_a_contest_is_rare_named_and_ends(own_lab: Lab) -> None:
    own_lab.apply()
    own_lab.settled()
    eventually(own_lab.is_at_rest)
    before = own_lab.operator.metric("qro_objects_written_total", kind="Service", how="apply")
    patch = {"spec": {"selector": {"app.kubernetes.io/instance": "other"}}}
    contend(own_lab, patch, _CONTEST_SECONDS)
    degraded = eventually(lambda: (c := own_lab.condition("Degraded")) and c["reason"] == "Contested" and c)
    assert degraded["status"] == "True"
    assert "argocd-controller" in degraded["message"]
    assert "Service lab-api" in degraded["message"]
    assert own_lab.operator.metric("qro_objects_written_total", kind="Service", how="apply") - before <= 12
    reasons = [reason for reason, _ in own_lab.events()]
    assert reasons.count("TakenBack") == 1
    assert reasons.count("Contested") == 1
    # Other objects are repaired as ever.
    own_lab.delete("ConfigMap", "api")
    eventually(lambda: own_lab.find("ConfigMap", "api"), seconds=10)
