"""An OpenID provider as clients of one see it: over HTTP, with keys that it makes, rotates, and loses."""

import json
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

AUDIENCE = "qiskit-runtime-server"


class OpenIdProvider:
    """Signs tokens, and publishes what they are checked with.

    Attributes:
        issuer: What it calls itself.
        asked: The paths that it was asked for.
        broken: Whether it answers everything with 500.
        documents: What is answered in place of its own documents, by path.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken = False
        self.documents: dict[str, Any] = {}
        self.issuer = ""
        self._keys: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = {}
        self.rotate("first")

    def rotate(self, kid: str, *, keep: bool = False, elliptic: bool = False) -> None:
        """Sign with a new key from now on, and publish none but it, unless others are kept."""
        kept = self._keys if keep else {}
        made: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
        made = ec.generate_private_key(ec.SECP256R1()) if elliptic else rsa.generate_private_key(65537, 2048)
        self._keys = {**kept, kid: made}
        self.kid = kid

    def public_keys(self) -> list[dict[str, Any]]:
        """Return what it publishes."""
        return [{**_public(key), "kid": kid, "use": "sig"} for kid, key in self._keys.items()]

    def public_pem(self) -> bytes:
        """Return the public key as a file would hold it."""
        return self._keys[self.kid].public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

    def token(
        self,
        name: str = "alice",
        *,
        headers: Mapping[str, Any] | None = None,
        more: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """Return a token of somebody, right but for the claims that are given; those that are None are left out."""
        now = int(time.time())
        said = {
            "iss": self.issuer,
            "aud": AUDIENCE,
            "sub": name,
            "iat": now,
            "exp": now + 600,
            **claims,
            **(more or {}),
        }
        key = self._keys[self.kid]
        algorithm = "ES256" if isinstance(key, ec.EllipticCurvePrivateKey) else "RS256"
        kept = {claim: value for claim, value in said.items() if value is not None}
        return jwt.encode(kept, key, algorithm=algorithm, headers={"kid": self.kid, **(headers or {})})

    def answer(self, path: str) -> tuple[int, object]:
        """Return the status and the document at a path."""
        self.asked.append(path)
        if self.broken:
            return 500, {"error": "server_error"}
        known = {
            "/.well-known/openid-configuration": {"issuer": self.issuer, "jwks_uri": f"{self.issuer}/keys"},
            "/keys": {"keys": self.public_keys()},
            **self.documents,
        }
        return (200, known[path]) if path in known else (404, {})


def _public(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return dict(ECAlgorithm.to_jwk(key.public_key(), as_dict=True))
    return dict(RSAAlgorithm.to_jwk(key.public_key(), as_dict=True))


@contextmanager
def openid_provider() -> Iterator[OpenIdProvider]:
    """Serve one on a free port of this machine."""
    provider = OpenIdProvider()

    class Handler(BaseHTTPRequestHandler):
        """Answers with documents."""

        def do_GET(self) -> None:
            """Answer."""
            status, document = provider.answer(self.path)
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - called so
            """Keep silent."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        provider.issuer = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield provider
        finally:
            server.shutdown()
            thread.join()
