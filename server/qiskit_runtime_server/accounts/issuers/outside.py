"""The way out to an issuer: a JSON document by HTTP, within a time and a size, and without following redirects."""

import asyncio
import json
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import httpx

from qiskit_runtime_server.errors import IssuerUnavailableError, StartupError
from qiskit_runtime_server.trust.cookies import no_cookies

# Less than clients wait for an access token.
_PATIENCE_SECONDS: Final = 5.0
_MOST_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What was answered; `document` is what its JSON says, None if it is none."""

    status: int
    document: Any


class Outside:
    """Asks one issuer.

    Args:
        who: For people, as in `The Kubernetes API server`.
        authorities: PEM file with those that sign its certificate; None for those of the system.
        setting: Which setting names the file.
        proxies: Whether the proxies of the environment are used, as HTTPS_PROXY.

    Raises:
        StartupError: If that file cannot be read.
    """

    def __init__(self, who: str, *, authorities: Path | None, setting: str, proxies: bool = True) -> None:
        self.who = who
        try:
            context = ssl.create_default_context(cafile=authorities)
        except OSError as error:
            raise StartupError(f"{setting}: {authorities} cannot be read: {error}") from error
        self._client = httpx.AsyncClient(
            verify=context, timeout=_PATIENCE_SECONDS, trust_env=proxies, cookies=no_cookies()
        )

    async def ask(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        document: object = None,
        form: dict[str, str] | None = None,
    ) -> Answer:
        """Send a document, or the fields of a form, if there are some, and return the answer, whatever its status is.

        Raises:
            IssuerUnavailableError: If there is no answer in time, or one that is too long.
        """
        # What is compressed could become any size.
        sent = {"Accept": "application/json", "Accept-Encoding": "identity", **(headers or {})}
        body = bytearray()
        try:
            async with (
                asyncio.timeout(_PATIENCE_SECONDS),
                self._client.stream(method, url, headers=sent, json=document, data=form) as answer,
            ):
                async for piece in answer.aiter_raw():
                    body += piece
                    if len(body) > _MOST_BYTES:
                        raise IssuerUnavailableError(f"{self.who} answers with more than {_MOST_BYTES} bytes.")
        except (TimeoutError, httpx.TimeoutException) as error:
            raise IssuerUnavailableError(f"{self.who} does not answer within {_PATIENCE_SECONDS:g} s.") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise IssuerUnavailableError(f"{self.who} cannot be asked: {error}") from error
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            found = None
        return Answer(status=answer.status_code, document=found)

    def unexpected(self, answer: Answer, hint: str = "") -> IssuerUnavailableError:
        """Return the error that says what it answered."""
        return IssuerUnavailableError(f"{self.who} cannot be asked about tokens: it answers {answer.status}.{hint}")

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()
