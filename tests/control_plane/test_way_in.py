"""What the status says of the way in from outside."""

from collections.abc import Iterator
from contextlib import contextmanager

from kit.kubernetes.client import KubernetesClient, Manifest, eventually
from kit.kubernetes.lab import Lab
from kit.kubernetes.operator_process import StartOperator

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


@contextmanager
def ingress_class(kubernetes: KubernetesClient, name: str) -> Iterator[None]:
    manifest: Manifest = {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "IngressClass",
        "metadata": {"name": name},
        "spec": {"controller": "example.org/controller"},
    }
    kubernetes.create(manifest)
    try:
        yield
    finally:
        kubernetes.delete("IngressClass", name)


def test_a_class_that_does_not_exist_is_told_with_those_that_do(
    kubernetes: KubernetesClient, start_operator: StartOperator
) -> None:
    operator = start_operator(QRO_NAMESPACES="", QRO_LEASE_NAME="of-all")
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    with ingress_class(kubernetes, "nginx"):
        lab.apply(ingress={"host": "lab.example.org", "className": "ngnix"}, **PUBLIC)
        told = eventually(lambda: (c := lab.condition("Reachable")) and c["reason"] == "IngressClassMissing" and c)
        assert (told["status"], told["message"]) == ("False", "There is no IngressClass ngnix: this cluster has nginx.")
        lab.apply(ingress={"host": "lab.example.org", "className": "nginx"}, **PUBLIC)
        eventually(lambda: lab.condition("Reachable")["reason"] == "NoAddress")
        # A name that was the default's when the Ingress was made counts, too; here there is none.
        lab.apply(**PUBLIC)
        eventually(lambda: not lab.find("Ingress", "api"))
        lab.apply(ingress={"host": "lab.example.org"}, **PUBLIC)
        none = eventually(lambda: (c := lab.condition("Reachable"))["reason"] == "IngressClassMissing" and c)
        assert none["message"] == "The Ingress has no class, and there was no default: this cluster has nginx."
