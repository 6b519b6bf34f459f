"""What a folder of tokens may say about its accounts beside their tokens: roles, shares, limits, instances."""

import re
import tomllib
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from qiskit_runtime_server.accounts.identity import DEFAULT_INSTANCE, Account, Instance
from qiskit_runtime_server.accounts.limits import AccountLimits
from qiskit_runtime_server.accounts.principal import LONGEST_NAME, IssuerName
from qiskit_runtime_server.accounts.teaching import Role, Teaching, fits
from qiskit_runtime_server.errors import AccountsFileError
from qiskit_runtime_server.jobs import AccountId, name_of
from qiskit_runtime_server.quantities import Bytes

FILE_NAME: Final = "accounts.toml"

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"
_NO_LIMITS: Final = {"role", "teaches", "instances", "name", "members", "account"}


def _unlimited(value: object) -> object:
    return None if value == "unlimited" else value


Name = Annotated[str, Field(pattern=f"^{_NAME}$", max_length=LONGEST_NAME)]
Member = Annotated[str, Field(pattern=f"^({'|'.join(IssuerName)}):.", max_length=512)]
Taught = Annotated[str, Field(pattern=rf"^({_NAME}\*?|\*)(:{_NAME})?$", max_length=2 * LONGEST_NAME + 2)]
Count = Annotated[Annotated[int, Field(ge=0, lt=2**31)] | None, BeforeValidator(_unlimited)]
Size = Annotated[Annotated[Bytes, Field(lt=2**63)] | None, BeforeValidator(_unlimited)]
Seconds = Annotated[Annotated[float, Field(ge=0, allow_inf_nan=False)] | None, BeforeValidator(_unlimited)]
SomeSeconds = Annotated[Annotated[float, Field(gt=0, allow_inf_nan=False)] | None, BeforeValidator(_unlimited)]


class _Section(BaseModel):
    """What can be set for an instance, and for all of them further up; what is not set is taken from there."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plan: Name = DEFAULT_INSTANCE.plan
    queued: Count = None
    seconds_per_day: Seconds = None
    seconds_per_job: SomeSeconds = None
    qubits: Count = None


class _Defaults(_Section):
    weight: Annotated[int, Field(ge=1, le=1000)] = 1
    running: Count = None
    stored_bytes: Size = None
    sessions: Count = None


class _InstanceSection(_Section):
    name: Name


class _PersonalSection(_Defaults):
    """What can be said of an account or a group, and not of all of them."""

    role: Role = Role.USER
    teaches: tuple[Taught, ...] = ()

    @model_validator(mode="after")
    def _have_teachers_teach(self) -> Self:
        if self.role is Role.TEACHER and not self.teaches:
            raise ValueError("a teacher teaches somebody: say whom with `teaches`")
        return self


class _AccountSection(_PersonalSection):
    instances: Annotated[tuple[_InstanceSection, ...], Field(min_length=1)] = (
        _InstanceSection(name=DEFAULT_INSTANCE.name),
    )

    @model_validator(mode="after")
    def _name_each_once(self) -> "_AccountSection":
        names = [instance.name for instance in self.instances]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two instances are called {min(twice)!r}")
        return self


class _GroupSection(_PersonalSection):
    """What people get whom an issuer says to be in one of `members`: an instance called like the group.

    With `account`, they share that account, and all that is said of it.
    """

    members: Annotated[tuple[Member, ...], Field(min_length=1)]
    account: Name | None = None

    @model_validator(mode="after")
    def _leave_shared_accounts_alone(self) -> "_GroupSection":
        if self.account is not None and (more := self.model_fields_set - {"members", "account"}):
            raise ValueError(f"say {min(more)!r} of the account {self.account!r}, which they share")
        return self

    def among(self, groups: Collection[str]) -> set[str]:
        """Return those of the groups whose people are members."""
        return {group for group in groups if any(fits(group, member) for member in self.members)}


class AccountsFile(BaseModel):
    """The content of the file; without one, all accounts are users with the limits that are by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    defaults: _Defaults = _Defaults()
    accounts: dict[Name, _AccountSection] = {}
    groups: dict[Name, _GroupSection] = {}

    @classmethod
    def read(cls, path: Path) -> "AccountsFile":
        """Return what a file says.

        Raises:
            AccountsFileError: If it cannot be read or makes no sense; the message says where.
        """
        return cls.parse(text_of(path), str(path))

    @classmethod
    def parse(cls, text: str, source: str) -> "AccountsFile":
        """Return what a text says, which comes from `source`; errors as those of `read`."""
        try:
            return cls.model_validate(tomllib.loads(text))
        except ValidationError as error:
            problems = (f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors())
            raise AccountsFileError(f"{source}: {'; '.join(problems)}") from error
        except ValueError as error:
            raise AccountsFileError(f"{source}: {error}") from error

    def account(self, account_id: AccountId) -> Account:
        """Return an account, whether the file has a section for its name or not."""
        section = self.accounts.get(name_of(account_id), _AccountSection())
        return Account(
            id=account_id,
            **_standing([section]),
            instances=tuple(self._instance(section, instance) for instance in section.instances),
        )

    def outsider(self, account_id: AccountId, groups: Collection[str], ids: Mapping[str, AccountId]) -> Account | None:
        """Return the account of somebody whom an issuer vouches for; None if they may not use the server.

        Their own section counts first. Else, if there are groups, they have to be in one: the first one says whether
        they share an account, and all others give an instance each. Any of them makes admins.

        Args:
            account_id: Of an account of their own.
            groups: Theirs, each behind the issuer's name and a colon.
            ids: Of accounts that have one beside their name.
        """
        if name_of(account_id) in self.accounts or not self.groups:
            return self.account(account_id)
        joined = [(label, group) for label, group in self.groups.items() if group.among(groups)]
        if not joined:
            return None
        if (shared := joined[0][1].account) is not None:
            return self.account(ids.get(shared, AccountId(shared)))
        return self._of_groups(account_id, [(label, group) for label, group in joined if group.account is None])

    def any_outsider(self, account_id: AccountId) -> Account | None:
        """Return an account as if its owner were in all groups: for jobs, whose instance says in which they were."""
        if name_of(account_id) in self.accounts or not self.groups:
            return self.account(account_id)
        own = [(label, group) for label, group in self.groups.items() if group.account is None]
        return self._of_groups(account_id, own) if own else None

    def telling(self, groups: Collection[str]) -> tuple[str, ...]:
        """Return those of the groups that say something here."""
        return tuple(sorted(set().union(*(group.among(groups) for group in self.groups.values()))))

    def plans_of_outsiders(self) -> set[str]:
        """Return the plans that those have whom issuers vouch for."""
        accounts = [self.any_outsider(AccountId("")), *(self.account(AccountId(name)) for name in self.shared())]
        return {instance.plan for account in accounts if account is not None for instance in account.instances}

    def shared(self) -> set[str]:
        """Return the accounts that groups share."""
        return {group.account for group in self.groups.values() if group.account is not None}

    def _of_groups(self, account_id: AccountId, groups: "list[tuple[str, _GroupSection]]") -> Account:
        return Account(
            id=account_id,
            **_standing([group for _, group in groups]),
            instances=tuple(self._instance(group, _InstanceSection(name=label)) for label, group in groups),
        )

    def _instance(self, account: _AccountSection | _GroupSection, instance: _InstanceSection) -> Instance:
        given: dict[str, Any] = {}
        for section in (self.defaults, account, instance):
            given |= section.model_dump(exclude_unset=True, exclude=_NO_LIMITS)
        plan = given.pop("plan", DEFAULT_INSTANCE.plan)
        return Instance(name=instance.name, plan=plan, limits=AccountLimits(**given))


def _standing(sections: Sequence[_PersonalSection]) -> dict[str, Any]:
    """Return role and classes of an account of which some sections speak: the highest role, and all that they teach."""
    teaching = Teaching(tuple(dict.fromkeys(entry for section in sections for entry in section.teaches)))
    admin = any(section.role is Role.ADMIN for section in sections)
    return {"role": Role.ADMIN if admin else Role.TEACHER if teaching else Role.USER, "teaching": teaching}


def text_of(path: Path) -> str:
    """Return the text of a file.

    Raises:
        AccountsFileError: If it cannot be read.
    """
    try:
        return path.read_text()
    except (OSError, ValueError) as error:
        raise AccountsFileError(f"{path}: {error}") from error


def is_account_name(name: str) -> bool:
    """Return whether a file of that name holds the tokens of an account."""
    return name != FILE_NAME and re.fullmatch(_NAME, name) is not None
