"""An external metric for Kubernetes' own autoscaler, which the API server aggregates: a test says what it is."""

import json
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from kit.kubernetes.client import KubernetesClient, RefusedError, eventually

_GROUP_VERSION: Final = "external.metrics.k8s.io/v1beta1"
_SERVICES: Final = "/apis/apiregistration.k8s.io/v1/apiservices"
_NAME: Final = "v1beta1.external.metrics.k8s.io"


class PlayedMetric:
    """A metric, the same for all namespaces.

    Attributes:
        value: What it is.
        asked: The paths of all that has asked for it, without what they select.
    """

    def __init__(self) -> None:
        self.value = 0
        self.asked: set[str] = set()


@contextmanager
def played_metric(kubernetes: KubernetesClient, folder: Path) -> Iterator[PlayedMetric]:
    """Serve a metric by whatever name, to whoever asks the API server.

    Args:
        kubernetes: An administrator's client.
        folder: Where its certificate is.
    """
    metric = PlayedMetric()
    with ThreadingHTTPServer(("127.0.0.1", 0), _handler(metric)) as server:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(_certificate(folder))
        server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        _register(kubernetes, server.server_port)
        try:
            eventually(lambda: _answers(kubernetes))
            yield metric
        finally:
            # Namespaces are not deleted while an API of the cluster does not answer.
            kubernetes.call("DELETE", f"{_SERVICES}/{_NAME}")
            server.shutdown()
            thread.join()


def _handler(metric: PlayedMetric) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if "/namespaces/" in path:
                metric.asked.add(path)
                now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
                item = {"metricName": path.rpartition("/")[2], "timestamp": now, "value": str(metric.value)}
                answer = {"kind": "ExternalMetricValueList", "items": [{**item, "metricLabels": {}}], "metadata": {}}
            else:
                answer = {"kind": "APIResourceList", "groupVersion": _GROUP_VERSION, "resources": []}
            body = json.dumps({"apiVersion": _GROUP_VERSION if "items" in answer else "v1", **answer}).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    return Handler


def _register(kubernetes: KubernetesClient, port: int) -> None:
    # Without a network for Services, the API server gets to a process by this name.
    local = {"type": "ExternalName", "externalName": "localhost", "ports": [{"port": port}]}
    kubernetes.create({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "metrics"}, "spec": local})
    group, _, version = _GROUP_VERSION.partition("/")
    spec = {
        "group": group,
        "version": version,
        "groupPriorityMinimum": 100,
        "versionPriority": 100,
        "insecureSkipTLSVerify": True,
        "service": {"namespace": kubernetes.namespace, "name": "metrics", "port": port},
    }
    kubernetes.call("POST", _SERVICES, {"metadata": {"name": _NAME}, "spec": spec})


def _answers(kubernetes: KubernetesClient) -> bool:
    try:
        return bool(kubernetes.call("GET", f"/apis/{_GROUP_VERSION}/namespaces/{kubernetes.namespace}/any"))
    except RefusedError:
        return False


def _certificate(folder: Path) -> Path:
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, SHA256())
    )
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (folder / "metrics.pem").write_bytes(private + certificate.public_bytes(Encoding.PEM))
    return folder / "metrics.pem"
