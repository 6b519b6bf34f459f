"""A server with a certificate of its own, and the real client, which trusts it."""

from pathlib import Path

import httpx
import pytest
from qiskit_ibm_runtime.executor_sampler import Sampler

from kit.quantum.circuits import isa_bell
from kit.server.certificates import self_signed
from kit.server.server_process import StartServer
from qiskit_runtime_server.client import connect
from qiskit_runtime_server.errors import RequestError


def test_the_client_speaks_tls_with_the_server_itself(
    start_server: StartServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = self_signed(tmp_path / "server.pem")
    server = start_server("--executors=aer=1", QRS_TLS_CERTIFICATE=str(certificate), QRS_TLS_KEY=str(certificate))
    assert server.url.startswith("https://127.0.0.1:")
    with pytest.raises(httpx.ConnectError, match="certificate"):
        httpx.get(f"{server.url}/health")
    plain = server.url.replace("https", "http")
    with pytest.raises(RequestError, match=f"It may speak TLS only: try {server.url}"):
        connect(plain, "any token")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    backend = connect(server.url, "any token").backend("fake_manila@aer")
    counts = Sampler(mode=backend).run([isa_bell(backend)], shots=100).result()[0].data.meas.get_counts()
    assert sum(counts.values()) == 100
