"""API tokens of a JupyterHub, which is asked whose they are.

https://jupyterhub.readthedocs.io/en/stable/reference/rest-api.html, `GET /user`
"""

import re
from typing import Any, Final

from qiskit_runtime_server.accounts.issuers.outside import Outside
from qiskit_runtime_server.accounts.issuers.port import Claims
from qiskit_runtime_server.accounts.principal import IssuerName, Principal
from qiskit_runtime_server.errors import NotAuthenticatedError

# The hub makes tokens of 32 characters; services may bring their own.
_TOKEN: Final = re.compile(r"[A-Za-z0-9_-]{16,256}")
_REFUSED: Final = frozenset({401, 403, 404})
_OK: Final = 200


class JupyterHubIssuer:
    """A hub.

    Args:
        url: Of its REST API.
        scope: The scope that tokens have to have; empty for none.
        outside: The way to it.
    """

    name = IssuerName.JUPYTERHUB

    def __init__(self, *, url: str, scope: str, outside: Outside) -> None:
        self._url = f"{url.rstrip('/')}/user"
        self._scope = scope
        self._outside = outside

    def may_have_issued(self, token: str, claims: Claims | None) -> bool:
        """See the port."""
        return claims is None and _TOKEN.fullmatch(token) is not None

    async def principal(self, token: str) -> Principal:
        """See the port."""
        answer = await self._outside.ask("GET", self._url, headers={"Authorization": f"token {token}"})
        if answer.status in _REFUSED:
            raise NotAuthenticatedError("The JupyterHub does not know the token.")
        if answer.status != _OK or not isinstance(answer.document, dict):
            raise self._outside.unexpected(answer)
        return self._user(answer.document)

    async def close(self) -> None:
        """See the port."""
        await self._outside.close()

    def _user(self, model: dict[str, Any]) -> Principal:
        name, scopes = model.get("name"), model.get("scopes") or ()
        if model.get("kind") != "user" or not isinstance(name, str) or not name:
            raise NotAuthenticatedError("The JupyterHub token is not that of a user.")
        # A scope without a filter holds for everything that filters could name.
        if self._scope and not {self._scope, self._scope.partition("!")[0]} & set(scopes):
            raise NotAuthenticatedError(f"The JupyterHub token has not the scope {self._scope}.")
        groups = tuple(f"{self.name}:{group}" for group in model.get("groups") or () if isinstance(group, str))
        return Principal(issuer=self.name, name=name, groups=groups, revocable=True)
