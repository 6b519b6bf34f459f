"""An OpenID provider as clients of one see it: over HTTP, with keys that it makes, rotates, and loses.

Whoever comes to its page for signing in with a browser is signed in at once, as `user`.
"""

import hashlib
import json
import secrets
import time
from base64 import b64decode, urlsafe_b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from http.server import BaseHTTPRequestHandler
from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, RSAAlgorithm

from kit.server.serving import serving

AUDIENCE = "qiskit-runtime-server"
CLIENT = "console"
CALLBACK = "/ui/sign-in/openid/callback"


class OpenIdProvider:
    """Signs tokens, and publishes what they are checked with.

    Attributes:
        issuer: What it calls itself.
        asked: The paths that it was asked for.
        broken: Whether it answers everything with 500.
        documents: What is answered in place of its own documents, by path.
        user: Who signs in with a browser.
        secret: What the client `console` has to know; None for a public client.
        id_token: What is said in ID tokens in place of what is right.
        shown_by: How the secret is to be shown.
        groups: Those of the user.
        redeemed: The forms with which codes were to be redeemed.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.broken = False
        self.documents: dict[str, Any] = {}
        self.issuer = ""
        self.user = "alice"
        self.secret: str | None = None
        self.shown_by = "client_secret_basic"
        self.groups: list[str] = []
        self.id_token: dict[str, Any] = {}
        self.redeemed: list[dict[str, str]] = []
        self._codes: dict[str, dict[str, str]] = {}
        self.kid = "first"
        self._keys: dict[str, rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey] = {self.kid: _first_key()}

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
            "/.well-known/openid-configuration": {
                "issuer": self.issuer,
                "jwks_uri": f"{self.issuer}/keys",
                "authorization_endpoint": f"{self.issuer}/authorize",
                "token_endpoint": f"{self.issuer}/token",
                "authorization_response_iss_parameter_supported": True,
                "token_endpoint_auth_methods_supported": [self.shown_by],
            },
            "/keys": {"keys": self.public_keys()},
            **self.documents,
        }
        return (200, known[path]) if path in known else (404, {})

    def sign_in(self, asked: Mapping[str, str]) -> str:
        """Return where a browser is sent that comes with this query; see RFC 6749, section 4.1, and RFC 7636."""
        assert asked["response_type"] == "code"
        assert asked["client_id"] == CLIENT
        assert asked["code_challenge_method"] == "S256"
        assert "openid" in asked["scope"].split()
        assert urlsplit(asked["redirect_uri"]).path == CALLBACK
        code = secrets.token_urlsafe()
        self._codes[code] = dict(asked)
        answer = {"code": code, "state": asked["state"], "iss": self.issuer}
        return f"{asked['redirect_uri']}?{urlencode(answer)}"

    def redeem(self, form: Mapping[str, str], authorization: str) -> tuple[int, object]:
        """Return what a client gets for a code, once."""
        self.redeemed.append(dict(form))
        if self.broken:
            return 500, {"error": "server_error"}
        if not self._knows(form, authorization):
            return 401, {"error": "invalid_client"}
        asked = self._codes.pop(form["code"], None)
        digest = hashlib.sha256(form["code_verifier"].encode()).digest()
        if (
            asked is None
            or form["grant_type"] != "authorization_code"
            or form["redirect_uri"] != asked["redirect_uri"]
            or urlsafe_b64encode(digest).decode().rstrip("=") != asked["code_challenge"]
        ):
            return 400, {"error": "invalid_grant"}
        said = {"aud": CLIENT, "nonce": asked["nonce"], "groups": self.groups, **self.id_token}
        return 200, {"token_type": "Bearer", "access_token": "opaque", "id_token": self.token(self.user, **said)}

    def _knows(self, form: Mapping[str, str], authorization: str) -> bool:
        if self.secret is None:
            return form.get("client_id") == CLIENT
        if self.shown_by == "client_secret_post":
            return (form.get("client_id"), form.get("client_secret")) == (CLIENT, self.secret)
        kind, _, credentials = authorization.partition(" ")
        name, _, secret = b64decode(credentials).decode().partition(":")
        return kind == "Basic" and (unquote(name), unquote(secret)) == (CLIENT, self.secret)


@cache
def _first_key() -> rsa.RSAPrivateKey:
    """Return what every provider signs with at first: to make a key takes longer than most tests with one."""
    return rsa.generate_private_key(65537, 2048)


def _public(key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> dict[str, Any]:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return dict(ECAlgorithm.to_jwk(key.public_key(), as_dict=True))
    return dict(RSAAlgorithm.to_jwk(key.public_key(), as_dict=True))


@contextmanager
def openid_provider(host: str = "127.0.0.1") -> Iterator[OpenIdProvider]:
    """Serve one on a free port of this machine, which calls itself by one of its names."""
    provider = OpenIdProvider()

    class Handler(BaseHTTPRequestHandler):
        """Answers with documents."""

        def do_GET(self) -> None:
            """Answer."""
            parts = urlsplit(self.path)
            if parts.path == "/authorize":
                self.send_response(303)
                self.send_header("Location", provider.sign_in(dict(parse_qsl(parts.query))))
                self.end_headers()
                return
            self._answer(*provider.answer(self.path))

        def do_POST(self) -> None:
            """Redeem a code."""
            form = dict(parse_qsl(self.rfile.read(int(self.headers["Content-Length"])).decode()))
            self._answer(*provider.redeem(form, self.headers.get("Authorization", "")))

        def _answer(self, status: int, document: object) -> None:
            body = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - called so
            """Keep silent."""

    with serving(Handler) as url:
        provider.issuer = url.replace("127.0.0.1", host)
        yield provider
