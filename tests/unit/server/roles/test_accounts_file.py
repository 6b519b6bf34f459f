"""The last valid accounts.toml outlives a restart of the server, in its store."""

import asyncio
from pathlib import Path

import pytest

from qiskit_runtime_server.accounts.identity import fingerprint
from qiskit_runtime_server.accounts.teaching import Role
from qiskit_runtime_server.errors import AccountsFileError, StoreUnavailableError
from qiskit_runtime_server.roles import accounts_file
from qiskit_runtime_server.roles.accounts_file import keep_accounts_file, open_token_folder
from qiskit_runtime_server.store.memory.overviews import MemoryOverviews
from qiskit_runtime_server.store.memory.store import MemoryStore
from qiskit_runtime_server.waiting import cancelled

FILE = '[accounts.ada]\nrole = "admin"\n'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ada").write_text("token")
    (tmp_path / "accounts.toml").write_text(FILE)
    return tmp_path


async def kept_by_a_server(folder: Path, store: MemoryStore) -> None:
    tokens = await open_token_folder(folder, store.overviews)
    task = asyncio.create_task(keep_accounts_file(tokens, store.overviews))
    async with asyncio.timeout(20):
        while await store.overviews.kept_text("accounts.toml") is None:  # noqa: ASYNC110 - the store tells nobody
            await asyncio.sleep(0)
    await cancelled(task)


async def test_a_broken_file_leaves_the_limits_of_the_server_before_in_force_and_the_log_says_since_when(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore()
    await kept_by_a_server(folder, store)
    kept = await store.overviews.kept_text("accounts.toml")
    assert kept is not None
    (folder / "accounts.toml").write_text("role = admin")
    tokens = await open_token_folder(folder, store.overviews)
    account = tokens.find(fingerprint("token"))
    assert account is not None
    assert account.role is Role.ADMIN
    [line] = [record.getMessage() for record in caplog.records if record.name == accounts_file.__name__]
    assert "accounts.toml: Invalid value" in line
    assert kept.since.isoformat() in line


async def test_a_broken_file_stops_the_first_start_and_so_does_a_kept_one_that_makes_no_sense(folder: Path) -> None:
    store = MemoryStore()
    (folder / "accounts.toml").write_text("role = admin")
    with pytest.raises(AccountsFileError, match="Invalid value"):
        await open_token_folder(folder, store.overviews)
    await store.overviews.keep_text("accounts.toml", "[of_another_release]")
    with pytest.raises(AccountsFileError, match="Invalid value"):
        await open_token_folder(folder, store.overviews)


async def test_a_folder_that_is_gone_stops_a_start_whatever_is_kept(folder: Path) -> None:
    store = MemoryStore()
    await kept_by_a_server(folder, store)
    with pytest.raises(AccountsFileError, match="cannot be read"):
        await open_token_folder(folder / "gone", store.overviews)


async def test_a_file_is_kept_once_the_store_is_back(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store, tries = MemoryStore(), []
    keep = MemoryOverviews.keep_text

    async def seldom(self: MemoryOverviews, name: str, text: str) -> None:
        tries.append(text)
        if len(tries) == 1:
            raise StoreUnavailableError("away")
        await keep(self, name, text)

    monkeypatch.setattr(MemoryOverviews, "keep_text", seldom)
    monkeypatch.setattr(accounts_file, "_EVERY_SECONDS", 0.01)
    await kept_by_a_server(folder, store)
    assert tries == [FILE, FILE]
