"""A folder of tokens, one file per account, such as a mounted Secret; looked at again and again."""

import logging
import re
import stat
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from qiskit_runtime_server.accounts.file import FILE_NAME, AccountsFile, is_account_name
from qiskit_runtime_server.accounts.identity import Account, Fingerprint, fingerprint
from qiskit_runtime_server.errors import AccountsFileError

logger = logging.getLogger(__name__)

_RECHECK_SECONDS = 1.0
# A file that was written less than this ago may be written again without a later time of modification.
_SETTLED_SECONDS = 2.0
_HASHED = "sha256:"
_DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What a folder was found to hold."""

    accounts: Mapping[Fingerprint, Account] = field(default_factory=dict)
    plans: Collection[str] = ()
    file: AccountsFile = field(default_factory=AccountsFile)


class TokenFolder:
    """One file per account: the file's name is the account's, each line a token, or `sha256:` and its hash.

    Blank lines and those that begin with # do not count. `accounts.toml` says more about the accounts; while it makes
    no sense, what it said before holds. The folder is looked at again at most once a second, so that a token works, or
    stops working, within two seconds of the change. A folder that cannot be read changes nothing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._content = _Content()
        self._seen: object = None
        self._checked = time.monotonic()
        self._refresh()

    def find(self, token: Fingerprint) -> Account | None:
        """Return the account that lists the token."""
        self._recheck()
        return self._content.accounts.get(token)

    def plans(self) -> Collection[str]:
        """Return the plans of all instances."""
        self._recheck()
        return self._content.plans

    def _recheck(self) -> None:
        if time.monotonic() - self._checked >= _RECHECK_SECONDS:
            self._checked = time.monotonic()
            self._refresh()

    def _refresh(self) -> None:
        try:
            seen = dict(_files(self._folder))
        except OSError as error:
            if self._seen != str(error):
                logger.warning("The token folder cannot be read, so the accounts stay as they are: %s", error)
            self._seen = str(error)
            return
        if seen != self._seen:
            self._content = _content(self._folder, seen, self._content.file)
            self._seen = seen if _settled(seen) else None


def listed(folder: Path) -> list[tuple[Account, int]]:
    """Return the accounts that have a file or a section in `accounts.toml`, and how many tokens they have.

    Raises:
        AccountsFileError: If the folder cannot be read, or that file makes no sense.
    """
    try:
        names = dict(_files(folder))
    except OSError as error:
        raise AccountsFileError(f"The token folder cannot be read: {error}") from error
    file = AccountsFile.read(folder / FILE_NAME) if FILE_NAME in names else AccountsFile()
    tokens = {name: len(set(_fingerprints(folder / name))) for name in filter(is_account_name, names)}
    return [(file.account(name), tokens.get(name, 0)) for name in sorted(file.accounts.keys() | tokens.keys())]


_Status = tuple[int, int, int]


def _files(folder: Path) -> Iterator[tuple[str, _Status]]:
    """Yield the names that count, and what changes with the files; in a mounted Secret they are links."""
    for path in sorted(folder.iterdir()):
        if path.name != FILE_NAME and not is_account_name(path.name):
            continue
        with suppress(FileNotFoundError):  # Removed since the listing.
            status = path.stat()
            if stat.S_ISREG(status.st_mode):
                yield path.name, (status.st_mtime_ns, status.st_size, status.st_ino)


def _settled(seen: Mapping[str, _Status]) -> bool:
    newest = max((modified for modified, *_ in seen.values()), default=0)
    return time.time() - newest / 1e9 > _SETTLED_SECONDS


def _content(folder: Path, names: Collection[str], before: AccountsFile) -> _Content:
    file = _accounts_file(folder / FILE_NAME, before) if FILE_NAME in names else AccountsFile()
    accounts: dict[Fingerprint, Account] = {}
    for name in filter(is_account_name, names):
        account = file.account(name)
        for token in _fingerprints(folder / name):
            if (owner := accounts.setdefault(token, account)) is not account:
                logger.warning("A token of %s is one of %s too, and is taken for the latter's.", name, owner.id)
    plans = {instance.plan for account in accounts.values() for instance in account.instances}
    return _Content(accounts=accounts, plans=plans, file=file)


def _accounts_file(path: Path, before: AccountsFile) -> AccountsFile:
    """Return what a file says or, if it makes no sense, what it said before: a slip must lock nobody out."""
    try:
        return AccountsFile.read(path)
    except AccountsFileError as error:
        logger.error("%s; what it said before holds, which after a start is nothing.", error)  # noqa: TRY400 - it says all
        return before


def _fingerprints(path: Path) -> Iterator[Fingerprint]:
    """Yield the tokens in a file; none if it cannot be read, which must not lock everybody else out."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        logger.warning("The token file %s cannot be read, so its tokens do not work: %s", path, error)
        return
    for number, line in enumerate(lines, start=1):
        if not line.startswith(_HASHED):
            if line and not line.startswith("#"):
                yield fingerprint(line)
        elif _DIGEST.fullmatch(digest := line.removeprefix(_HASHED).strip().lower()):
            yield Fingerprint(digest)
        else:
            logger.warning("Line %d of %s is no SHA-256 in hexadecimal, so it is no token.", number, path)
