"""The command `accounts` on a Secret of a real API server."""

import json
import os
import subprocess
import sys
from base64 import b64decode, b64encode
from pathlib import Path

import pytest

from kit.kubernetes.client import KubernetesClient
from qiskit_runtime_server.accounts.identity import fingerprint
from qiskit_runtime_server.accounts.secret import folder_of, secret_name
from qiskit_runtime_server.accounts.token_folder import TokenFolder
from qiskit_runtime_server.errors import AccountsFileError


def command(kubernetes: KubernetesClient, *arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "qiskit_runtime_server", "accounts", *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "KUBECONFIG": str(kubernetes.kubeconfig)},
    )


def tokens_of(done: "subprocess.CompletedProcess[str]") -> dict[str, str]:
    assert done.returncode == 0, done.stderr
    return {item["account"]: item["token"] for item in json.loads(done.stdout)}


def owners(kubernetes: KubernetesClient, folder: Path, *tokens: str) -> list[str | None]:
    """Return whose the tokens are for a server that has the Secret mounted."""
    folder.mkdir(exist_ok=True)
    for path in folder.iterdir():
        path.unlink()
    for key, value in kubernetes.get("Secret", "lab-tokens")["data"].items():
        (folder / key).write_bytes(b64decode(value))
    known = TokenFolder(folder)
    return [account.name if (account := known.find(fingerprint(token))) else None for token in tokens]


def test_accounts_of_a_secret_are_made_changed_disabled_and_removed(
    kubernetes: KubernetesClient, tmp_path: Path
) -> None:
    folder, secret = tmp_path / "mounted", f"secret/{kubernetes.namespace}/lab-tokens"
    made = tokens_of(command(kubernetes, "add", secret, "alice", "bob", "--json"))
    assert owners(kubernetes, folder, made["alice"], made["bob"]) == ["alice", "bob"]
    # What others keep there stays.
    kubernetes.merge("Secret", "lab-tokens", {"data": {"accounts.toml": b64encode(b"[accounts.bob]\n").decode()}})
    rotated = tokens_of(command(kubernetes, "rotate", secret, "alice", "--json"))
    assert owners(kubernetes, folder, made["alice"], rotated["alice"], made["bob"]) == [None, "alice", "bob"]
    assert command(kubernetes, "disable", secret, "bob").returncode == 0
    assert owners(kubernetes, folder, made["bob"], rotated["alice"]) == [None, "alice"]
    rows = json.loads(command(kubernetes, "list", secret, "--json").stdout)
    assert {row["account"]: row["disabled"] for row in rows} == {"alice": False, "bob": True}
    assert command(kubernetes, "enable", secret, "bob").returncode == 0
    assert owners(kubernetes, folder, made["bob"]) == ["bob"]
    assert command(kubernetes, "remove", secret, "alice").returncode == 0
    assert sorted(kubernetes.get("Secret", "lab-tokens")["data"]) == ["accounts.toml", "bob"]


@pytest.mark.parametrize("action", ["rotate", "disable", "list"])
def test_a_secret_that_is_not_there_is_one_line(kubernetes: KubernetesClient, action: str) -> None:
    names = () if action == "list" else ("alice",)
    done = command(kubernetes, action, f"secret/{kubernetes.namespace}/missing", *names)
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert f"There is no Secret missing in the namespace {kubernetes.namespace}" in done.stderr


def test_what_somebody_else_has_changed_meanwhile_is_not_lost(
    kubernetes: KubernetesClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    # What KUBECONFIG says when the client is imported, which tests have done long ago.
    monkeypatch.setattr("kubernetes.config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubernetes.kubeconfig))
    monkeypatch.setattr("kubernetes.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION", str(kubernetes.kubeconfig))
    data = {"alice": b64encode(b"a").decode()}
    kubernetes.create({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "lab-tokens"}, "data": data})
    name = secret_name(Path(f"secret/{kubernetes.namespace}/lab-tokens"))
    assert name is not None

    def change() -> None:
        with folder_of(name) as folder:
            kubernetes.merge("Secret", "lab-tokens", {"data": {"bob": data["alice"]}})
            (folder / "carol").write_text("c")

    with pytest.raises(AccountsFileError, match="has been changed meanwhile"):
        change()
    assert sorted(kubernetes.get("Secret", "lab-tokens")["data"]) == ["alice", "bob"]
