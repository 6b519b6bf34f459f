"""Changes a folder of tokens, one command at a time, so that a server that reads it meanwhile sees whole files.

Tokens are made here and stored as hashes: whoever asked for them is told once.
"""

import csv
import fcntl
import io
import json
import os
import re
import secrets
import tempfile
import tomllib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from qiskit_runtime_server.accounts.file import FILE_NAME, AccountsFile, is_account_name
from qiskit_runtime_server.accounts.identity import fingerprint
from qiskit_runtime_server.accounts.principal import LONGEST_NAME, issuer_of_account
from qiskit_runtime_server.accounts.token_folder import DISABLED, HASHED, ID_LINE, disables, is_disabled, read_tokens
from qiskit_runtime_server.errors import AccountsFileError
from qiskit_runtime_server.jobs import AccountId

Sections = Mapping[str, Mapping[str, str]]

# The server passes over hidden files.
_LOCK: Final = ".lock"
_NAME_COLUMN: Final = "name"
_TOKEN_BYTES: Final = 24
_ID_BYTES: Final = 4
_OWNER_ONLY: Final = 0o600
_FOLDER_MODE: Final = 0o700
_NUMBER: Final = re.compile(r"\d+(\.\d+)?")


def read_class(path: Path) -> dict[str, dict[str, str]]:
    """Return the accounts of a CSV file and what it says of each, in its order.

    Its first line names the columns: `name`, and any key of an account's section in `accounts.toml`. Empty cells say
    nothing.

    Raises:
        AccountsFileError: If it cannot be read, has no column `name`, or names an account twice.
    """
    try:
        # What spreadsheets export begins with a byte order mark.
        reader = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8-sig")), skipinitialspace=True, strict=True)
        rows = list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise AccountsFileError(f"{path}: {error}") from error
    if _NAME_COLUMN not in (reader.fieldnames or ()):
        raise AccountsFileError(f"{path}: its first line has to name the columns, one of them {_NAME_COLUMN!r}.")
    accounts: dict[str, dict[str, str]] = {}
    for row in rows:
        if None in row:
            raise AccountsFileError(f"{path}: {row[_NAME_COLUMN]!r} has more cells than there are columns.")
        said = {column.strip(): (cell or "").strip() for column, cell in row.items()}
        name = said.pop(_NAME_COLUMN)
        if name in accounts:
            raise AccountsFileError(f"{path}: it names {name!r} twice.")
        accounts[name] = {key: value for key, value in said.items() if value}
    return accounts


def add(folder: Path, accounts: Sections) -> dict[str, str]:
    """Make accounts, each with a new token, and return the tokens by account; the folder is made if there is none.

    What is said of the accounts is appended to `accounts.toml` before their tokens work, so none is ever without its
    limits.

    Raises:
        AccountsFileError: If a name is none or has a file already, or if `accounts.toml` would make no sense; nothing
            has changed then. Also if the folder cannot be written.
    """
    with _writing(folder, make=True):
        for name in accounts:
            _check_name(name)
            if os.path.lexists(folder / name):
                raise AccountsFileError(f"There is an account {name!r} already; nothing was added.")
        if sections := {name: said for name, said in accounts.items() if said}:
            _append(folder / FILE_NAME, sections)
        # Whoever had the name before keeps what was his.
        return {name: _give(folder / name, keep=f"# id: {secrets.token_hex(_ID_BYTES)}\n") for name in accounts}


def ids(folder: Path, names: Collection[str]) -> dict[str, AccountId]:
    """Return the ids of accounts by their names.

    Raises:
        AccountsFileError: If one is not there, or its file makes no sense.
    """
    _check_there(folder, names)
    return {name: read_tokens(folder / name, _refuse).id for name in names}


def remove(folder: Path, names: Collection[str]) -> list[str]:
    """Remove accounts' tokens, and return those of the names that still have a section in `accounts.toml`.

    What `add` makes of such a name later is another account.

    Raises:
        AccountsFileError: If one is not there, and then nothing has changed; or if the folder cannot be written.
    """
    with _writing(folder):
        _check_there(folder, names)
        sections = _file(folder / FILE_NAME).accounts
        for name in names:
            (folder / name).unlink()
        return sorted(sections.keys() & set(names))


def add_token(folder: Path, name: str) -> str:
    """Return a further token of an account, whose others go on working; errors as those of `rotate`."""
    with _writing(folder):
        _check_there(folder, [name])
        _check_enabled(folder, [name])
        return _give(folder / name, keep=(folder / name).read_text())


def rotate(folder: Path, names: Collection[str]) -> dict[str, str]:
    """Give accounts a new token each in place of all that they had, and return these by account.

    Raises:
        AccountsFileError: If one is not there, and then nothing has changed; or if the folder cannot be written.
    """
    with _writing(folder):
        _check_there(folder, names)
        _check_enabled(folder, names)
        return {name: _give(folder / name, keep=_id_line(folder / name)) for name in names}


def disable(folder: Path, names: Collection[str]) -> None:
    """Let nobody sign in as these accounts until they are enabled again; their tokens, jobs and limits stay.

    Accounts of people whom an issuer vouches for get a file that says so.

    Raises:
        AccountsFileError: If one is not there, and then nothing has changed; or if the folder cannot be written.
    """
    with _writing(folder):
        _check_there(folder, [name for name in names if issuer_of_account(AccountId(name)) is None])
        for name in names:
            _check_name(name)
            lines = _lines(folder / name)
            kept = [f"{DISABLED} {line}" if line and not line.startswith("#") else line for line in lines]
            if not any(map(disables, kept)):
                kept.append(DISABLED)
            _replace(folder / name, "\n".join(kept) + "\n")


def enable(folder: Path, names: Collection[str]) -> None:
    """Have the tokens of disabled accounts work again; errors as those of `disable`, and if one is not disabled."""
    with _writing(folder):
        _check_there(folder, names)
        for name in names:
            if not is_disabled(folder / name):
                raise AccountsFileError(f"{name} is not disabled; nothing was changed.")
        for name in names:
            lines = [_enabled(line) for line in _lines(folder / name) if line != DISABLED]
            if any(lines):
                _replace(folder / name, "\n".join(lines) + "\n")
            else:
                (folder / name).unlink()


def hash_tokens(folder: Path) -> list[str]:
    """Put hashes in the place of tokens that the folder holds as plain text, and return whose they are.

    Raises:
        AccountsFileError: If the folder cannot be read or written.
    """
    with _writing(folder):
        changed = []
        for path in sorted(path for path in folder.iterdir() if is_account_name(path.name) and path.is_file()):
            lines = _lines(path)
            hashed = [_hashed(line) for line in lines]
            if hashed != lines:
                _replace(path, "\n".join(hashed) + "\n")
                changed.append(path.name)
        return changed


@contextmanager
def _writing(folder: Path, *, make: bool = False) -> Iterator[None]:
    """Keep other commands away from the folder; what cannot be written is said as an error of ours."""
    try:
        if make:
            folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        lock = os.open(folder / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _OWNER_ONLY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)
    except OSError as error:
        raise AccountsFileError(f"The token folder cannot be changed: {error}") from error
    except UnicodeDecodeError as error:
        raise AccountsFileError(f"The account's file is not text: {error}") from error


def _check_name(name: str) -> None:
    if not is_account_name(name) or len(name) > LONGEST_NAME:
        raise AccountsFileError(
            f"No account can be called {name!r}: names have at most {LONGEST_NAME} letters, digits, dots, underscores "
            f"and hyphens, the first a letter or a digit, and are not {FILE_NAME}."
        )


def _check_there(folder: Path, names: Collection[str]) -> None:
    for name in names:
        _check_name(name)
        if not (folder / name).is_file():
            raise AccountsFileError(f"There is no account {name!r} in {folder}; nothing was changed.")


def _refuse(problem: str) -> None:
    raise AccountsFileError(problem)


def _id_line(path: Path) -> str:
    """Return the line of an account's file that names its id, if there is one."""
    return "".join(f"{line.strip()}\n" for line in path.read_text().splitlines() if ID_LINE.match(line.strip()))


def _check_enabled(folder: Path, names: Collection[str]) -> None:
    for name in names:
        if is_disabled(folder / name):
            raise AccountsFileError(f"{name} is disabled: enable it first; nothing was changed.")


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in path.read_text().splitlines()] if path.exists() else []


def _enabled(line: str) -> str:
    return line.removeprefix(DISABLED).strip() if disables(line) else line


def _hashed(line: str) -> str:
    """Return a line of an account's file with a hash in the place of a plain token, also of a disabled one."""
    before, token = f"{DISABLED} " if disables(line) else "", _enabled(line)
    if not token or token.startswith((HASHED, "#")):
        return line
    return f"{before}{HASHED}{fingerprint(token)}"


def _give(path: Path, *, keep: str) -> str:
    token = secrets.token_hex(_TOKEN_BYTES)
    before = f"{keep.rstrip()}\n" if keep.strip() else ""
    _replace(path, f"{before}{HASHED}{fingerprint(token)}\n")
    return token


def _append(path: Path, sections: Sections) -> None:
    before = path.read_text() if path.exists() else ""
    separated = f"{before.rstrip()}\n\n" if before.strip() else ""
    _replace(path, separated + "\n\n".join(_section(name, said) for name, said in sections.items()) + "\n", check=True)


def _section(name: str, said: Mapping[str, str]) -> str:
    lines = (f"{json.dumps(key)} = {_value(value)}" for key, value in said.items())
    return "\n".join((f"[accounts.{json.dumps(name)}]", *lines))


def _value(text: str) -> str:
    return text if _NUMBER.fullmatch(text) else json.dumps(text)


def _file(path: Path) -> AccountsFile:
    return AccountsFile.read(path) if path.exists() else AccountsFile()


def _replace(path: Path, text: str, *, check: bool = False) -> None:
    """Put a file with this text in the place of another, if any, at once; only its owner, the folder's, can read it."""
    handle, name = tempfile.mkstemp(prefix=".", dir=path.parent)  # readable by its owner only
    written = Path(name)
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        if check:
            _demand_sense(path, text)
        if os.geteuid() == 0:
            owner = path.parent.stat()
            os.chown(written, owner.st_uid, owner.st_gid)
        written.replace(path)
    except BaseException:
        with suppress(FileNotFoundError):
            written.unlink()
        raise


def _demand_sense(path: Path, text: str) -> None:
    try:
        AccountsFile.model_validate(tomllib.loads(text))
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
        raise AccountsFileError(f"{path} would not be valid, so nothing was added: {'; '.join(problems)}") from error
    except tomllib.TOMLDecodeError as error:
        raise AccountsFileError(f"{path} would not be valid, so nothing was added: {error}") from error
