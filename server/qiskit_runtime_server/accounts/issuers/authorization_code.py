"""Signs people in who come with a browser: the authorization code flow of OpenID Connect, with PKCE.

    browser -> this server      sign in
    this server -> browser      go to the provider, with a hash of a secret; what belongs together is sealed in a cookie
    provider -> browser         go back, with a code
    browser -> this server      the code, and the cookie
    this server -> provider     the code and the secret, for an ID token, which says who it is and holds the nonce

A code that somebody else has got is worth nothing without the cookie (state) or without the secret (PKCE), and an ID
token that was made for another sign-in or another client has another nonce or audience.

https://openid.net/specs/openid-connect-core-1_0.html section 3.1, RFC 7636 (PKCE), RFC 9207 (`iss` of the answer), and
RFC 9700 (what to mind).
"""

import hashlib
import hmac
import re
import secrets
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, Self
from urllib.parse import quote, urlencode, urlsplit

import msgspec

from qiskit_runtime_server.accounts.issuers.oidc import OidcIssuer
from qiskit_runtime_server.accounts.issuers.outside import Outside
from qiskit_runtime_server.accounts.issuers.port import Claims
from qiskit_runtime_server.accounts.issuers.published_keys import PublishedKeys
from qiskit_runtime_server.accounts.principal import Principal
from qiskit_runtime_server.auth_settings import is_safe
from qiskit_runtime_server.errors import IssuerUnavailableError, NotAuthenticatedError

_OK: Final = 200
_REFUSED: Final = frozenset({400, 401})
_ERROR: Final = re.compile(r"[a-z_]{1,40}")
_LONGEST_CODE: Final = 4096


class Attempt(msgspec.Struct, frozen=True, kw_only=True):
    """A sign-in that has begun, for the browser to keep where nobody reads it.

    Attributes:
        state: Comes back with the code.
        nonce: Comes back in the ID token.
        verifier: Of PKCE: whoever redeems the code has to have it.
        redirect_uri: Where the provider sends the browser.
    """

    state: str
    nonce: str
    verifier: str
    redirect_uri: str

    @classmethod
    def new(cls, redirect_uri: str) -> Self:
        """Return one, with 256 random bits for each secret."""
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        return cls(state=state, nonce=nonce, verifier=verifier, redirect_uri=redirect_uri)


class AuthorizationCodeFlow:
    """The way to sign in at a provider, as a client that is registered there.

    Args:
        issuer: Checks its tokens.
        client_id: What it calls this server.
        secret_file: File with what it knows this server by; None for a public client, which has nothing but PKCE.
        scopes: What the ID token is to tell; `openid` is asked for anyway.
        published: Where it signs people in.
        outside: The way to it.
    """

    def __init__(  # noqa: PLR0913 - one argument per setting
        self,
        *,
        issuer: OidcIssuer,
        client_id: str,
        secret_file: Path | None,
        scopes: Sequence[str],
        published: PublishedKeys,
        outside: Outside,
    ) -> None:
        self._issuer = issuer
        self._client_id = client_id
        self._secret_file = secret_file
        self._scopes = scopes
        self._published = published
        self._outside = outside

    @property
    def provider(self) -> str:
        """The name of the provider's host."""
        return urlsplit(self._issuer.url).hostname or self._issuer.url

    async def address_for(self, attempt: Attempt) -> str:
        """Return where the browser is to go.

        Raises:
            IssuerUnavailableError: If the provider cannot be asked where that is.
        """
        endpoint = await self._endpoint("authorization_endpoint")
        challenge = urlsafe_b64encode(hashlib.sha256(attempt.verifier.encode()).digest()).decode().rstrip("=")
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": attempt.redirect_uri,
            "scope": " ".join(dict.fromkeys(("openid", *self._scopes))),
            "state": attempt.state,
            "nonce": attempt.nonce,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        return f"{endpoint}{'&' if urlsplit(endpoint).query else '?'}{urlencode(query)}"

    async def principal(self, attempt: Attempt, answer: Mapping[str, str]) -> Principal:
        """Return who has signed in.

        Args:
            attempt: As the browser has kept it.
            answer: The query with which the provider has sent the browser back.

        Raises:
            NotAuthenticatedError: If nobody has, or the answer belongs to something else.
            IssuerUnavailableError: If the code cannot be redeemed now.
        """
        code = await self._code(attempt, answer)
        token = await self._id_token(attempt, code)
        claims = await self._issuer.claims(token, self._client_id)
        if not hmac.compare_digest(str(claims.get("nonce", "")).encode(), attempt.nonce.encode()):
            raise NotAuthenticatedError("The ID token belongs to another sign-in.")
        if not self._is_for_us(claims):
            raise NotAuthenticatedError("The ID token was made for another client.")
        # The token has done its duty; how long the sign-in lasts is said here, as everywhere.
        return replace(self._issuer.principal_of(claims), ends=None)

    async def _code(self, attempt: Attempt, answer: Mapping[str, str]) -> str:
        if not hmac.compare_digest(answer.get("state", "").encode(), attempt.state.encode()):
            raise NotAuthenticatedError("The answer belongs to another sign-in.")
        about = await self._published.metadata()
        says_issuer = bool(about.get("authorization_response_iss_parameter_supported"))
        if answer.get("iss", "" if says_issuer else self._issuer.url) != self._issuer.url:
            raise NotAuthenticatedError("The answer comes from another provider.")
        if (error := answer.get("error")) is not None:
            said = error if _ERROR.fullmatch(error) else "an error"
            raise NotAuthenticatedError(f"The provider has signed nobody in: {said}.")
        code = answer.get("code", "")
        if not 0 < len(code) <= _LONGEST_CODE:
            raise NotAuthenticatedError("The answer has no code.")
        return code

    async def _id_token(self, attempt: Attempt, code: str) -> str:
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": attempt.redirect_uri,
            "code_verifier": attempt.verifier,
        }
        endpoint = await self._endpoint("token_endpoint")
        who, headers = await self._credentials()
        answer = await self._outside.ask("POST", endpoint, headers=headers, form=form | who)
        found: Any = answer.document if isinstance(answer.document, dict) else {}
        if answer.status in _REFUSED and found.get("error") == "invalid_client":
            raise IssuerUnavailableError(f"{self._outside.who} does not know this server by its id and secret.")
        if answer.status in _REFUSED:
            raise NotAuthenticatedError("The provider does not accept the code.")
        token = found.get("id_token")
        if answer.status != _OK or not isinstance(token, str):
            raise self._outside.unexpected(answer)
        return token

    async def _credentials(self) -> tuple[dict[str, str], dict[str, str]]:
        """Return the fields and headers by which the provider knows this server; see RFC 6749, section 2.3.1."""
        if self._secret_file is None:
            return {"client_id": self._client_id}, {}
        secret = _read(self._secret_file)
        about = await self._published.metadata()
        # What a provider takes that does not say it.
        methods = about.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        if "client_secret_basic" not in methods and "client_secret_post" in methods:
            return {"client_id": self._client_id, "client_secret": secret}, {}
        both = f"{quote(self._client_id, safe='')}:{quote(secret, safe='')}"
        return {}, {"Authorization": f"Basic {b64encode(both.encode()).decode()}"}

    def _is_for_us(self, claims: Claims) -> bool:
        """Return whether a token that names this client as an audience was issued to it."""
        several = isinstance(claims.get("aud"), list) and len(claims["aud"]) > 1
        return bool(claims.get("azp", None if several else self._client_id) == self._client_id)

    async def _endpoint(self, name: str) -> str:
        url = (await self._published.metadata()).get(name)
        if not isinstance(url, str) or not is_safe(url):
            raise IssuerUnavailableError(f"{self._outside.who} has no {name} at a safe address.")
        return url


def _read(secret: Path) -> str:
    try:
        return secret.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise IssuerUnavailableError(f"The secret of this server's client cannot be read: {error}") from error
