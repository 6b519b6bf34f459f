"""What a folder of tokens may say about its accounts beside their tokens: roles, shares, limits, instances."""

import re
import tomllib
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from qiskit_runtime_server.accounts.identity import DEFAULT_INSTANCE, Account, Instance, Role
from qiskit_runtime_server.accounts.limits import AccountLimits
from qiskit_runtime_server.errors import AccountsFileError
from qiskit_runtime_server.jobs import AccountId, name_of
from qiskit_runtime_server.quantities import Bytes

FILE_NAME: Final = "accounts.toml"

_NAME: Final = r"[A-Za-z0-9][A-Za-z0-9._-]*"


def _unlimited(value: object) -> object:
    return None if value == "unlimited" else value


Name = Annotated[str, Field(pattern=f"^{_NAME}$", max_length=63)]
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


class _AccountSection(_Defaults):
    role: Role = Role.USER
    instances: Annotated[tuple[_InstanceSection, ...], Field(min_length=1)] = (
        _InstanceSection(name=DEFAULT_INSTANCE.name),
    )

    @model_validator(mode="after")
    def _name_each_once(self) -> "_AccountSection":
        names = [instance.name for instance in self.instances]
        if twice := {name for name in names if names.count(name) > 1}:
            raise ValueError(f"two instances are called {min(twice)!r}")
        return self


class AccountsFile(BaseModel):
    """The content of the file; without one, all accounts are users with the limits that are by default."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    defaults: _Defaults = _Defaults()
    accounts: dict[Name, _AccountSection] = {}

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
            role=section.role,
            instances=tuple(self._instance(section, instance) for instance in section.instances),
        )

    def _instance(self, account: _AccountSection, instance: _InstanceSection) -> Instance:
        given: dict[str, Any] = {}
        for section in (self.defaults, account, instance):
            given |= section.model_dump(exclude_unset=True, exclude={"role", "instances", "name"})
        plan = given.pop("plan", DEFAULT_INSTANCE.plan)
        return Instance(name=instance.name, plan=plan, limits=AccountLimits(**given))


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
