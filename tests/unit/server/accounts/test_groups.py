"""What accounts.toml says of people whom somebody else vouches for."""

import time
from datetime import timedelta
from pathlib import Path

import jwt
import pytest

from qiskit_runtime_server.accounts import editing
from qiskit_runtime_server.accounts.identity import AccessTokens, Account, fingerprint
from qiskit_runtime_server.accounts.outsiders import Outsiders
from qiskit_runtime_server.accounts.principal import IssuerName, Principal
from qiskit_runtime_server.accounts.teaching import Role
from qiskit_runtime_server.accounts.token_folder import TokenFolder, problems
from qiskit_runtime_server.errors import AccountsFileError, NotAuthenticatedError
from qiskit_runtime_server.jobs import AccountId

OIDC = IssuerName.OIDC
KEY = "a-signing-key-that-is-long-enough-for-hs256"
FILE = """
[defaults]
queued = 7

[accounts."oidc.guest"]
queued = 1

[accounts.lab]
running = 3

[groups.students]
members = ["oidc:students-*", "jupyterhub:students"]
qubits = 12
plan = "open"

[groups.teachers]
members = ["oidc:staff"]
role = "admin"
running = 9

[groups.lab]
members = ["kubernetes:system:serviceaccounts:lab"]
account = "lab"
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "accounts.toml").write_text(FILE)
    return tmp_path


def admitted(folder: Path, name: str, *groups: str, issuer: IssuerName = OIDC) -> Account | None:
    somebody = TokenFolder(folder, list(IssuerName)).admit(Principal(issuer=issuer, name=name, groups=groups))
    return None if somebody is None else somebody.account


def test_a_group_gives_an_instance_with_its_limits(folder: Path) -> None:
    alice = admitted(folder, "alice", "oidc:students-2026", "oidc:choir")
    assert alice is not None
    assert (alice.id, alice.role) == ("oidc.alice", Role.USER)
    (students,) = alice.instances
    assert (students.name, students.plan) == ("students", "open")
    assert (students.limits.qubits, students.limits.queued) == (12, 7)


def test_who_is_in_two_groups_has_both_instances_and_the_higher_role(folder: Path) -> None:
    account = admitted(folder, "ada", "oidc:staff", "oidc:students-2026")
    assert account is not None
    assert [instance.name for instance in account.instances] == ["students", "teachers"]
    assert account.role is Role.ADMIN


def test_members_of_a_shared_account_have_what_is_said_of_it(folder: Path) -> None:
    account = admitted(folder, "lab.default", "kubernetes:system:serviceaccounts:lab", issuer=IssuerName.KUBERNETES)
    assert account is not None
    assert (account.id, account.instances[0].limits.running) == ("lab", 3)


@pytest.mark.parametrize(
    "groups", [(), ("oidc:choir",), ("jupyterhub:staff",), ("oidc:students",), ("kubernetes:students-2026",)]
)
def test_who_is_in_none_of_the_groups_is_not_let_in(folder: Path, groups: tuple[str, ...]) -> None:
    assert admitted(folder, "mallory", *groups) is None


def test_who_has_a_section_needs_no_group(folder: Path) -> None:
    guest = admitted(folder, "guest")
    assert guest is not None
    assert guest.instances[0].limits.queued == 1


def test_without_groups_everybody_is_let_in_whom_an_issuer_vouches_for(tmp_path: Path) -> None:
    (tmp_path / "accounts.toml").write_text("[defaults]\nqueued = 3\n")
    account = admitted(tmp_path, "alice")
    assert account is not None
    assert (account.id, account.role, account.instances[0].limits.queued) == ("oidc.alice", Role.USER, 3)


def test_an_issuer_that_is_not_set_vouches_for_nobody(folder: Path) -> None:
    principal = Principal(issuer=OIDC, name="guest")
    assert TokenFolder(folder, [IssuerName.JUPYTERHUB]).admit(principal) is None
    assert TokenFolder(folder).account(AccountId("oidc.guest")) is None
    assert Outsiders([IssuerName.JUPYTERHUB]).admit(principal) is None
    assert Outsiders([OIDC]).admit(principal) is not None


def test_jobs_of_people_who_are_away_keep_the_limits_of_the_instance_that_they_were_sent_under(folder: Path) -> None:
    known = TokenFolder(folder, list(IssuerName))
    account = known.account(AccountId("oidc.alice"))
    assert account is not None
    assert {instance.name: instance.limits.qubits for instance in account.instances} == {
        "students": 12,
        "teachers": None,
    }
    lab = known.account(AccountId("lab"))
    assert lab is not None
    assert lab.instances[0].limits.running == 3
    assert known.account(AccountId("alice")) is None
    assert set(known.plans()) >= {"open", "self-hosted"}


def test_a_disabled_account_lets_nobody_in_until_it_is_enabled(folder: Path) -> None:
    editing.disable(folder, ["oidc.alice"])
    assert admitted(folder, "alice", "oidc:students-2026") is None
    assert TokenFolder(folder, [OIDC]).account(AccountId("oidc.alice")) is None
    assert problems(folder) == []
    editing.enable(folder, ["oidc.alice"])
    assert admitted(folder, "alice", "oidc:students-2026") is not None
    assert not (folder / "oidc.alice").exists()


def test_a_disabled_account_keeps_its_id_and_admins_can_speak_of_it(tmp_path: Path) -> None:
    token = editing.add(tmp_path, {"alice": {}})["alice"]
    before = editing.ids(tmp_path, ["alice"])["alice"]
    editing.disable(tmp_path, ["alice"])
    known = TokenFolder(tmp_path)
    named = known.named("alice")
    assert named is not None
    assert named.id == before
    # Its jobs wait.
    assert known.account(before) is None
    editing.enable(tmp_path, ["alice"])
    found = TokenFolder(tmp_path).find(fingerprint(token))
    assert found is not None
    assert found.id == before


def test_an_account_that_groups_share_is_that_of_its_tokens(folder: Path) -> None:
    editing.add(folder, {"lab": {}})
    account = admitted(folder, "lab.default", "kubernetes:system:serviceaccounts:lab", issuer=IssuerName.KUBERNETES)
    assert account is not None
    assert account.id == editing.ids(folder, ["lab"])["lab"]
    assert TokenFolder(folder, list(IssuerName)).account(account.id) == account


def test_whoever_has_a_token_beside_their_identity_has_both_instances(folder: Path) -> None:
    editing.add(folder, {"oidc.alice": {}})
    account_id = editing.ids(folder, ["oidc.alice"])["oidc.alice"]
    account = TokenFolder(folder, [OIDC]).account(account_id)
    assert account is not None
    assert [instance.name for instance in account.instances] == ["default", "students", "teachers"]
    alice = admitted(folder, "alice", "oidc:students-2026")
    assert alice is not None
    assert alice.id == account_id


@pytest.mark.parametrize(
    ("group", "problem"),
    [
        ("members = []", "members"),
        ('members = ["students"]', "members.0"),
        ('members = ["ldap:students"]', "members.0"),
        ('members = ["oidc:a"]\naccount = "lab"\nqubits = 3', "say 'qubits' of the account 'lab'"),
        ('members = ["oidc:a"]\nlimit = 3', "limit"),
    ],
)
def test_a_group_that_makes_no_sense_is_named(tmp_path: Path, group: str, problem: str) -> None:
    (tmp_path / "accounts.toml").write_text(f"[groups.some]\n{group}\n")
    with pytest.raises(AccountsFileError, match=rf"groups\.some.*{problem}|{problem}"):
        TokenFolder(tmp_path)


class TestAccessTokens:
    """They name the person, so that a change of accounts.toml counts at once."""

    def tokens(self, folder: Path) -> AccessTokens:
        return AccessTokens(TokenFolder(folder, list(IssuerName)), KEY, timedelta(hours=1), timedelta(seconds=60))

    def principal(self, *, ends: float | None = None, revocable: bool = False) -> Principal:
        groups = ("oidc:students-2026", "oidc:choir")
        return Principal(issuer=OIDC, name="alice", groups=groups, ends=ends, revocable=revocable)

    def test_one_leads_back_to_the_account(self, folder: Path) -> None:
        tokens = self.tokens(folder)
        issued, lifetime, _ = tokens.issue(tokens.admit(self.principal()), now=time.time())
        assert tokens.check(issued) == admitted(folder, "alice", "oidc:students-2026")
        assert lifetime == 3600
        # Groups that say nothing here are nobody's business, and there can be hundreds.
        assert "choir" not in str(jwt.decode(issued, options={"verify_signature": False}))

    def test_one_ends_with_the_token_that_it_was_traded_for(self, folder: Path) -> None:
        tokens, now = self.tokens(folder), time.time()
        assert tokens.issue(tokens.admit(self.principal(ends=now + 100.5)), now=now)[1] == 100
        assert tokens.issue(tokens.admit(self.principal(ends=now + 100.5, revocable=True)), now=now)[1] == 60
        with pytest.raises(NotAuthenticatedError, match="about to end"):
            tokens.issue(tokens.admit(self.principal(ends=now + 0.5)), now=now)

    def test_one_is_worth_nothing_once_its_owner_may_not_use_the_server(self, folder: Path, clock: list[float]) -> None:
        tokens = self.tokens(folder)
        issued, _, _ = tokens.issue(tokens.admit(self.principal()), now=time.time())
        (folder / "accounts.toml").write_text(FILE.replace("students-*", "students-2027"))
        clock[0] += 1.1
        with pytest.raises(NotAuthenticatedError, match=r"oidc\.alice is in no group"):
            tokens.check(issued)

    @pytest.mark.parametrize("who", [{}, {"issuer": "ldap", "name": "a", "groups": []}, {"issuer": "oidc"}])
    def test_one_that_names_nobody_is_refused(self, folder: Path, who: dict[str, object]) -> None:
        forged = jwt.encode({"who": who, "exp": time.time() + 60}, KEY, algorithm="HS256")
        with pytest.raises(NotAuthenticatedError):
            self.tokens(folder).check(forged)
