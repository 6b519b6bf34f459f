"""Accounts from a folder: what may stand there, what it does, and what happens while it is changed or wrong."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qiskit_runtime_server.accounts.file import AccountsFile
from qiskit_runtime_server.accounts.identity import Account, fingerprint, identity
from qiskit_runtime_server.accounts.limits import AccountLimits
from qiskit_runtime_server.accounts.teaching import Role
from qiskit_runtime_server.accounts.token_folder import TokenFolder, problems
from qiskit_runtime_server.errors import AccountsFileError, NotFoundError, StartupError
from qiskit_runtime_server.jobs import AccountId

FILE = """
[defaults]
queued = 100
qubits = 25

[accounts.alice]
role = "admin"
weight = 3
running = 2
queued = "unlimited"

[[accounts.alice.instances]]
name = "research"

[[accounts.alice.instances]]
name = "teaching"
plan = "open"
queued = 5
seconds_per_day = 600
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "alice").write_text("alice-1")
    (tmp_path / "bob").write_text("bob-1")
    return tmp_path


def found(tokens: TokenFolder, token: str) -> Account | None:
    return tokens.find(fingerprint(token))


def test_a_file_gives_roles_instances_and_limits_and_what_it_leaves_out_comes_from_further_up(folder: Path) -> None:
    (folder / "accounts.toml").write_text(FILE)
    tokens = TokenFolder(folder)
    alice, bob = found(tokens, "alice-1"), found(tokens, "bob-1")
    assert alice is not None
    assert bob is not None
    research, teaching = alice.instances
    assert (alice.role, research.plan, teaching.plan) == (Role.ADMIN, "self-hosted", "open")
    assert research.limits == AccountLimits(weight=3, running=2, queued=None, qubits=25)
    assert teaching.limits == AccountLimits(weight=3, running=2, queued=5, seconds_per_day=600, qubits=25)
    assert bob.role is Role.USER
    assert [instance.limits for instance in bob.instances] == [AccountLimits(queued=100, qubits=25)]
    assert set(tokens.plans()) == {"self-hosted", "open"}


def test_an_instance_is_selected_by_its_crn_and_the_first_one_without(folder: Path) -> None:
    (folder / "accounts.toml").write_text(FILE)
    alice = found(TokenFolder(folder), "alice-1")
    assert alice is not None
    research, teaching = alice.instances
    assert identity(alice, None).instance == research
    assert identity(alice, alice.crn(teaching)).instance == teaching
    assert alice.crn(teaching).split(":")[5:8] == ["us-east", "a/alice", "teaching"]
    with pytest.raises(NotFoundError, match="teaching"):
        identity(alice, "crn:v1:bluemix:public:quantum-computing:us-east:a/bob:default::")


def test_a_token_may_be_given_as_its_hash(folder: Path) -> None:
    digest = hashlib.sha256(b"carol-1").hexdigest()
    (folder / "carol").write_text(f"sha256:{digest.upper()}\n")
    tokens = TokenFolder(folder)
    carol = found(tokens, "carol-1")
    assert carol is not None
    assert carol.id == "carol"
    assert found(tokens, f"sha256:{digest}") is None


def test_what_looks_like_a_hash_and_is_none_is_no_token(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    (folder / "carol").write_text("sha256:short\ncarol-2")
    tokens = TokenFolder(folder)
    assert found(tokens, "sha256:short") is None
    assert found(tokens, "carol-2") is not None
    assert "Line 1" in caplog.text


def test_a_token_of_two_accounts_is_the_first_ones_and_the_log_says_so(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "bob").write_text("alice-1")
    alice = found(TokenFolder(folder), "alice-1")
    assert alice is not None
    assert alice.id == "alice"
    assert "alice-1" not in caplog.text
    assert "bob" in caplog.text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[accounts.alice]\nrole = 'king'", "accounts.alice.role"),
        ("[accounts.alice]\nqeued = 3", "accounts.alice.qeued"),
        ("[accounts.alice]\nqueued = -1", "accounts.alice.queued"),
        ("[accounts.alice]\nseconds_per_day = inf", "accounts.alice.seconds_per_day"),
        ("[accounts.alice]\nweight = 0", "accounts.alice.weight"),
        ("[accounts.'a/b']", "accounts.a/b"),
        ("[accounts.alice]\ninstances = []", "accounts.alice.instances"),
        ("[[accounts.a.instances]]\nname = 'x'\n[[accounts.a.instances]]\nname = 'x'", "two instances are called 'x'"),
        ("[accounts.alice\nrole", "line 1"),
        ("[limits]", "limits"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_the_place(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "accounts.toml").write_text(text)
    with pytest.raises(AccountsFileError) as refused:
        AccountsFile.read(tmp_path / "accounts.toml")
    assert "accounts.toml: " in str(refused.value)
    assert words in str(refused.value)


def test_a_slip_in_the_file_changes_nothing_and_locks_nobody_out(
    folder: Path, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    file = folder / "accounts.toml"
    file.write_text(FILE)
    tokens = TokenFolder(folder)
    file.write_text(FILE + "rubbish")
    clock[0] += 1.1
    alice = found(tokens, "alice-1")
    assert alice is not None
    assert alice.role is Role.ADMIN
    assert "accounts.toml: Expected" in caplog.text
    file.unlink()
    clock[0] += 1.1
    alice = found(tokens, "alice-1")
    assert alice is not None
    assert alice.role is Role.USER


def test_a_slip_in_the_file_stops_a_start_as_limits_and_admins_would_be_lost(folder: Path) -> None:
    (folder / "accounts.toml").write_text(FILE + "rubbish")
    with pytest.raises(StartupError, match=r"accounts\.toml: Expected"):
        TokenFolder(folder)


def test_a_slip_in_the_file_stops_no_start_if_what_it_said_before_is_known(folder: Path, clock: list[float]) -> None:
    (folder / "accounts.toml").write_text(FILE + "rubbish")
    tokens = TokenFolder(folder, before=FILE)
    alice = found(tokens, "alice-1")
    assert alice is not None
    assert alice.role is Role.ADMIN
    assert tokens.accounts_file() == FILE
    (folder / "accounts.toml").write_text("")
    clock[0] += 2
    alice = found(tokens, "alice-1")
    assert alice is not None
    assert (alice.role, tokens.accounts_file()) == (Role.USER, "")


def test_a_folder_that_cannot_be_read_stops_a_start(folder: Path) -> None:
    with pytest.raises(StartupError, match="cannot be read"):
        TokenFolder(folder / "alice")


def test_what_is_wrong_with_a_folder_is_found_before_its_users_find_it(folder: Path) -> None:
    (folder / "accounts.toml").write_text("[accounts.alice]\n[accounts.carol]\n")
    assert [problem.partition(":")[0] for problem in problems(folder)] == ["carol"]
    (folder / "bob").write_text("alice-1\nsha256:short\n")
    (folder / "dora").write_text("# nothing yet\n")
    (folder / "eve@uni").write_text("eve-1")
    (folder / "old").mkdir()
    (folder / ".hidden").write_text("x")
    (folder / "binary").write_bytes(b"\xff\xfe")
    found_now = sorted(problems(folder))
    assert [problem.partition(":")[0] for problem in found_now] == [
        "binary",
        "bob",
        "bob",
        "carol",
        "dora",
        "eve@uni",
        "old",
    ]
    assert not any(token in " ".join(found_now) for token in ("alice-1", "eve-1"))


def test_a_folder_that_is_gone_changes_nothing_until_it_is_back(
    folder: Path, clock: list[float], caplog: pytest.LogCaptureFixture
) -> None:
    tokens = TokenFolder(folder)
    away = folder.with_name("away")
    folder.rename(away)
    for _ in range(3):
        clock[0] += 1.1
        assert found(tokens, "alice-1") is not None
    assert len(caplog.records) == 1
    (away / "alice").unlink()
    away.rename(folder)
    clock[0] += 1.1
    assert found(tokens, "alice-1") is None
    assert found(tokens, "bob-1") is not None


def test_a_change_is_seen_although_size_and_time_of_the_file_stay_the_same(folder: Path, clock: list[float]) -> None:
    """File systems keep times in ticks: a file that was just written may change without its time doing so."""
    status = (folder / "bob").stat()
    tokens = TokenFolder(folder)
    with (folder / "bob").open("r+") as file:
        file.write("bob-2")
    os.utime(folder / "bob", ns=(status.st_atime_ns, status.st_mtime_ns))
    clock[0] += 1.1
    assert found(tokens, "bob-1") is None
    assert found(tokens, "bob-2") is not None


def mounted(folder: Path, version: str, **files: str) -> None:
    """Change a folder as the kubelet changes a mounted Secret: all files at once, by exchanging a link."""
    data = folder / f"..{version}"
    data.mkdir()
    for name, text in files.items():
        (data / name).write_text(text)
        # Secrets keep their times, and a revoked token is as long as its successor.
        os.utime(data / name, (1, 1))
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(Path("..data") / name)
    (folder / "..data_tmp").symlink_to(data.name)
    (folder / "..data_tmp").replace(folder / "..data")


def test_a_secret_that_the_kubelet_exchanges_is_seen(tmp_path: Path, clock: list[float]) -> None:
    mounted(tmp_path, "first", alice="alice-1", bob="bob-1")
    tokens = TokenFolder(tmp_path)
    assert found(tokens, "alice-1") is not None
    mounted(tmp_path, "second", alice="alice-2")
    clock[0] += 1.1
    assert found(tokens, "alice-1") is None
    assert found(tokens, "alice-2") is not None
    assert found(tokens, "bob-1") is None, "its link leads nowhere"


def command(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "qiskit_runtime_server", "accounts", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )


def test_a_folder_can_be_checked_before_a_server_reads_it(folder: Path) -> None:
    (folder / "accounts.toml").write_text(FILE + "[accounts.carol]\n")
    done = command(str(folder))
    lines = [line.split() for line in done.stdout.splitlines() if line.strip().startswith(("alice", "bob", "carol"))]
    assert lines == [
        ["alice", "admin", "1", "research", "self-hosted", "3", "2", "-", "-", "25"],
        ["alice", "admin", "1", "teaching", "open", "3", "2", "5", "600", "25"],
        ["bob", "user", "1", "default", "self-hosted", "1", "64", "100", "-", "25"],
        ["carol", "user", "0", "default", "self-hosted", "1", "64", "100", "-", "25"],
    ]
    assert done.returncode == 1
    assert "carol: it has no token" in done.stderr
    (folder / "carol").write_text("carol-1")
    right = command(str(folder))
    assert right.returncode == 0
    assert "warning" not in right.stderr
    (folder / "accounts.toml").write_text("[accounts.alice]\nqeued = 3")
    refused = command(str(folder))
    assert refused.returncode != 0
    assert refused.stderr.count("\n") == 1
    assert "accounts.alice.qeued" in refused.stderr
    assert "cannot be read" in command(str(folder / "nowhere")).stderr


def test_an_account_may_have_an_id_of_its_own_in_its_file(folder: Path) -> None:
    (folder / "accounts.toml").write_text(FILE)
    (folder / "alice").write_text("# id: 2026\n# of the course\nalice-1\n")
    tokens = TokenFolder(folder)
    alice = found(tokens, "alice-1")
    assert alice is not None
    assert (alice.id, alice.name, alice.role) == ("alice~2026", "alice", Role.ADMIN)
    assert alice.crn(alice.instances[0]).endswith(":a/alice:research::")
    assert tokens.named("alice") == tokens.account(alice.id) == alice
    assert tokens.account(AccountId("alice")) is None
    bob = found(tokens, "bob-1")
    assert bob is not None
    assert bob.id == bob.name == "bob"


@pytest.mark.parametrize("lines", ["# id:", "# id: a b", "#id: a~b", "# ID: 1\n# id: 2"])
def test_a_file_with_an_id_that_is_none_signs_nobody_in_as_the_one_without(folder: Path, lines: str) -> None:
    (folder / "alice").write_text(f"{lines}\nalice-1\n")
    assert found(TokenFolder(folder), "alice-1") is None
    assert [problem for problem in problems(folder) if problem.startswith("alice: its file names no id")]
