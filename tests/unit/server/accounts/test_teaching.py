"""Whom an account teaches, as accounts.toml says."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from qiskit_runtime_server.accounts import editing
from qiskit_runtime_server.accounts.file import AccountsFile
from qiskit_runtime_server.accounts.identity import Account, Instance, fingerprint
from qiskit_runtime_server.accounts.principal import IssuerName, Principal
from qiskit_runtime_server.accounts.teaching import Role, Teaching
from qiskit_runtime_server.accounts.token_folder import TokenFolder, problems
from qiskit_runtime_server.errors import AccountsFileError
from qiskit_runtime_server.jobs import AccountId


def covered(entries: Sequence[str], account: str, instance: str = "default") -> bool:
    owner = Account(id=AccountId(account))
    return Teaching(tuple(entries)).covers(owner.id, owner.crn(Instance(name=instance)))


@pytest.mark.parametrize(
    ("entry", "account", "instance", "expected"),
    [
        ("ann", "ann", "default", True),
        ("ann", "ann~3f9c", "research", True),
        ("ann", "anna", "default", False),
        ("ann", "Ann", "default", False),
        ("class-a-*", "class-a-1", "default", True),
        ("class-a-*", "class-b-1", "default", False),
        ("class-a-*", "my-class-a-1", "default", False),
        ("*", "oidc.6f1f", "students", True),
        ("*:students", "oidc.6f1f", "students", True),
        ("*:students", "oidc.6f1f", "research", False),
        ("*:students", "oidc.6f1f", "students-2026", False),
        ("ann:teaching", "ann", "teaching", True),
        ("ann:teaching", "ann", "research", False),
        ("ann:teaching", "bob", "teaching", False),
    ],
)
def test_an_entry_is_a_name_or_the_beginning_of_names_and_maybe_an_instance(
    entry: str, account: str, instance: str, *, expected: bool
) -> None:
    assert covered([entry], account, instance) is expected
    assert covered(["nobody", entry], account, instance) is expected
    assert covered([], account, instance) is False


def test_a_crn_of_another_account_is_not_that_of_an_instance() -> None:
    crn_of_bob = Account(id=AccountId("bob")).crn(Instance(name="teaching"))
    assert not Teaching(("*:teaching",)).covers(AccountId("ann"), crn_of_bob)


def test_who_teaches_is_a_teacher_and_an_admin_stays_one() -> None:
    file = AccountsFile.parse(
        """
        [accounts.tess]
        teaches = ["ann"]
        [accounts.tom]
        role = "teacher"
        teaches = ["bob"]
        [accounts.ada]
        role = "admin"
        teaches = ["class-*"]
        """,
        "file",
    )
    accounts = {name: file.account(AccountId(name)) for name in ("tess", "tom", "ada", "ann")}
    roles = {name: account.role for name, account in accounts.items()}
    assert roles == {"tess": Role.TEACHER, "tom": Role.TEACHER, "ada": Role.ADMIN, "ann": Role.USER}
    assert accounts["ada"].teaching == Teaching(("class-*",))
    assert not accounts["ann"].teaching


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ('role = "teacher"', "a teacher teaches somebody: say whom with `teaches`"),
        ('teaches = "ann"', "accounts.tess.teaches"),
        ('teaches = ["*-a"]', "accounts.tess.teaches.0"),
        ('teaches = ["a*b"]', "accounts.tess.teaches.0"),
        ('teaches = [""]', "accounts.tess.teaches.0"),
        ('teaches = ["ann", "oidc:students"]\nqueued = -1', "accounts.tess.queued"),
        ('teaches = ["ann:"]', "accounts.tess.teaches.0"),
        ('teaches = ["ann:*"]', "accounts.tess.teaches.0"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_place(said: str, words: str) -> None:
    with pytest.raises(AccountsFileError) as refused:
        AccountsFile.parse(f"[accounts.tess]\n{said}", "file")
    assert words in str(refused.value)


def test_members_of_groups_teach_what_any_of_them_does(tmp_path: Path) -> None:
    (tmp_path / "accounts.toml").write_text("""
        [groups.students]
        members = ["oidc:students-*"]
        [groups.staff]
        members = ["oidc:staff"]
        teaches = ["*:students"]
        [groups.advisers]
        members = ["oidc:advisers"]
        teaches = ["oidc.emil", "*:students"]
    """)
    folder = TokenFolder(tmp_path, [IssuerName.OIDC])

    def admitted(*groups: str) -> Account:
        somebody = folder.admit(Principal(issuer=IssuerName.OIDC, name="tess", groups=groups))
        assert somebody is not None
        return somebody.account

    assert admitted("oidc:staff", "oidc:advisers").teaching == Teaching(("*:students", "oidc.emil"))
    assert (admitted("oidc:staff").role, admitted("oidc:students-1").role) == (Role.TEACHER, Role.USER)
    assert not admitted("oidc:students-1").teaching
    assert folder.id_of("oidc.emil") == "oidc.emil"
    assert folder.id_of("emil") is None


def test_a_change_of_the_file_counts_at_once(tmp_path: Path, clock: list[float]) -> None:
    (tmp_path / "tess").write_text("tess-1")
    (tmp_path / "accounts.toml").write_text('[accounts.tess]\nteaches = ["ann"]')
    folder = TokenFolder(tmp_path)
    (tmp_path / "accounts.toml").write_text("")
    clock[0] += 1.1
    tess = folder.find(fingerprint("tess-1"))
    assert tess is not None
    assert (tess.role, tess.teaching) == (Role.USER, Teaching())


def test_names_are_those_of_accounts_that_have_them_now(tmp_path: Path, clock: list[float]) -> None:
    first = editing.add(tmp_path, {"ann": {}})
    assert first
    before = editing.ids(tmp_path, ["ann"])["ann"]
    folder = TokenFolder(tmp_path)
    assert folder.id_of("ann") == before
    editing.disable(tmp_path, ["ann"])
    clock[0] += 1.1
    assert folder.id_of("ann") == before
    editing.remove(tmp_path, ["ann"])
    clock[0] += 1.1
    assert folder.id_of("ann") is None
    editing.add(tmp_path, {"ann": {}})
    clock[0] += 1.1
    assert folder.id_of("ann") not in {None, before}


def test_a_name_that_nobody_has_is_told(tmp_path: Path) -> None:
    for name in ("tess", "ann"):
        (tmp_path / name).write_text(name)
    (tmp_path / "accounts.toml").write_text("""
        [accounts.tess]
        teaches = ["ann", "anne", "class-*", "ann:teaching", "bob:teaching", "oidc.emil"]
        [groups.staff]
        members = ["oidc:staff"]
        teaches = ["carol"]
    """)
    assert problems(tmp_path) == [
        "tess: it teaches anne, but there is no account of that name.",
        "tess: it teaches bob, but there is no account of that name.",
        "staff: it teaches carol, but there is no account of that name.",
    ]
