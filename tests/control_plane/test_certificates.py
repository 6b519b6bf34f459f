"""Certificates of api and executors on a real API server: made, kept, renewed, and handed to pods."""

from base64 import b64decode, b64encode
from typing import Any

from kit.kubernetes.client import KubernetesClient, Manifest, eventually, unchanged
from kit.kubernetes.lab import AER, MADE, Lab
from kit.kubernetes.operator_process import StartOperator

MUTUAL: dict[str, Any] = {"tls": {"executors": {}}}
NO_KEY = b64encode(b"no key").decode()
NAMES = ("authority", "api-certificate", "executor-certificate")


def secrets(lab: Lab) -> dict[str, Manifest]:
    found = {name: lab.find("Secret", name) for name in NAMES}
    return {name: secret for name, secret in found.items() if secret}


def data(lab: Lab) -> dict[str, dict[str, str]]:
    return {name: secret["data"] for name, secret in secrets(lab).items()}


def test_certificates_are_made_owned_and_mounted_and_go_with_their_owner(lab: Lab) -> None:
    lab.apply(**MUTUAL)
    lab.settled()
    made = secrets(lab)
    assert made.keys() == {*NAMES}
    assert {secret["type"] for secret in made.values()} == {"kubernetes.io/tls"}
    assert lab.made() == {**MADE, "Secret": {"keys", *NAMES}}
    for part, name in (("api", "api-certificate"), ("executor-aer", "executor-certificate")):
        pod = lab.part("Deployment", part)["spec"]["template"]["spec"]
        mounted = {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
        assert mounted == {f"{lab.name}-{name}"}
        assert b64decode(made[name]["data"]["ca.crt"]) == b64decode(made["authority"]["data"]["tls.crt"])
    assert lab.condition("Degraded")["reason"] != "WriteRefused"
    lab.kubernetes.delete("RuntimeServer", lab.name)
    eventually(lambda: not secrets(lab), seconds=150)


def test_another_executor_gets_into_the_certificate_and_the_authority_stays(lab: Lab) -> None:
    lab.apply(**MUTUAL)
    lab.settled()
    before = data(lab)
    lab.apply(executors=[AER, {"name": "second", "type": "own"}], **MUTUAL)
    lab.settled()
    after = eventually(lambda: (found := data(lab)) != before and found)
    assert {name for name in NAMES if before[name] != after[name]} == {"executor-certificate"}
    assert unchanged(lambda: data(lab), seconds=2) == after


def test_what_somebody_deletes_or_damages_is_mended_by_the_resync(
    kubernetes: KubernetesClient, start_operator: StartOperator
) -> None:
    operator = start_operator(QRO_RESYNC="3")
    operator.wait_until_leading()
    lab = Lab(kubernetes=kubernetes, operator=operator)
    lab.apply(**MUTUAL)
    lab.settled()
    before = data(lab)
    lab.delete("Secret", "api-certificate")
    lab.merge("Secret", "executor-certificate", {"data": {"tls.key": NO_KEY}})
    after = eventually(
        lambda: len(found := data(lab)) == 3 and found["executor-certificate"]["tls.key"] != NO_KEY and found, 20
    )
    assert after["authority"] == before["authority"]
    assert after["api-certificate"]["ca.crt"] == before["api-certificate"]["ca.crt"]


def test_a_secret_of_somebody_else_is_left_alone_and_named(lab: Lab) -> None:
    mine = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": f"{lab.name}-authority"}, "data": {}}
    lab.kubernetes.apply(mine)
    lab.apply(**MUTUAL)
    lab.settled()
    degraded = lab.condition("Degraded")
    assert (degraded["status"], degraded["reason"]) == ("True", "NameTaken")
    assert f"Secret {lab.name}-authority" in degraded["message"]
    assert set(secrets(lab)) == {"authority"}
    lab.delete("Secret", "authority")
    eventually(lambda: set(secrets(lab)) == {*NAMES})
