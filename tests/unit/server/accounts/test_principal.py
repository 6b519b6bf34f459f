"""What accounts of people are called whom somebody else vouches for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qiskit_runtime_server.accounts.file import is_account_name
from qiskit_runtime_server.accounts.principal import LONGEST_NAME, IssuerName, Principal, issuer_of_account

OIDC, KUBERNETES, HUB = IssuerName.OIDC, IssuerName.KUBERNETES, IssuerName.JUPYTERHUB


def name_of(issuer: IssuerName, name: str) -> str:
    return Principal(issuer=issuer, name=name).account


@pytest.mark.parametrize(
    ("issuer", "name", "account"),
    [
        (OIDC, "alice", "oidc.alice"),
        (KUBERNETES, "lab.default", "k8s.lab.default"),
        (HUB, "student-7", "hub.student-7"),
        (OIDC, "6f1f3f2e-5b1f-4a52-9c0e-3a7e0c9b2f11", "oidc.6f1f3f2e-5b1f-4a52-9c0e-3a7e0c9b2f11"),
    ],
)
def test_accounts_are_called_after_the_issuer_and_the_name(issuer: IssuerName, name: str, account: str) -> None:
    assert name_of(issuer, name) == account


def test_what_cannot_be_a_name_is_told_apart_by_a_hash() -> None:
    known = {name_of(OIDC, name) for name in ("a@b", "ab@", "a b", "a_b", "ab", "A@b", "a/b:c", "é", "\ud800")}
    assert len(known) == 9
    assert name_of(OIDC, "alice@example.org").startswith("oidc.aliceexample.org_")


names = st.text(min_size=1, max_size=200)


@given(st.sampled_from(list(IssuerName)), names)
def test_every_name_makes_an_account_s_name(issuer: IssuerName, name: str) -> None:
    account = Principal(issuer=issuer, name=name).account
    assert is_account_name(account)
    assert len(account) <= LONGEST_NAME
    assert issuer_of_account(account) is issuer


@given(st.sampled_from(list(IssuerName)), names, names)
def test_no_two_names_make_the_same_account(issuer: IssuerName, one: str, other: str) -> None:
    assert (name_of(issuer, one) == name_of(issuer, other)) == (one == other)
    # Not even one that looks like what is made of another.
    made = name_of(issuer, one)
    assert name_of(issuer, made.partition(".")[2]) == made or "_" in made
