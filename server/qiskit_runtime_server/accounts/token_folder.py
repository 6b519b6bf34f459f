"""A folder of tokens, one file per account, such as a mounted Secret; looked at again and again."""

import logging
import re
import stat
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from qiskit_runtime_server.accounts.file import FILE_NAME, AccountsFile, is_account_name, text_of
from qiskit_runtime_server.accounts.identity import Account, Fingerprint, SignedIn, fingerprint
from qiskit_runtime_server.accounts.principal import IssuerName, Principal, issuer_of_account
from qiskit_runtime_server.accounts.teaching import Teaching
from qiskit_runtime_server.errors import AccountsFileError
from qiskit_runtime_server.jobs import AccountId, name_of

logger = logging.getLogger(__name__)

_RECHECK_SECONDS: Final = 1.0
# A file that was written less than this ago may be written again without a later time of modification.
_SETTLED_SECONDS: Final = 2.0
HASHED: Final = "sha256:"
"""What comes before the hash of a token."""

DISABLED: Final = "#disabled"
"""What a line begins with that disables an account; a token behind it is one again when the account is enabled.

A server that does not know of it takes the line for a comment, so that the token does not work there either.
"""

# What people think of themselves is shorter; of hexadecimal digits these are 96 bits.
_MOST_NAMES: Final = 3
_LONG_ENOUGH: Final = 24
_DROPPED: Final = "no account can be called so, or it is no file: it does not count."
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
ID_LINE: Final = re.compile(r"#\s*id:(.*)", re.IGNORECASE)
_OWN: Final = re.compile(r"[A-Za-z0-9._-]{1,63}")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountTokens:
    """What an account's file says.

    Attributes:
        tokens: None of an account that is disabled.
    """

    id: AccountId
    tokens: Sequence[Fingerprint] = ()
    disabled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Content:
    """What a folder was found to hold.

    Attributes:
        accounts: By token.
        by_name: Of those that have a token, or are disabled.
        ids: Of all that have a file, by name.
        disabled: Their names.
        said: The text of `accounts.toml` that is in force; empty if there is none.
        file: What it means.
    """

    accounts: Mapping[Fingerprint, Account] = field(default_factory=dict)
    by_name: Mapping[str, Account] = field(default_factory=dict)
    ids: Mapping[str, AccountId] = field(default_factory=dict)
    disabled: Collection[str] = ()
    plans: Collection[str] = ()
    said: str = ""
    file: AccountsFile = field(default_factory=AccountsFile)


class TokenFolder:
    """One file per account: the file's name is the account's, each line a token, or `sha256:` and its hash.

    A line `# id: …` tells the account from others that had its name before, and so gives its results to nobody who is
    given the name later, and a line `#disabled` lets nobody in. Blank lines and others that begin with # do not count.
    `accounts.toml` says more about the accounts. The folder is looked at again at most once a second, so that a token
    works, or stops working, within two seconds of the change. From the start on, a folder that cannot be read changes
    nothing, and while `accounts.toml` makes no sense, what it said before holds.

    Args:
        folder: Where it is.
        issuers: Who else vouches for users, whose accounts need no file.
        before: What `accounts.toml` said when it was valid last, to hold while it makes no sense.

    Raises:
        AccountsFileError: If the folder cannot be read, or `accounts.toml` makes no sense, when there is nothing before
            that could hold: without it nobody has a limit, and no admin is one.
    """

    def __init__(self, folder: Path, issuers: Collection[IssuerName] = (), *, before: str | None = None) -> None:
        self._folder = folder
        self._issuers = issuers
        self._checked = time.monotonic()
        seen = _names(folder)
        try:
            said = _said(folder, seen)
            file = _meant(folder, said)
        except AccountsFileError:
            if before is None:
                raise
            said, file = before, _meant(folder, before)
        self._content = _content(folder, seen, said, file)
        self._seen: object = seen if _settled(seen) else None

    def accounts_file(self) -> str:
        """Return the text of `accounts.toml` that is in force; empty if there is none."""
        self._recheck()
        return self._content.said

    def find(self, token: Fingerprint) -> Account | None:
        """Return the account that lists the token."""
        self._recheck()
        return self._content.accounts.get(token)

    def admit(self, principal: Principal) -> SignedIn | None:
        """Return somebody whom an issuer vouches for, if accounts.toml lets them in and the account is not disabled."""
        self._recheck()
        content, name = self._content, principal.account
        if principal.issuer not in self._issuers or name in content.disabled:
            return None
        account = content.file.outsider(content.ids.get(name, name), principal.groups, content.ids)
        if account is None or account.name in content.disabled:
            return None
        return SignedIn(account=account, principal=replace(principal, groups=content.file.telling(principal.groups)))

    def account(self, account_id: AccountId) -> Account | None:
        """Return the account, if it has a token, or is one of those whom an issuer vouches for."""
        name = name_of(account_id)
        account = self.named(name)
        allowed = account is not None and account.id == account_id and name not in self._content.disabled
        return account if allowed else None

    def named(self, name: str) -> Account | None:
        """Return the account that has the name now, if it has a token, is disabled, or is one of an issuer's people."""
        self._recheck()
        content = self._content
        account_id = content.ids.get(name, AccountId(name))
        if issuer_of_account(AccountId(name), self._issuers) is not None:
            return _both(content.by_name.get(name), content.file.any_outsider(account_id))
        if self._issuers and name in content.file.shared():
            return content.file.account(account_id)
        return content.by_name.get(name)

    def id_of(self, name: str) -> AccountId | None:
        """Return the id of that account, which is not made for it."""
        self._recheck()
        content = self._content
        if name in content.by_name:
            return content.by_name[name].id
        outside = issuer_of_account(AccountId(name), self._issuers) or (self._issuers and name in content.file.shared())
        return content.ids.get(name, AccountId(name)) if outside else None

    def plans(self) -> Collection[str]:
        """Return the plans of all instances."""
        self._recheck()
        return {*self._content.plans, *(self._content.file.plans_of_outsiders() if self._issuers else ())}

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
        if seen == self._seen:
            return
        try:
            said = _said(self._folder, seen)
            file = _meant(self._folder, said)
        except AccountsFileError as error:
            logger.error("%s; the accounts of its last valid state stay in force.", error)  # noqa: TRY400 - it says all
            said, file = self._content.said, self._content.file
        self._content = _content(self._folder, seen, said, file)
        self._seen = seen if _settled(seen) else None


def _both(known: Account | None, outsider: Account | None) -> Account | None:
    """Return the account of somebody who may have tokens here, and for whom an issuer may vouch: with all instances."""
    if known is None or outsider is None:
        return known or outsider
    names = {instance.name for instance in known.instances}
    others = (instance for instance in outsider.instances if instance.name not in names)
    return replace(known, instances=(*known.instances, *others))


def listed(folder: Path) -> list[tuple[Account, int]]:
    """Return the accounts that have a file or a section in `accounts.toml`, and how many tokens they have.

    Raises:
        AccountsFileError: If the folder cannot be read, or that file makes no sense.
    """
    names = _names(folder)
    file = _accounts_file(folder, names)
    found = {name: _warned(folder / name) for name in filter(is_account_name, names)}
    return [
        (file.account(one.id), len(set(one.tokens)))
        for name in sorted(file.accounts.keys() | found.keys())
        for one in [found.get(name, AccountTokens(id=AccountId(name)))]
    ]


def problems(folder: Path) -> list[str]:
    """Return what keeps somebody out, or was surely not meant: a line each, which begins with the name.

    Errors as those of `listed`.
    """
    found = [f"{name}: {_DROPPED}" for name in _dropped(folder)]
    owners: dict[Fingerprint, str] = {}
    names = _names(folder)
    for name in filter(is_account_name, names):
        reports: list[str] = []
        read = read_tokens(folder / name, reports.append)
        tokens = read.tokens
        if not tokens and not reports and not read.disabled:
            reports.append(f"{name}: it has no token, so nobody can use it.")
        twice = sorted({owners.setdefault(token, name) for token in tokens} - {name})
        found += reports
        found += [
            f"{name}: it has a token that is one of {owner} too, and is taken for the latter's." for owner in twice
        ]
    file = _accounts_file(folder, names)
    needless = {name for name in file.accounts if issuer_of_account(AccountId(name))} | file.shared()
    missing = sorted(file.accounts.keys() - names.keys() - needless)
    found += [f"{name}: it has no token, only a section in {FILE_NAME}, so nobody can use it." for name in missing]
    for label, section in (*file.accounts.items(), *file.groups.items()):
        taught = (Teaching(section.teaches).names() - names.keys()) - file.shared()
        found += [
            f"{label}: it teaches {name}, but there is no account of that name."
            for name in sorted(taught)
            if issuer_of_account(AccountId(name)) is None
        ]
    return found


def disables(line: str) -> bool:
    """Return whether a line of an account's file disables it."""
    return line.split(maxsplit=1)[:1] == [DISABLED]


def is_disabled(path: Path) -> bool:
    """Return whether the file of an account disables it; one that cannot be read does not."""
    try:
        return any(map(disables, path.read_text().splitlines()))
    except (OSError, UnicodeDecodeError):
        return False


def advice(folder: Path) -> list[str]:
    """Return what could be safer: a line for all of whom the same is to be said, which begins with the first names.

    Errors as those of `listed`.
    """
    found: dict[str, list[str]] = {}
    for name in filter(is_account_name, _names(folder)):
        plain = _plain_tokens(folder / name)
        if plain:
            short = ", and short enough to be guessed" if min(map(len, plain)) < _LONG_ENOUGH else ""
            what = "1 token is" if len(plain) == 1 else f"{len(plain)} tokens are"
            found.setdefault(f"{what} kept as plain text{short}.", []).append(name)
    return [f"{_some_of(names)}: {'of each, ' if names[1:] else ''}{said}" for said, names in found.items()]


def _some_of(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


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


def _names(folder: Path) -> dict[str, _Status]:
    try:
        return dict(_files(folder))
    except OSError as error:
        raise AccountsFileError(f"The token folder cannot be read: {error}") from error


def _dropped(folder: Path) -> Iterator[str]:
    """Yield the names in the folder that do not count, but for hidden ones, of which mounted Secrets have some."""
    counted = _names(folder).keys()
    return (path.name for path in sorted(folder.iterdir()) if path.name not in counted and path.name[0] != ".")


def _said(folder: Path, names: Collection[str]) -> str:
    return text_of(folder / FILE_NAME) if FILE_NAME in names else ""


def _meant(folder: Path, said: str) -> AccountsFile:
    return AccountsFile.parse(said, str(folder / FILE_NAME))


def _accounts_file(folder: Path, names: Collection[str]) -> AccountsFile:
    return _meant(folder, _said(folder, names))


def _content(folder: Path, names: Collection[str], said: str, file: AccountsFile) -> _Content:
    accounts: dict[Fingerprint, Account] = {}
    by_name: dict[str, Account] = {}
    found = {name: _warned(folder / name) for name in filter(is_account_name, names)}
    for name, read in found.items():
        account = file.account(read.id)
        if read.tokens or read.disabled:
            by_name[name] = account
        for token in read.tokens:
            if (owner := accounts.setdefault(token, account)) is not account:
                logger.warning("Accounts %s and %s have the same token, which signs in the latter.", name, owner.name)
    plans = {instance.plan for account in accounts.values() for instance in account.instances}
    return _Content(
        accounts=accounts,
        by_name=by_name,
        ids={name: read.id for name, read in found.items()},
        disabled={name for name, read in found.items() if read.disabled},
        plans=plans,
        said=said,
        file=file,
    )


def _plain_tokens(path: Path) -> list[str]:
    """Return the tokens that a file holds as they are; none of one that cannot be read, which others report."""
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError):
        return []
    return [line for line in lines if line and not line.startswith((HASHED, "#"))]


def _warned(path: Path) -> AccountTokens:
    """Return what a file says, without tokens if it cannot be read, which must not lock everybody else out."""
    return read_tokens(path, lambda problem: logger.warning("Account %s", problem))


def read_tokens(path: Path, report: Callable[[str], None]) -> AccountTokens:
    """Return what an account's file says, and report what is wrong; the report begins with the account's name.

    A file with an id that is none gives no token: without the id, they would open what others have left.
    """
    name, tokens, own = path.name, [], []
    try:
        lines = [line.strip() for line in path.read_text().splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        report(f"{name}: its file cannot be read, so its tokens do not work: {error}")
        return AccountTokens(id=AccountId(name))
    for number, line in enumerate(lines, start=1):
        if said := ID_LINE.match(line):
            own.append(said[1].strip())
        elif not line.startswith(HASHED):
            if line and not line.startswith("#"):
                tokens.append(fingerprint(line))
        elif _DIGEST.fullmatch(digest := line.removeprefix(HASHED).strip().lower()):
            tokens.append(Fingerprint(digest))
        else:
            report(f"{name}: Line {number} of its file is no SHA-256 in hexadecimal, so it is no token.")
    if len(own) > 1 or not all(map(_OWN.fullmatch, own)):
        report(f"{name}: its file names no id, but {', '.join(map(repr, own))}, so its tokens do not work.")
        return AccountTokens(id=AccountId(name))
    disabled = any(map(disables, lines))
    return AccountTokens(id=AccountId("~".join([name, *own])), tokens=() if disabled else tokens, disabled=disabled)
