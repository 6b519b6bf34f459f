"""Certificates of api and executors: whom they let in, how long they last, and what pods are told of them."""

import ssl
from base64 import b64decode, b64encode
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from kit.kubernetes.runtime_servers import AER, render_context, runtime_server, server_container
from qiskit_runtime_operator.render import render
from qiskit_runtime_operator.render.credentials.certificates import (
    Wanted,
    are_signed_here,
    authority_secret,
    certificate_secret,
    certificates,
)
from qiskit_runtime_operator.resource.kinds import OptionalApi
from qiskit_runtime_operator.resource.model import Manifest, RuntimeServer

NOW = datetime.now(UTC)
MUTUAL: dict[str, Any] = {"tls": {"executors": {}}}
ISSUED: dict[str, Any] = {"tls": {"executors": {"issuerRef": {"name": "lab-ca", "kind": "ClusterIssuer"}}}}


def authority_of(server: RuntimeServer, now: datetime = NOW) -> Manifest:
    made = authority_secret(server, None, now)
    assert made
    return made


def signed(server: RuntimeServer, wanted: Wanted, authority: Manifest, now: datetime = NOW) -> Manifest:
    made = certificate_secret(server, wanted, authority, None, now=now)
    assert made
    return made


def context_of(secret: Manifest, folder: Path, *, server: bool) -> ssl.SSLContext:
    """Return what a pod that mounts the Secret makes of it."""
    here = folder / secret["metadata"]["name"]
    here.mkdir(exist_ok=True)
    for name, value in secret["data"].items():
        (here / name).write_bytes(b64decode(value))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH if server else ssl.Purpose.SERVER_AUTH)
    context.load_cert_chain(here / "tls.crt", here / "tls.key")
    context.load_verify_locations(here / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    # What newer releases of Python ask for.
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    return context


def shake_hands(client: ssl.SSLContext, server: ssl.SSLContext, name: str) -> None:
    """Have the two sides of a connection to `name` agree; raises what either says against it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    asking = client.wrap_bio(to_client, to_server, server_hostname=name)
    answering = server.wrap_bio(to_server, to_client, server_side=True)
    for _ in range(5):
        for side in (asking, answering):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    answering.write(b"hello")
    assert asking.read(5) == b"hello"


def test_api_and_executors_agree_by_each_name_of_a_service_and_not_the_other_way_round(tmp_path: Path) -> None:
    server = runtime_server({**MUTUAL, "executors": [dict(AER), {"name": "night-shift", "type": "aer"}]})
    authority = authority_of(server)
    of_executors, of_api = (signed(server, wanted, authority) for wanted in certificates(server))
    executors = context_of(of_executors, tmp_path, server=True)
    api = context_of(of_api, tmp_path, server=False)
    for name in ("lab-executor-aer", "lab-executor-night-shift", "lab-executor-aer.research.svc"):
        shake_hands(api, executors, name)
    with pytest.raises(ssl.SSLCertVerificationError, match="Hostname mismatch"):
        shake_hands(api, executors, "lab-api")
    with pytest.raises(ssl.SSLError, match=r"(?i)unsuitable|unsupported certificate purpose"):
        # An executor that asks another one for work.
        shake_hands(context_of(of_executors, tmp_path, server=False), executors, "lab-executor-aer")


def test_what_another_runtime_server_has_is_worth_nothing(tmp_path: Path) -> None:
    server, other = runtime_server(MUTUAL), runtime_server(MUTUAL)
    (wanted, _), (_, of_other) = certificates(server), certificates(other)
    executors = context_of(signed(server, wanted, authority_of(server)), tmp_path, server=True)
    stranger = context_of(signed(other, of_other, authority_of(other)), tmp_path, server=False)
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(stranger, executors, "lab-executor-aer")


def test_certificates_are_renewed_when_two_thirds_of_their_time_are_over() -> None:
    server = runtime_server(MUTUAL)
    authority, (wanted, _) = authority_of(server), certificates(server)
    first = signed(server, wanted, authority)
    assert certificate_secret(server, wanted, authority, first, now=NOW + timedelta(days=59)) is None
    second = certificate_secret(server, wanted, authority, first, now=NOW + timedelta(days=61))
    assert second
    assert second["data"]["tls.key"] != first["data"]["tls.key"]
    assert second["metadata"] == first["metadata"]


def test_an_authority_is_renewed_with_its_key_so_that_those_before_and_after_it_agree(tmp_path: Path) -> None:
    server = runtime_server(MUTUAL)
    of_executors, of_api = certificates(server)
    former = authority_of(server, NOW - timedelta(days=365 * 7))
    assert authority_secret(server, former, NOW - timedelta(days=365)) is None
    renewed = authority_secret(server, former, NOW)
    assert renewed
    assert renewed["data"]["tls.key"] == former["data"]["tls.key"]
    before, after = signed(server, of_executors, former), signed(server, of_api, renewed)
    executors, api = context_of(before, tmp_path, server=True), context_of(after, tmp_path, server=False)
    shake_hands(api, executors, "lab-executor-aer")
    # And each is brought up to date.
    assert certificate_secret(server, of_executors, renewed, before, now=NOW)


@pytest.mark.parametrize("damage", ["tls.crt", "tls.key", "ca.crt"])
def test_what_somebody_has_damaged_is_made_anew(damage: str) -> None:
    server = runtime_server(MUTUAL)
    authority, (wanted, _) = authority_of(server), certificates(server)
    found = signed(server, wanted, authority)
    assert certificate_secret(server, wanted, authority, found, now=NOW) is None
    for value in (None, b64encode(b"half of a certif").decode(), "no base64"):
        data = {name: content for name, content in {**found["data"], damage: value}.items() if content is not None}
        assert certificate_secret(server, wanted, authority, {**found, "data": data}, now=NOW)
        if damage != "ca.crt":
            of_authority = {**authority["data"], damage: value or ""}
            assert authority_secret(server, {**authority, "data": of_authority}, NOW)


def test_another_executor_or_another_authority_means_another_certificate() -> None:
    server = runtime_server(MUTUAL)
    authority, (wanted, _) = authority_of(server), certificates(server)
    found = signed(server, wanted, authority)
    more = runtime_server({**MUTUAL, "executors": [dict(AER), {"name": "second", "type": "own"}]})
    assert certificate_secret(more, certificates(more)[0], authority, found, now=NOW)
    assert certificate_secret(server, wanted, authority_of(server), found, now=NOW)


def test_an_issuer_of_cert_manager_is_asked_where_one_is_named() -> None:
    server = runtime_server(ISSUED)
    assert not are_signed_here(server)
    asked = [item for item in render(server, render_context()) if item["kind"] == "Certificate"]
    assert [item["spec"]["secretName"] for item in asked] == ["lab-executor-certificate", "lab-api-certificate"]
    assert [item["spec"]["usages"] for item in asked] == [["server auth"], ["client auth"]]
    assert {item["spec"]["issuerRef"]["kind"] for item in asked} == {"ClusterIssuer"}
    without = render_context(apis=frozenset(OptionalApi) - {OptionalApi.CERTIFICATE})
    assert not [item for item in render(server, without) if item["kind"] == "Certificate"]
    assert not [item for item in render(runtime_server(MUTUAL), render_context()) if item["kind"] == "Certificate"]


@pytest.mark.parametrize("spec", [MUTUAL, ISSUED])
def test_pods_mount_their_own_certificate_and_no_pod_the_authority(spec: dict[str, Any]) -> None:
    server = runtime_server(spec)
    pods = {
        item["metadata"]["name"]: item["spec"]["template"]["spec"]
        for item in render(server, render_context())
        if item["kind"] == "Deployment"
    }
    mounted = {
        name: {volume["secret"]["secretName"] for volume in pod["volumes"] if "secret" in volume}
        for name, pod in pods.items()
    }
    assert mounted == {"lab-api": {"lab-api-certificate"}, "lab-executor-aer": {"lab-executor-certificate"}}
    # A kubelet has no certificate: what asks for one is not where it asks.
    probes = [
        server_container(pod)[f"{kind}Probe"]["httpGet"] for pod in pods.values() for kind in ("startup", "liveness")
    ]
    assert [(probe["port"], probe.get("scheme")) for probe in probes] == [("http", None)] * 2 + [("internal", None)] * 2


def test_the_api_itself_has_a_certificate_if_a_secret_is_named() -> None:
    spec = {
        "tls": {"secretName": "lab-tls"},
        "ingress": {"host": "lab.example.org", "className": "nginx"},
        "auth": {"anonymous": True},
    }
    manifests = {
        (item["kind"], item["metadata"]["name"]): item for item in render(runtime_server(spec), render_context())
    }
    container = server_container(manifests["Deployment", "lab-api"]["spec"]["template"]["spec"])
    assert container["readinessProbe"]["httpGet"]["scheme"] == "HTTPS"
    assert manifests["ConfigMap", "lab-api"]["data"]["QRS_TLS_KEY"].endswith("/server-tls/tls.key")
    ports = {port["name"]: port.get("appProtocol") for port in manifests["Service", "lab-api"]["spec"]["ports"]}
    assert ports == {"http": "https", "internal": None}
    annotations = manifests["Ingress", "lab-api"]["metadata"]["annotations"]
    assert annotations["nginx.ingress.kubernetes.io/backend-protocol"] == "HTTPS"
    assert annotations["nginx.org/ssl-services"] == "lab-api"
    executor = server_container(manifests["Deployment", "lab-executor-aer"]["spec"]["template"]["spec"])
    assert "scheme" not in executor["readinessProbe"]["httpGet"]
