"""What the status says of the way in from outside."""

from kit.kubernetes.client import eventually
from kit.kubernetes.lab import Lab

PUBLIC = {"auth": {"anonymous": True}}


def test_an_ingress_is_reachable_once_its_controller_says_where_it_is(lab: Lab) -> None:
    lab.apply(**PUBLIC)
    lab.settled()
    within = lab.condition("Reachable")
    assert (within["status"], within["reason"]) == ("True", "InClusterOnly")
    lab.apply(ingress={"host": "lab.example.org", "className": "nowhere", "scheme": "https"}, **PUBLIC)
    # It terminates TLS by a certificate of its own.
    assert lab.settled()["url"] == "https://lab.example.org"
    waiting = lab.condition("Reachable")
    assert (waiting["status"], waiting["reason"]) == ("Unknown", "NoAddress")
    assert "class nowhere" in waiting["message"]
    address = {"status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.7"}]}}}
    lab.kubernetes.merge("Ingress", f"{lab.name}-api", address, "status")
    routed = eventually(lambda: (c := lab.condition("Reachable"))["status"] == "True" and c)
    assert routed["reason"] == "Routed"
    assert "192.0.2.7" in routed["message"]
    eventually(lambda: [reason for reason, _ in lab.events()].count("Routed") == 1)
    assert "InClusterOnly" not in {reason for reason, _ in lab.events()}
