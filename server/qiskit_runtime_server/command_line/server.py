"""The server that commands speak to, and as whom."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from qiskit_runtime_server.accounts.teaching import Role
from qiskit_runtime_server.client import ACCOUNT_NAME, address_of, sign_in, trusted_authorities
from qiskit_runtime_server.errors import RequestError

if TYPE_CHECKING:
    import httpx

_LOCAL: Final = "http://127.0.0.1:8000"
_ANONYMOUS: Final = "anonymous"
# What `connect` exports has this in its URL, and what leads to IBM's platform has not.
_OURS: Final = "/experimental/api/v1"
_SAVED: Final = Path(".qiskit") / "qiskit-ibm.json"
_NOT_SIGNED_IN: Final = 401
_PATIENCE_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A server, and the token of an account there."""

    url: str
    token: str

    def at(self, url: str) -> Self:
        """Return the target with another URL, and with this token only if it is the same server."""
        token = self.token if address_of(url) == address_of(self.url) else _ANONYMOUS
        return replace(self, url=url, token=token)


def target(url: str | None, token: str | None) -> Target:
    """Return what is given, else QRS_URL and QRS_TOKEN, else the client's account, else this machine.

    The client's account is what `connect` has exported, else what it has saved. A token goes only where it belongs, and
    that of a variable or an account belongs to the URL beside it: at another one, a command is anonymous.
    """
    known = _named(_exported() or _saved() or Target(url=_LOCAL, token=_ANONYMOUS))
    if url is not None:
        known = known.at(url)
    return known if token is None else replace(known, token=token)


def _named(account: Target) -> Target:
    """Return what QRS_URL and QRS_TOKEN make of the account that the client has; QRS_TOKEN alone is for its server."""
    url, token = os.environ.get("QRS_URL"), os.environ.get("QRS_TOKEN")
    named = account.at(url) if url else account
    return replace(named, token=token) if token else named


def _exported() -> Target | None:
    url = os.environ.get("QISKIT_IBM_URL", "")
    return Target(url=url, token=os.environ.get("QISKIT_IBM_TOKEN") or _ANONYMOUS) if url.endswith(_OURS) else None


def _saved() -> Target | None:
    """Return the account that `connect --save` has saved with the client library."""
    try:
        account = json.loads((Path.home() / _SAVED).read_text())[ACCOUNT_NAME]
        return Target(url=str(account["url"]), token=str(account["token"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


class Server:
    """A server's REST API, as one account sees it; signs in when it has to, also again.

    Args:
        at: The server, and as whom.
        patience: For how many seconds an answer is waited for.
    """

    def __init__(self, at: Target, patience: float = _PATIENCE_SECONDS) -> None:
        import httpx  # noqa: PLC0415 - a third of a second, which other commands need not cost

        self.url = address_of(at.url)
        self._token = at.token
        self._access_token = ""
        self._client = httpx.Client(base_url=f"{self.url}/api/v1/", timeout=patience, verify=trusted_authorities())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def get(self, path: str, **wanted: object) -> Any:  # noqa: ANN401 - any JSON document
        """Return what is at a path; what is wanted is left out where it is None.

        Raises:
            RequestError: If the server does not answer, or refuses.
        """
        return self._answer("GET", path, wanted).json()

    def role(self) -> Role:
        """Return the role of the account; errors as above."""
        return Role(self.get("caller")["role"])

    def of_others(self, path: str) -> str:
        """Return where the server has a list of all that an account looks after: an admin's, else a teacher's."""
        return f"{'admin' if self.role() is Role.ADMIN else 'class'}/{path}"

    def text(self, path: str) -> str:
        """Return the text at a path; errors as above."""
        return self._answer("GET", path, {}).text

    def post(self, path: str) -> None:
        """Ask for what a path does; errors as above."""
        self._answer("POST", path, {})

    def change(self, method: str, path: str) -> Any:  # noqa: ANN401 - any JSON document
        """Ask for what a path does and return what it says of it; errors as above."""
        return self._answer(method, path, {}).json()

    def _answer(self, method: str, path: str, wanted: dict[str, object]) -> "httpx.Response":
        import httpx  # noqa: PLC0415 - see above

        params = {name: _text(value) for name, value in wanted.items() if value is not None}

        def ask() -> "httpx.Response":
            headers = {"Authorization": f"Bearer {self._access_token}"}
            return self._client.request(method, path, params=params, headers=headers)

        try:
            return self._signed_in(ask)
        except httpx.HTTPError as error:
            raise RequestError(f"No server answers at {self.url}: {error}") from error

    def _signed_in(self, ask: "Callable[[], httpx.Response]") -> "httpx.Response":
        answer = ask() if self._access_token else None
        if answer is None or answer.status_code == _NOT_SIGNED_IN:
            self._access_token = sign_in(self.url, self._token)
            answer = ask()
        if answer.is_success:
            return answer
        raise RequestError(f"{self.url} answered {answer.status_code}: {_message(answer)}")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _message(answer: "httpx.Response") -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return answer.text
