"""An api that speaks HTTPS, and mutual TLS with its executors, on pods of a real kubelet behind a real ingress."""

import ssl
from base64 import b64decode
from collections.abc import Iterator
from http import HTTPStatus
from pathlib import Path

import httpx
import pytest
from qiskit_ibm_runtime import SamplerV2

from kit.kubernetes.client import Manifest, eventually
from kit.quantum.circuits import isa_bell
from kit.server.certificates import Authority, self_signed
from node.server_on_node import Lab, correct

BACKEND = "fake_manila@aer"
# What Contour wants to be told of an api that speaks HTTPS.
PROTOCOL = "projectcontour.io/upstream-protocol.tls"


@pytest.fixture
def own_certificate(lab: Lab, tmp_path: Path) -> Iterator[Path]:
    """The api's certificate, with which it and its executors have been rolled."""
    file = self_signed(tmp_path / "lab.pem", ("lab-api",))
    data = dict.fromkeys(("tls.crt", "tls.key"), file.read_text())
    head = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "lab-tls"}, "type": "kubernetes.io/tls"}
    lab.kubernetes.apply({**head, "stringData": data})
    speak(lab, {"executors": {}, "secretName": "lab-tls"}, "8000")
    yield file
    speak(lab, None, None)


def speak(lab: Lab, tls: Manifest | None, protocol: str | None) -> None:
    lab.change({"tls": tls})
    lab.kubernetes.merge("Service", "lab-api", {"metadata": {"annotations": {PROTOCOL: protocol}}})
    lab.wait_for_rollout()


def test_jobs_go_through_two_hops_of_tls_also_after_a_change_of_keys(
    lab: Lab, own_certificate: Path, tmp_path: Path
) -> None:
    # The kubelet asks the api by https, and an executor, to which it has nothing to show, at its internal port.
    assert probe(lab, "api") == {"path": "/health/ready", "port": "http", "scheme": "HTTPS"}
    assert probe(lab, "executor-aer") == {"path": "/health/ready", "port": "internal", "scheme": "HTTP"}
    backend = lab.service().backend(BACKEND)
    assert correct(SamplerV2(mode=backend).run([isa_bell(backend)], shots=1024))

    assert asked(lab, "api", 8000, trust(own_certificate), "/health/ready") == HTTPStatus.OK
    with pytest.raises(httpx.TransportError):
        asked(lab, "api", 8000, trust(own_certificate), "/health/ready", scheme="http")
    api = written(lab, "lab-api-certificate", tmp_path)
    # Whoever shows the api's certificate still needs the key of executors; others are not heard.
    assert asked(lab, "executor-aer", 8080, trust(api["ca.crt"], shown=api), "/v1/load") == HTTPStatus.UNAUTHORIZED
    stranger = Authority(tmp_path / "stranger.pem").for_client(tmp_path / "other.pem")
    for shown in (None, {"tls.crt": stranger, "tls.key": stranger}):
        with pytest.raises(httpx.TransportError):
            asked(lab, "executor-aer", 8080, trust(api["ca.crt"], shown=shown), "/v1/load")

    before = keys(lab)
    annotations = {"runtimeserver.dev/rotate-keys": own_certificate.name}
    lab.kubernetes.merge("RuntimeServer", "lab", {"metadata": {"annotations": annotations}})
    eventually(lambda: all(now[key] != before[key] for now in [keys(lab)] for key in before), 300)
    lab.wait_for_rollout()
    # Its access token has been signed by the former key.
    assert correct(SamplerV2(mode=backend).run([isa_bell(backend)], shots=1024))


def keys(lab: Lab) -> Manifest:
    found: Manifest = lab.kubernetes.get("Secret", "lab-keys")["data"]
    return found


def probe(lab: Lab, role: str) -> Manifest:
    """Return how the kubelet asks a pod whether it is ready."""
    (pod,) = lab.pods(role)
    found: Manifest = pod["spec"]["containers"][0]["readinessProbe"]["httpGet"]
    return found


def trust(authorities: Path, *, shown: dict[str, Path] | None = None) -> ssl.SSLContext:
    """Return what trusts these authorities alone, and shows a certificate."""
    context = ssl.create_default_context(cafile=authorities)
    if shown is not None:
        context.load_cert_chain(shown["tls.crt"], shown["tls.key"])
    return context


def asked(lab: Lab, role: str, port: int, context: ssl.SSLContext, path: str, *, scheme: str = "https") -> int:
    """Ask a pod under the name of its Service, as its peers do, and return the status."""
    (pod,) = lab.pods(role)
    with httpx.Client(verify=context, trust_env=False) as client:
        url = f"{scheme}://{pod['status']['podIP']}:{port}{path}"
        return client.get(url, extensions={"sni_hostname": f"lab-{role}"}).status_code


def written(lab: Lab, secret: str, folder: Path) -> dict[str, Path]:
    """Write what a Secret holds to files, and return them."""
    files: dict[str, Path] = {}
    for name, value in lab.kubernetes.get("Secret", secret)["data"].items():
        files[name] = folder / f"{secret}-{name}"
        files[name].write_bytes(b64decode(value))
    return files
