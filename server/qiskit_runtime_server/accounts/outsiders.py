"""Accounts of a server that has no tokens of its own, and takes the word of issuers for everybody."""

from collections.abc import Collection
from dataclasses import replace

from qiskit_runtime_server.accounts.identity import DEFAULT_INSTANCE, Account, Fingerprint, SignedIn
from qiskit_runtime_server.accounts.principal import IssuerName, Principal, issuer_of_account
from qiskit_runtime_server.jobs import AccountId


class Outsiders:
    """Whoever an issuer vouches for has an account, with the limits that are by default."""

    def __init__(self, issuers: Collection[IssuerName]) -> None:
        self._issuers = issuers

    def find(self, token: Fingerprint) -> None:
        """Return that no token is this server's."""

    def admit(self, principal: Principal) -> SignedIn | None:
        """Return somebody whom an issuer vouches for."""
        if principal.issuer not in self._issuers:
            return None
        return SignedIn(account=Account(id=principal.account), principal=replace(principal, groups=()))

    def account(self, account_id: AccountId) -> Account | None:
        """Return the account, if it is called as those of an issuer are."""
        return Account(id=account_id) if issuer_of_account(account_id, self._issuers) else None

    def named(self, name: str) -> Account | None:
        """Return the same."""
        return self.account(AccountId(name))

    def id_of(self, name: str) -> AccountId | None:
        """Return the name, if it is one of theirs."""
        return AccountId(name) if issuer_of_account(AccountId(name), self._issuers) else None

    def plans(self) -> Collection[str]:
        """Return the one plan."""
        return {DEFAULT_INSTANCE.plan}
