"""Folders of tokens are changed by commands: nothing is lost, nothing is half done, nobody else can read tokens."""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qiskit_runtime_server.accounts import editing
from qiskit_runtime_server.accounts.identity import fingerprint
from qiskit_runtime_server.accounts.token_folder import TokenFolder, advice, listed, problems
from qiskit_runtime_server.errors import AccountsFileError
from qiskit_runtime_server.jobs import name_of


def command(*arguments: object, columns: int = 80) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "qiskit_runtime_server", "accounts", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": str(columns)},
    )


def owner(folder: Path, token: str) -> str | None:
    account = TokenFolder(folder).find(fingerprint(token))
    return None if account is None else account.name


def test_a_token_that_is_made_works_and_stands_nowhere(tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    tokens = editing.add(folder, {"alice": {}, "bob": {}})
    assert {name: owner(folder, token) for name, token in tokens.items()} == {"alice": "alice", "bob": "bob"}
    assert tokens["alice"] not in (folder / "alice").read_text()
    assert problems(folder) == []


def test_only_the_owner_reads_what_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "tokens"
    before = os.umask(0)
    try:
        editing.add(folder, {"alice": {"role": "admin"}})
    finally:
        os.umask(before)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name: path.stat().st_mode & 0o777 for path in folder.iterdir()} == {
        ".lock": 0o600,
        "accounts.toml": 0o600,
        "alice": 0o600,
    }


def test_a_further_token_leaves_the_others_and_rotating_does_not(tmp_path: Path) -> None:
    first = editing.add(tmp_path, {"alice": {}})["alice"]
    second = editing.add_token(tmp_path, "alice")
    assert [owner(tmp_path, token) for token in (first, second)] == ["alice", "alice"]
    third = editing.rotate(tmp_path, ["alice"])["alice"]
    assert [owner(tmp_path, token) for token in (first, second, third)] == [None, None, "alice"]


@pytest.mark.parametrize(
    "name", ["alice", "accounts.toml", ".hidden", "a/b", "../up", "", "-x", "a b", "ä", "x" * 64, "a\n"]
)
def test_a_name_that_is_taken_or_none_changes_nothing(tmp_path: Path, name: str) -> None:
    editing.add(tmp_path, {"alice": {}})
    before = {path.name: path.read_text() for path in tmp_path.iterdir()}
    with pytest.raises(AccountsFileError, match=r"already|can be called"):
        editing.add(tmp_path, {"carol": {"qubits": "3"}, name: {}})
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == before


def test_what_is_unknown_cannot_be_changed(tmp_path: Path) -> None:
    token = editing.add(tmp_path, {"alice": {}})["alice"]
    with pytest.raises(AccountsFileError, match="no account 'bob'"):
        editing.rotate(tmp_path, ["alice", "bob"])
    with pytest.raises(AccountsFileError, match="no account 'bob'"):
        editing.remove(tmp_path, ["alice", "bob"])
    with pytest.raises(AccountsFileError, match="no account 'bob'"):
        editing.add_token(tmp_path, "bob")
    assert owner(tmp_path, token) == "alice"
    with pytest.raises(AccountsFileError, match="cannot be changed"):
        editing.rotate(tmp_path / "nowhere", ["alice"])


def test_columns_of_a_class_become_limits_behind_what_the_file_said(tmp_path: Path) -> None:
    (tmp_path / "accounts.toml").write_text("# ours\n[defaults]\nqubits = 9\n")
    table = tmp_path / "class.csv"
    table.write_text("name,role,seconds_per_day,qubits\nada,admin,,\nbob.b,,0.5,unlimited\ncy,,,\n", "utf-8-sig")
    editing.add(tmp_path, editing.read_class(table))
    accounts = {account.name: account for account, _ in listed(tmp_path)}
    limits = {name: account.instances[0].limits for name, account in accounts.items() if name != "class.csv"}
    assert {name: (own.seconds_per_day, own.qubits) for name, own in limits.items()} == {
        "ada": (None, 9),
        "bob.b": (0.5, None),
        "cy": (None, 9),
    }
    assert [str(accounts[name].role) for name in ("ada", "bob.b")] == ["admin", "user"]
    assert (tmp_path / "accounts.toml").read_text().startswith("# ours\n[defaults]\nqubits = 9\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("who\nalice\n", "its first line has to name the columns"),
        ("", "its first line has to name the columns"),
        ("name\nalice\nalice\n", "names 'alice' twice"),
        ("name\nalice,3\n", "more cells"),
        ("name,qbits\nalice,3\n", r"accounts\.alice\.qbits"),
        ("name,qubits\nalice,many\n", r"accounts\.alice\.qubits"),
        ('name,role\nalice,"admin""\n[defaults]"\n', r"accounts\.alice\.role"),
    ],
)
def test_a_table_that_makes_no_sense_adds_nobody(tmp_path: Path, text: str, message: str) -> None:
    table = tmp_path / "class.csv"
    table.write_text(text)
    folder = tmp_path / "tokens"
    with pytest.raises(AccountsFileError, match=message):
        editing.add(folder, editing.read_class(table))
    assert not folder.exists() or {path.name for path in folder.iterdir()} <= {".lock"}


def test_commands_at_the_same_time_lose_nothing(tmp_path: Path) -> None:
    editing.add(tmp_path, {"all": {}})

    def work(number: int) -> str:
        editing.add(tmp_path, {f"student-{number}": {"qubits": str(number)}})
        return editing.add_token(tmp_path, "all")

    with ThreadPoolExecutor(8) as threads:
        tokens = list(threads.map(work, range(40)))
    assert {owner(tmp_path, token) for token in tokens} == {"all"}
    qubits = {account.name: account.instances[0].limits.qubits for account, _ in listed(tmp_path)}
    assert qubits == {"all": None} | {f"student-{number}": number for number in range(40)}


def test_each_student_gets_a_cell_that_sets_what_the_client_reads(tmp_path: Path) -> None:
    table = tmp_path / "class.csv"
    table.write_text("name,qubits\nalice,5\nbob,\n")
    folder = tmp_path / "tokens"
    done = command("add", folder, "--csv", table, "--url", "http://class.test:8000")
    assert done.returncode == 0, done.stderr
    cells = [cell for cell in done.stdout.split("# ") if cell]
    assert [cell.splitlines()[0] for cell in cells] == ["alice", "bob"]
    for cell in cells:
        name, _, program = cell.partition("\n")
        printed = subprocess.run(
            [sys.executable, "-c", f"{program}\nprint(os.environ['QISKIT_IBM_TOKEN'], os.environ['IAM_URL'])"],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.split()
        assert owner(folder, printed[0]) == name
        assert printed[1] == "http://class.test:8000"
    again = command("add", folder, "--csv", table)
    assert (again.returncode, again.stdout) == (1, "")
    assert again.stderr.count("\n") == 1
    assert "already" in again.stderr


def test_a_class_is_listed_on_eighty_columns(tmp_path: Path) -> None:
    names = [f"student-with-a-name-{number}" for number in range(3)]
    everything = {"qubits": "20", "running": "2", "queued": "500", "seconds_per_day": "36000", "weight": "7"}
    editing.add(tmp_path, dict.fromkeys(names, everything))
    lines = command("list", tmp_path).stdout.splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line.split() for line in lines if line.strip().startswith("student")]
    assert rows == [[name, "user", "1", "7", "2", "500", "36000", "20"] for name in names]
    assert command(tmp_path).stdout.splitlines() == lines, "as it was called before"


def test_lists_and_tokens_are_printed_as_json_too(tmp_path: Path) -> None:
    (made,) = json.loads(command("add", tmp_path, "alice", "--json").stdout)
    assert owner(tmp_path, made["token"]) == made["account"] == "alice"
    (row,) = json.loads(command("list", tmp_path, "--json").stdout)
    assert row["account"] == "alice"
    assert row["qubits"] is None


def test_a_section_that_is_left_is_named(tmp_path: Path) -> None:
    editing.add(tmp_path, {"alice": {"qubits": "3"}, "bob": {}})
    done = command("remove", tmp_path, "alice", "bob")
    assert done.returncode == 0
    assert "alice: it still has a section" in done.stderr
    assert "bob" not in done.stderr
    assert command("list", tmp_path).returncode == 1


def test_a_name_that_is_given_anew_is_another_account_and_a_new_token_is_not(tmp_path: Path) -> None:
    first = editing.add(tmp_path, {"carol": {}})["carol"]
    before = editing.ids(tmp_path, ["carol"])["carol"]
    assert name_of(before) == "carol"
    rotated = editing.rotate(tmp_path, ["carol"])["carol"]
    further = editing.add_token(tmp_path, "carol")
    tokens = TokenFolder(tmp_path)
    assert [tokens.find(fingerprint(token)) for token in (first, rotated, further)] == [
        None,
        tokens.account(before),
        tokens.account(before),
    ]
    editing.remove(tmp_path, ["carol"])
    editing.add(tmp_path, {"carol": {}})
    after = editing.ids(tmp_path, ["carol"])["carol"]
    assert (name_of(after), after == before) == ("carol", False)
    tokens = TokenFolder(tmp_path)
    assert tokens.account(before) is None
    assert tokens.named("carol") == tokens.account(after)


def test_nothing_is_removed_where_a_server_cannot_be_told(tmp_path: Path) -> None:
    editing.add(tmp_path, {"carol": {}})
    done = command("remove", tmp_path, "carol", "--with-data", "--url", "http://127.0.0.1:9")
    assert done.returncode == 1
    assert "No server answers at" in done.stderr
    assert (tmp_path / "carol").exists()


def test_a_disabled_account_has_no_tokens_until_it_is_enabled(tmp_path: Path) -> None:
    tokens = editing.add(tmp_path, {"alice": {}, "bob": {}})
    (tmp_path / "alice").write_text(f"# since May\n{tokens['alice']}\n\nanother-token\n")
    before = (tmp_path / "alice").read_text()
    editing.disable(tmp_path, ["alice"])
    assert [owner(tmp_path, token) for token in (tokens["alice"], "another-token", tokens["bob"])] == [
        None,
        None,
        "bob",
    ]
    # Nor to a server that knows of no disabled accounts: there are comments only.
    assert {line[:1] for line in (tmp_path / "alice").read_text().splitlines()} <= {"#", ""}
    assert problems(tmp_path) == []
    for change in (editing.add_token, lambda folder, name: editing.rotate(folder, [name])):
        with pytest.raises(AccountsFileError, match="alice is disabled"):
            change(tmp_path, "alice")
    editing.disable(tmp_path, ["alice"])
    editing.enable(tmp_path, ["alice"])
    assert (tmp_path / "alice").read_text() == before
    with pytest.raises(AccountsFileError, match="alice is not disabled"):
        editing.enable(tmp_path, ["alice"])


def test_a_token_that_is_added_to_a_disabled_account_by_hand_does_not_work(tmp_path: Path) -> None:
    (tmp_path / "alice").write_text("#disabled\na-token\n")
    assert owner(tmp_path, "a-token") is None
    (tmp_path / "alice").write_text("#disabledness is a note\na-token\n")
    assert owner(tmp_path, "a-token") == "alice"


def test_accounts_that_are_not_there_cannot_be_disabled_unless_an_issuer_may_vouch_for_them(tmp_path: Path) -> None:
    with pytest.raises(AccountsFileError, match="no account 'alice'"):
        editing.disable(tmp_path, ["oidc.bob", "alice"])
    assert [path.name for path in tmp_path.iterdir() if path.name != ".lock"] == []
    editing.disable(tmp_path, ["oidc.bob", "k8s.lab.default", "hub.carol"])
    assert (tmp_path / "oidc.bob").read_text() == "#disabled\n"


def test_tokens_that_were_written_by_hand_are_hashed_and_go_on_working(tmp_path: Path) -> None:
    made = editing.add(tmp_path, {"carol": {}})
    (tmp_path / "alice").write_text("# since May\nalice-1\n\n  alice-2  \n")
    (tmp_path / "bob").write_text("#disabled bob-1\n")
    (tmp_path / "accounts.toml").write_text('[accounts.alice]\nrole = "admin"\n')
    assert advice(tmp_path) == ["alice: 2 tokens are kept as plain text, and short enough to be guessed."]
    assert editing.hash_tokens(tmp_path) == ["alice", "bob"]
    assert advice(tmp_path) == []
    assert editing.hash_tokens(tmp_path) == []
    text = "".join(path.read_text() for path in tmp_path.iterdir())
    assert not any(token in text for token in ("alice-1", "alice-2", "bob-1"))
    assert "# since May" in text
    editing.enable(tmp_path, ["bob"])
    tokens = ("alice-1", "alice-2", "bob-1", made["carol"])
    assert [owner(tmp_path, token) for token in tokens] == ["alice", "alice", "bob", "carol"]


def test_what_is_to_be_said_of_a_whole_class_is_one_line(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"student{number:02}").write_text(f"token {number}")
    (tmp_path / "teacher").write_text("0123456789abcdef01234567")
    plain = "1 token is kept as plain text"
    assert advice(tmp_path) == [
        f"student00, student01, student02 and 27 more: of each, {plain}, and short enough to be guessed.",
        f"teacher: {plain}.",
    ]


@pytest.mark.slow
def test_the_commands_disable_enable_and_hash(tmp_path: Path) -> None:
    (tmp_path / "alice").write_text("0123456789abcdef01234567")
    assert command("list", tmp_path).stderr == (
        "note: alice: 1 token is kept as plain text. `accounts hash` hashes them.\n"
    )
    assert command("hash", tmp_path).stderr == "alice: its tokens are hashes now.\n"
    assert command("disable", tmp_path, "alice").returncode == 0
    rows = json.loads(command("list", tmp_path, "--json").stdout)
    assert [(row["account"], row["tokens"], row["disabled"]) for row in rows] == [("alice", 0, True)]
    assert "disabled" in command("list", tmp_path).stdout
    assert command("enable", tmp_path, "alice").returncode == 0
    done = command("list", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert "disabled" not in done.stdout
    assert owner(tmp_path, "0123456789abcdef01234567") == "alice"


def test_without_a_client_of_kubernetes_new_accounts_are_a_manifest(tmp_path: Path) -> None:
    code = (
        "import sys, importlib.util as u; find = u.find_spec; "
        "u.find_spec = lambda name, *more: None if name == 'kubernetes' else find(name, *more); "
        "sys.modules['kubernetes'] = None; sys.argv[0] = 'qiskit-runtime-server'; "
        "from qiskit_runtime_server.__main__ import main; main()"
    )

    def said(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, "-c", code, "accounts", *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
        )

    done = said("add", "secret/labs/lab-tokens", "alice")
    assert done.returncode == 0, done.stderr
    manifest = json.loads(done.stdout)
    assert (manifest["kind"], manifest["metadata"]) == ("Secret", {"name": "lab-tokens", "namespace": "labs"})
    assert set(manifest["data"]) == {"alice"}
    assert "QISKIT_IBM_TOKEN" in done.stderr
    refused = said("rotate", "secret/lab-tokens", "alice")
    assert refused.returncode == 1
    assert '"qiskit-runtime-server[operator]"' in refused.stderr
