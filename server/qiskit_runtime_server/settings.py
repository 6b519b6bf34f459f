"""Every setting of the server; the only module that reads the environment.

Each field can be given as `QRS_<NAME>` or, where the command line has it, as an option, which wins. The reference page
is made from the docstrings.
"""

import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from qiskit_runtime_server.errors import StartupError


def _words(value: object) -> object:
    return tuple(value.replace(",", " ").split()) if isinstance(value, str) else value


def _seconds(value: object) -> object:
    with suppress(ValueError):
        return float(value) if isinstance(value, str) else value
    return value


def _bytes(value: object) -> object:
    match = re.fullmatch(r"(\d+) ?([KMGT])(i?)B?", value) if isinstance(value, str) else None
    if match is None:
        return value
    return int(match[1]) * (1024 if match[3] else 1000) ** ("KMGT".index(match[2]) + 1)


# Seconds, or ISO 8601 as in PT1M30S.
Duration = Annotated[timedelta, BeforeValidator(_seconds)]
# Separated by blanks or commas.
Words = Annotated[tuple[str, ...], NoDecode, BeforeValidator(_words)]


class Settings(BaseSettings):
    """What can be set."""

    model_config = SettingsConfigDict(env_prefix="QRS_", extra="ignore", frozen=True, use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address to listen on."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 picks a free one, which the start-up banner names."""

    internal_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Port for the cluster around the server, never for its clients: metrics, and on an api the load of its executors.

    Without it, neither is served; 0 picks a free one, which the start-up banner names.
    """

    load_key: Annotated[SecretStr, Field(min_length=1)] | None = None
    """Bearer token with which the operator and autoscalers read `/internal/load`; without it nobody can."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log level that is written."""

    api_docs: bool = True
    """Whether the REST API is described at `/docs` and `/openapi.json`, to anybody."""

    data_dir: Path = Path.home() / ".local" / "share" / "qiskit-runtime-server"
    """Folder of the embedded database; one server at a time, not on a network file system."""

    data_dir_wait: Duration = timedelta(0)
    """How long another server may take to leave the data folder before the start fails, as a pod that is replaced."""

    database_url: SecretStr | None = None
    """Database for servers that work side by side, in place of the embedded one.

    As in `postgresql://user:password@host/name?sslmode=verify-full`; of several hosts (`a:5432,b:5432`), the one that
    takes writes is used.
    """

    database_direct_url: SecretStr | None = None
    """URL of the same database past a connection pooler, for notifications and migrations; by default the one above."""

    database_prepared_statements: bool = True
    """Whether to use prepared statements; off behind a pooler in transaction mode, such as PgBouncer."""

    executors: Words = ("aer",)
    """Executors to offer, separated by blanks or commas.

    `NAME` or `NAME=SLOTS` has slots of this process. `NAME=URL` is an executor service; its host may stand for several.
    """

    default_executor: str | None = None
    """Executor on which devices have their plain name, too, so that scripts with a fixed name run as they are.

    With `aer`, `fake_torino` is a backend beside `fake_torino@aer`, and so is a snapshot called `ibm_torino`.
    """

    executor_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of executors, by their names, as JSON: `{"custatevec": {"precision": "double"}}`."""

    tokens: Path | None = None
    """Folder with one file per account: its name is the account, each of its lines a token or `sha256:` and its hash.

    `accounts.toml` in it says more: roles, instances, shares and limits. Re-read when something changes.
    """

    anonymous: bool = False
    """Accept any token; every token is an account of its own.

    On if no tokens are given and the server listens on loopback only.
    """

    signing_key: Annotated[SecretStr, Field(min_length=32)] | None = None
    """Key that signs access tokens, the same for all apis on a database; by default one is made in the data folder."""

    access_token_lifetime: Duration = timedelta(hours=1)
    """How long a client may use an access token before it asks for the next."""

    backends: Words = ("*",)
    """Devices to offer: patterns of their names, as in `fake_*`, separated by blanks or commas."""

    snapshots: Path | None = None
    """Folder with devices of your own: a folder for each, with configuration.json and properties.json."""

    max_params_bytes: Annotated[int, Field(gt=0)] = 100 * 1024 * 1024
    """Largest request body that is accepted for a job."""

    max_transit_bytes: Annotated[int, Field(gt=0), BeforeValidator(_bytes)] = 512 * 1024 * 1024
    """How many bytes of params and results an api holds at a time, as in `512Mi`; they take up to twice that in memory.

    Past it, new jobs are answered 503 before they are read, and those inside wait, as do results. What is smaller than
    64 KiB does not count, nor do downloads, which are sent while they are read.
    """

    retain_for: Duration | None = None
    """How long jobs are kept after their end, with their params, results and logs; by default for good."""

    retain_jobs: Annotated[int, Field(gt=0)] | None = None
    """How many ended jobs of each account are kept, the newest ones; by default all."""

    retain_bytes: Annotated[int, Field(gt=0), BeforeValidator(_bytes)] | None = None
    """How much the params, results and logs of all ended jobs may take in the store, as in `20Gi`; by default all.

    Past it, the oldest jobs of the account that takes most go first.
    """

    sweep_every: Duration = timedelta(minutes=1)
    """How often ended jobs that are over one of the limits above are removed."""

    max_seconds: Annotated[int, Field(gt=0)] = 3 * 60 * 60
    """How many seconds a job may run: the most that it gets if it asks for more, and what holds if it does not ask."""

    hold: Duration = timedelta(seconds=1)
    """A status call of a job that is younger than this is answered when the job ends; 0 answers every call at once."""

    session_max_ttl: Duration = timedelta(hours=8)
    """How long a session lives after its first job has started, if it does not say."""

    session_interactive_ttl: Duration = timedelta(seconds=60)
    """How long a session stays active after its last job has ended."""

    lease: Duration = timedelta(seconds=30)
    """How long an api that has fallen silent keeps its running jobs, before another api takes them over."""

    drain: Duration = timedelta(seconds=30)
    """How long running jobs may go on after SIGTERM; those that take longer go back to the queue.

    An api hands over the jobs of executor services at once.
    """

    memory_bytes: Annotated[int, Field(gt=0), BeforeValidator(_bytes)] | None = None
    """Memory that all slots share, as in `8Gi`; without it what the machine or the container has, less a reserve."""

    slots: Annotated[int, Field(gt=0)] | None = None
    """How many jobs an executor service runs at a time; without it one for every four cores."""

    executor_key: Annotated[SecretStr, Field(min_length=1)] | None = None
    """Key that apis and executor services share; an executor service that does not listen on loopback needs one."""

    confirm_every: Duration = timedelta(seconds=5)
    """How often an api tells an executor service that it still follows a job."""

    orphan_after: Duration = timedelta(seconds=15)
    """How long an executor service hears nothing of a running job from any api before it calls the job orphaned."""

    orphan_kept: Duration = timedelta(seconds=120)
    """How long an executor service keeps an orphaned job, and its result, for an api to take it up again."""

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Return the settings: what is given, else what the environment says, else the defaults.

        Raises:
            StartupError: If one of them makes no sense.
        """
        try:
            return cls(**given)
        except ValidationError as error:
            problems = (f"QRS_{'_'.join(map(str, item['loc'])).upper()}: {item['msg']}" for item in error.errors())
            raise StartupError("; ".join(problems)) from error
