"""Every setting of the server; the only module that reads the environment.

Each field can be given as `QRS_<NAME>` or, where the command line has it, as an option, which wins. The reference page
is made from the docstrings.
"""

import logging
import os
from datetime import timedelta
from difflib import get_close_matches
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    SecretStr,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import NoDecode, SettingsConfigDict, SettingsError

from qiskit_runtime_server.auth_settings import AuthSettings
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.log.lines import LogFormat
from qiskit_runtime_server.quantities import Bytes, Duration, Period, WholeSeconds, Words, words_in

_PREFIX: Final = "QRS_"

# What a setting was called before; still read, with a warning.
_FORMER_NAMES: Final = {"QRS_MEMORY_BYTES": "QRS_MEMORY"}

# What the commands for people read; they say nothing to a server.
_OF_COMMANDS: Final = frozenset({"QRS_URL", "QRS_TOKEN"})

# Less than this is a slip: `QRS_RETAIN_BYTES=50` that should have been `50Gi` would remove nearly every job.
_LEAST_RETAINED_BYTES: Final = 2**20
_LEAST_RETAINED_TIME: Final = timedelta(minutes=1)

_ALIASES_EXAMPLE: Final = "class_device=fake_lima@aer"
_OPTIONS_EXAMPLE: Final = '{"custatevec": {"precision": "double"}}'

logger = logging.getLogger(__name__)


def _aliases(value: object) -> object:
    if not isinstance(value, str):
        return value
    found: dict[str, str] = {}
    for word in words_in(value):
        name, _, target = word.partition("=")
        if not name or not target:
            raise ValueError(f"{word!r} names no backend, as in {_ALIASES_EXAMPLE}")
        if name in found:
            raise ValueError(f"{name} is given twice")
        found[name] = target
    return found


def _enough_bytes(value: int) -> int:
    if value < _LEAST_RETAINED_BYTES:
        raise ValueError(f"{value} bytes are too few to keep jobs at all: give at least 1Mi, as in 50Gi")
    return value


def _long_enough(value: timedelta) -> timedelta:
    if value < _LEAST_RETAINED_TIME:
        raise ValueError(
            f"clients could not fetch results within {value.total_seconds():g} s: give at least 1m, as in 30d"
        )
    return value


def _networks(value: tuple[str, ...]) -> tuple[str, ...]:
    for word in value:
        try:
            ip_network(word)
        except ValueError as error:
            raise ValueError(f"{word!r} is no address or network, as in 10.244.0.0/16: {error}") from error
    return value


class Settings(AuthSettings):
    """What can be set."""

    model_config = SettingsConfigDict(env_prefix=_PREFIX, extra="forbid", frozen=True, use_attribute_docstrings=True)

    host: str = "127.0.0.1"
    """Address to listen on."""

    port: Annotated[int, Field(ge=0, le=65535)] = 8000
    """Port to listen on; 0 picks a free one, which the start-up banner names."""

    max_connections: Annotated[int, Field(ge=1)] = 2048
    """How many connections of clients there may be, within half of the descriptors that the process may have.

    Where one more comes, the one that has been without a request for longest is closed; where each has one, that whose
    client has not sent or read more of it for longest. First go those of an address that has more than a quarter.
    """

    max_connections_each: Annotated[int, Field(ge=1)] | None = None
    """How many of them one address, or network of IPv6 (/64), may have at all; leave it out behind a proxy.

    A proxy or an ingress is one address, as is a classroom behind a router. Without it, no address keeps others out.
    """

    trusted_proxies: Annotated[Words, AfterValidator(_networks)] = ()
    """Addresses and networks of proxies whose `X-Forwarded-For` says where a request comes from.

    As in `10.244.0.0/16`, separated by blanks or commas. The audit stream names that address, and sign-ins that fail
    count for it. Only those that set the header themselves, for others could write in it what they like.
    """

    tls_certificate: Path | None = None
    """PEM file with the server's certificate, and then those that signed it; with `QRS_TLS_KEY`, clients use `https`.

    An executor service with them is called by `https`, too: `QRS_EXECUTORS=NAME=https://HOST:PORT`. All
    files with certificates are read again when they change, within half a minute. The internal port stays plain HTTP.
    """

    tls_key: Path | None = None
    """PEM file with the private key of `QRS_TLS_CERTIFICATE`, without a passphrase."""

    tls_client_ca: Path | None = None
    """PEM file with the authorities that sign the certificates of apis, for an executor service: others are refused.

    Probes, which show no certificate, find `/health/live` and `/health/ready` on its internal port. Clients of an api
    are not asked for certificates.
    """

    internal_port: Annotated[int, Field(ge=0, le=65535)] | None = None
    """Port for the cluster around the server, never for its clients: metrics, and on an api the load of its executors.

    Without it, neither is served; 0 picks a free one, which the start-up banner names.
    """

    load_key: Annotated[SecretStr, Field(min_length=1)] | None = None
    """Bearer token with which the operator and autoscalers read `/internal/load`; without it nobody can."""

    load_key_also: Annotated[SecretStr, Field(min_length=1)] | None = None
    """A second one that is accepted, while one takes the other's place."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Least severe log level that is written."""

    log_format: LogFormat = "text"
    """How the log is written: `text`, or `json`, which is one object a line."""

    api_docs: bool = True
    """Whether the REST API is described at `/docs` and `/openapi.json`, to anybody."""

    console: bool = True
    """Whether there are pages for people at `/ui`, where they see jobs and devices; they sign in with a token."""

    data_dir: Path = Path.home() / ".local" / "share" / "qiskit-runtime-server"
    """Folder of the embedded database; one server at a time, not on a network file system."""

    data_dir_wait: Duration = timedelta(0)
    """How long another server may take to leave the data folder before the start fails, as a pod that is replaced."""

    keep_free: Bytes = 256 * 1024 * 1024
    """How much room new jobs leave on the disk of the data folder, as in `1Gi`: past it they are answered 503.

    Results may use three quarters of it; the rest is for cancelling, deleting and retention, which make room.
    """

    database_url: SecretStr | None = None
    """Database for servers that work side by side, in place of the embedded one.

    As in `postgresql://user:password@host/name?sslmode=verify-full`; of several hosts (`a:5432,b:5432`), the one that
    takes writes is used.
    """

    database_url_file: Path | None = None
    """File that holds the database's URL; it is read for each connection, so another password needs no restart."""

    database_direct_url: SecretStr | None = None
    """URL of the same database past a connection pooler, for notifications and migrations; by default the one above."""

    database_direct_url_file: Path | None = None
    """File that holds the URL past a pooler, read like the one above."""

    database_prepared_statements: bool = True
    """Whether to use prepared statements; off behind a pooler in transaction mode, such as PgBouncer."""

    executors: Annotated[Words, Field(min_length=1)] = ("aer",)
    """Executors to offer, separated by blanks or commas.

    `NAME` or `NAME=SLOTS` has slots of this process. `NAME=URL` is an executor service; its host may stand for several.
    """

    on_demand: Words = ()
    """Executor services that something starts when jobs wait for them, as the operator's `autoscale` or KEDA does.

    Their backends are online while none is up; those of others are paused once none has been up for a minute.
    """

    default_executor: str | None = None
    """Executor on which devices have their plain name, too, so that scripts with a fixed name run as they are.

    With `aer`, `fake_torino` is a backend beside `fake_torino@aer`, and so is a snapshot called `ibm_torino`.
    """

    auto: Annotated[Words, Field(min_length=1)] = ("*",)
    """Executors among which the server chooses for jobs sent to `DEVICE@auto`, the preferred one first; `*` is all.

    By default `@auto` is offered where there are several, in the order of `QRS_EXECUTORS`. Where a job would be done at
    about the same time, the one that is named first gets it. `off` offers none.
    """

    aliases: Annotated[dict[str, str], NoDecode, BeforeValidator(_aliases)] = Field(default_factory=dict)
    """Further names of backends, as in `class_device=fake_lima@aer`, separated by blanks or commas.

    Listings show them beside the others, and jobs are sent to them like to any backend. An alias that stands for
    nothing, or is the name of a device, is refused when the server starts.
    """

    confine_workers: bool = True
    """Whether simulations run without access to files of others, to the network and to other processes (Linux).

    Turn it off only for an executor that cannot do without.
    """

    share_workers: bool | None = None
    """Whether a worker process goes from one account's job to another's; by default only on a GPU.

    Where it does not, code that one account got to run finds nothing of another's. Each account has workers of its own,
    which are kept, paused, until its next job, for ten minutes and as far as there is memory: one for each 512 MiB that
    a slot may use, at most 32. An account without one gets a new one, which prepares a device, such as its noise, anew:
    a tenth of a second of a core, but some seconds on a GPU.
    """

    executor_options: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Options of executors, by their names, as JSON: `{"custatevec": {"precision": "double"}}`.

    On every executor, `method`, `approximation` and `max_truncation_error` are what jobs get that have no option
    `simulator.` of that name: `{"aer": {"approximation": "none"}}`.
    """

    tokens: Path | None = None
    """Folder with one file per account: its name is the account, each of its lines a token or `sha256:` and its hash.

    `accounts.toml` in it says more: roles, instances, shares and limits. Re-read when something changes.
    """

    sign_in_failures_per_minute: Annotated[int, Field(ge=0)] = 60
    """How many sign-ins may fail in a minute from one address, and with tokens that begin alike; 0 is any number.

    Past it, what comes from there is answered 429, but for tokens that are right and either have 24 characters or more,
    which nobody guesses, or have been right on this api before. Of IPv6, a network (/64) counts as one address.
    """

    requests_per_minute: Annotated[int, Field(ge=0)] = 30_000
    """How many requests of one account an api takes in a minute before it answers 429; 0 is any number."""

    submissions_per_minute: Annotated[int, Field(ge=0)] = 6_000
    """How many jobs of one account an api takes in a minute before it answers 429; 0 is any number."""

    anonymous: bool = False
    """Accept any token; every token is an account of its own.

    On if no tokens are given and the server listens on loopback only.
    """

    allowed_hosts: Words = ()
    """Names by which clients may call the server, as in `quantum.example.org`, separated by blanks or commas.

    Addresses and `localhost` are always right. By default any name is, but not on a server that listens on loopback
    without a token folder: there a web page could pretend to be it (DNS rebinding). `*` stands for any.
    """

    signing_key: Annotated[SecretStr, Field(min_length=32)] | None = None
    """Key that signs access tokens, the same for all apis on a database; by default one is made in the data folder."""

    signing_key_also: Annotated[SecretStr, Field(min_length=32)] | None = None
    """A second key, whose access tokens are accepted: the one to come, then the former one, when the key is changed."""

    access_token_lifetime: Period = timedelta(hours=1)
    """How long a client may use an access token before it asks for the next; one that ends on its way is accepted."""

    backends: Annotated[Words, Field(min_length=1)] = ("*",)
    """Devices to offer: patterns of their names, as in `fake_*`, separated by blanks or commas."""

    chaos: Words = ()
    """Devices to offer with faults, too, for tests: patterns of their names; `fake_manila` as `chaos_fake_manila`."""

    chaos_faults: Words = ()
    """What happens on these devices where a job's tags do not say otherwise, as in `queue=1..5 run=2 fail=1305`."""

    chaos_prefix: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*_$")] = "chaos_"
    """What the names of devices with faults begin with; it ends with `_`, and devices of your own must not begin so."""

    chaos_seed: int = 0
    """What these faults are drawn from: with the same seed, the n-th job of an account meets the same."""

    snapshots: Path | None = None
    """Folder with devices of your own: a folder for each, with configuration.json and properties.json."""

    max_params_bytes: Bytes = 100 * 1024 * 1024
    """Largest request body that is accepted for a job."""

    max_held_bytes: Bytes = 512 * 1024 * 1024
    """How many bytes of params and results an api holds at a time, as in `512Mi`; they take up to twice that in memory.

    A quarter of it is for answers that clients have yet to read, which wait for room for 5 seconds before they are
    answered 503; those of one account get half of that. A long document counts for the 2 MiB of it that are in memory
    at a time. Of the rest, uploads, as they arrive, get three quarters, those of one account half: past that they are
    answered 503. Jobs and results inside wait for room. What is smaller than 64 KiB does not count.
    """

    retain_for: Annotated[Period, AfterValidator(_long_enough)] | None = None
    """How long jobs are kept after their end, with their params, results and logs; by default for good.

    As in `30d` or `12h`; at least a minute, so that clients can fetch their results.
    """

    retain_jobs: Annotated[int, Field(gt=0)] | None = None
    """How many ended jobs of each account are kept, the newest ones; by default all."""

    retain_bytes: Annotated[Bytes, AfterValidator(_enough_bytes)] | None = None
    """How much the params, results and logs of all ended jobs may take in the store, as in `20Gi`; by default all.

    Past it, the oldest jobs of the account that takes most go first. At least `1Mi`.
    """

    sweep_every: Period = timedelta(minutes=1)
    """How often ended jobs that are over one of the limits above are removed."""

    max_seconds: WholeSeconds = 3 * 60 * 60
    """How long a job may run: the most that it gets if it asks for more, and what holds if it does not ask."""

    short_job: Duration = timedelta(seconds=20)
    """How long a job may run in the slot that every executor with two slots or more keeps for short jobs.

    A job that takes longer goes back to the queue if all other slots have long jobs, and waits for one of these; with 0
    no slot is kept.
    """

    hold: Duration = timedelta(seconds=1)
    """A status call of a job that is younger than this is answered when the job ends; 0 answers every call at once.

    The call of a job that runs, and is expected to end before it is five times as old, waits for that.
    """

    session_max_ttl: Period = timedelta(hours=8)
    """How long a session lives after its first job has started, if it does not say."""

    session_interactive_ttl: Duration = timedelta(seconds=60)
    """How long a session stays active after its last job has ended."""

    lease: Period = timedelta(seconds=30)
    """How long an api that has fallen silent keeps its running jobs, before another api takes them over."""

    drain: Duration = timedelta(seconds=30)
    """How long running jobs may go on after SIGTERM; those that take longer go back to the queue.

    An api hands over the jobs of executor services at once.
    """

    memory: Bytes | None = None
    """Memory that all slots share, as in `8Gi`; without it what the machine or the container has, less a reserve."""

    slots: Annotated[int, Field(gt=0)] | None = None
    """How many jobs an executor service runs at a time; without it one for every four cores."""

    executor_ca: Path | None = None
    """PEM file with the authorities that an api trusts to sign the certificates of `https://` executor services.

    By default those of the system. A certificate has to be for the host that `QRS_EXECUTORS` names. What changes in the
    file holds within half a minute. When an authority is removed, all connections to executors begin anew; jobs go on.
    """

    executor_certificate: Path | None = None
    """PEM file with the certificate that an api shows to `https://` executor services, and then those that signed it.

    Executor services with `QRS_TLS_CLIENT_CA` ask for it.
    """

    executor_certificate_key: Path | None = None
    """PEM file with the private key of `QRS_EXECUTOR_CERTIFICATE`, without a passphrase."""

    executor_key: Annotated[SecretStr, Field(min_length=1)] | None = None
    """Key that apis and executor services share; an executor service that does not listen on loopback needs one."""

    executor_key_also: Annotated[SecretStr, Field(min_length=1)] | None = None
    """A second key that an executor service accepts: the one to come, then the former one, when the key is changed."""

    confirm_every: Period = timedelta(seconds=5)
    """How often an api tells an executor service that it still follows a job."""

    orphan_after: Period = timedelta(seconds=15)
    """How long an executor service hears nothing of a running job from any api before it calls the job orphaned."""

    orphan_kept: Period = timedelta(seconds=120)
    """How long an executor service keeps an orphaned job, and its result, for an api to take it up again."""

    @field_validator("load_key_also", "executor_key_also")
    @classmethod
    def _is_a_second_one(cls, key: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        """Refuse a second key without a first one: without a key, an executor service takes anybody's jobs."""
        first = str(info.field_name).removesuffix("_also")
        if key is not None and info.data.get(first) is None:
            raise ValueError(f"it is a second key: give the first one, {_PREFIX}{first.upper()}, too")
        return key

    @property
    def own_executors(self) -> list[str]:
        """The words of `executors` that ask for slots of this process."""
        return [word for word in self.executors if "://" not in word]

    @classmethod
    def load(cls, **given: Any) -> Self:
        """Return the settings: what is given, else what the environment says, else the defaults.

        Raises:
            StartupError: If one of them is unknown or makes no sense; the message names it.
        """
        given = {**_by_former_names(given), **given}
        _refuse_unknown()
        try:
            return cls(**given)
        except ValidationError as error:
            problems = (_problem(item["loc"], item["msg"]) for item in error.errors())
            raise StartupError("; ".join(problems)) from error
        except SettingsError as error:  # what should be JSON
            raise StartupError(f"{_PREFIX}EXECUTOR_OPTIONS is not JSON, as in {_OPTIONS_EXAMPLE}") from error


def variables() -> tuple[str, ...]:
    """Return the names of all variables that say a setting."""
    return tuple(f"{_PREFIX}{name.upper()}" for name in Settings.model_fields)


def _by_former_names(given: dict[str, Any]) -> dict[str, str]:
    """Return the settings that the environment says by a former name only, each with a warning."""
    environment = {name.upper(): value for name, value in os.environ.items()}
    found = {}
    for former, name in _FORMER_NAMES.items():
        field = name.removeprefix(_PREFIX).lower()
        if former in environment and name not in environment and field not in given:
            logger.warning("%s is now called %s; the former name will not be read for ever.", former, name)
            found[field] = environment[former]
    return found


def _refuse_unknown() -> None:
    known = {*variables(), *_FORMER_NAMES, *_OF_COMMANDS}
    for name in sorted(os.environ):
        if name.upper().startswith(_PREFIX) and name.upper() not in known:
            nearest = get_close_matches(name.upper(), variables(), n=2)
            hint = f": do you mean {' or '.join(nearest)}?" if nearest else ""
            raise StartupError(f"{name} is not a setting of the server{hint}")


def _problem(path: tuple[int | str, ...], message: str) -> str:
    return f"{_PREFIX}{'_'.join(map(str, path)).upper()}: {message.removeprefix('Value error, ')}"


def forget_secrets() -> None:
    """Remove the secrets from this process's environment, which processes that it starts inherit."""
    secrets = {
        f"{_PREFIX}{name.upper()}" for name, field in Settings.model_fields.items() if _is_secret(field.annotation)
    } | {"QRS_TOKEN"}
    for name in [name for name in os.environ if name.upper() in secrets]:
        del os.environ[name]


def _is_secret(annotation: object) -> bool:
    return annotation is SecretStr or any(map(_is_secret, get_args(annotation)))
