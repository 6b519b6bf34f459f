"""Tokens of Kubernetes ServiceAccounts, which the API server is asked about by a TokenReview.

https://kubernetes.io/docs/reference/kubernetes-api/authentication-resources/token-review-v1/
"""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, Final

from qiskit_runtime_server.accounts.issuers.outside import Outside
from qiskit_runtime_server.accounts.issuers.port import Claims
from qiskit_runtime_server.accounts.principal import IssuerName, Principal
from qiskit_runtime_server.errors import IssuerUnavailableError, NotAuthenticatedError

_PATH: Final = "/apis/authentication.k8s.io/v1/tokenreviews"
_CREATED: Final = 201
_FORBIDDEN: Final = 403
_HINT: Final = " The ServiceAccount of this server has to be allowed to create tokenreviews.authentication.k8s.io."
# Namespaces have no dots.
_SERVICE_ACCOUNT: Final = re.compile(r"system:serviceaccount:([a-z0-9-]+):([a-z0-9.-]+)")


class KubernetesIssuer:
    """A cluster.

    Args:
        url: Of its API server.
        audience: What tokens have to be made for.
        namespaces: Patterns of those whose ServiceAccounts are let in.
        own_token: File with the token of this server.
        outside: The way to the API server.
    """

    name = IssuerName.KUBERNETES

    def __init__(
        self, *, url: str, audience: str, namespaces: Sequence[str], own_token: Path, outside: Outside
    ) -> None:
        self._url = url.rstrip("/") + _PATH
        self._audience = audience
        self._namespaces = namespaces
        self._own_token = own_token
        self._outside = outside

    def may_have_issued(self, token: str, claims: Claims | None) -> bool:  # noqa: ARG002 - see the port
        """See the port: a token that is not for this server is shown to nobody."""
        return claims is not None and self._audience in _audiences(claims.get("aud"))

    async def principal(self, token: str) -> Principal:
        """See the port."""
        review = {
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": {"token": token, "audiences": [self._audience]},
        }
        headers = {"Authorization": f"Bearer {self._read_own_token()}"}
        answer = await self._outside.ask("POST", self._url, headers=headers, document=review)
        if answer.status != _CREATED or not isinstance(answer.document, dict):
            raise self._outside.unexpected(answer, _HINT if answer.status == _FORBIDDEN else "")
        return self._reviewed(answer.document.get("status") or {})

    async def close(self) -> None:
        """See the port."""
        await self._outside.close()

    def _reviewed(self, status: dict[str, Any]) -> Principal:
        if not status.get("authenticated"):
            raise NotAuthenticatedError("The Kubernetes API server does not accept the token.")
        # An API server that knows no audiences leaves them out: the token may then be for anything.
        if self._audience not in status.get("audiences", ()):
            raise NotAuthenticatedError(f"The Kubernetes token is not for the audience {self._audience!r}.")
        user = status.get("user") or {}
        match = _SERVICE_ACCOUNT.fullmatch(str(user.get("username", "")))
        if match is None:
            raise NotAuthenticatedError("The Kubernetes token is not that of a ServiceAccount.")
        namespace, account = match.groups()
        if not any(fnmatchcase(namespace, pattern) for pattern in self._namespaces):
            raise NotAuthenticatedError(f"ServiceAccounts of the namespace {namespace} are not let in.")
        groups = tuple(f"{self.name}:{group}" for group in user.get("groups") or ())
        return Principal(issuer=self.name, name=f"{namespace}.{account}", groups=groups, revocable=True)

    def _read_own_token(self) -> str:
        """Return the server's own token, which the kubelet replaces from time to time."""
        try:
            return self._own_token.read_text().strip()
        except (OSError, UnicodeDecodeError) as error:
            raise IssuerUnavailableError(f"This server's own Kubernetes token cannot be read: {error}") from error


def _audiences(claim: object) -> Sequence[object]:
    return claim if isinstance(claim, list) else [claim]
