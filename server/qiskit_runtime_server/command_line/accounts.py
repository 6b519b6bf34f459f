"""The commands `accounts …`, on a folder of tokens or a Kubernetes Secret of them; and `usage`, which asks a server."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from typer.core import TyperGroup

from qiskit_runtime_server.command_line.options import Json, ServerUrl, UsersToken
from qiskit_runtime_server.errors import AccountsFileError
from qiskit_runtime_server.shells import Format, setting

if TYPE_CHECKING:
    from qiskit_runtime_server.accounts.identity import Account


class ListsByDefault(TyperGroup):
    """Takes `accounts FOLDER` for `accounts list FOLDER`, which it was before there were other commands."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401 - click's, or typer's copy of it
        """Put `list` before a folder."""
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["list", *args]
        return super().parse_args(ctx, args)


accounts = typer.Typer(
    cls=ListsByDefault,
    no_args_is_help=True,
    help="Make, change and list the accounts of a folder or Secret of tokens; a running server follows by itself.",
)

Folder = Annotated[
    Path,
    typer.Argument(help="A folder of tokens, as for --tokens, or secret/NAME or secret/NAMESPACE/NAME in Kubernetes."),
]
Name = Annotated[str, typer.Argument(help="Name of the account.")]
Names = Annotated[list[str], typer.Argument(help="Names of accounts.")]
Url = Annotated[str, typer.Option(help="Where clients find the server.")]
Form = Annotated[
    Format, typer.Option("--format", help="The shell, program or file that the lines which connect a client are for.")
]

_URL: Final = "http://127.0.0.1:8000"


@accounts.command()
def add(  # noqa: PLR0913 - one parameter per option
    folder: Folder,
    names: Annotated[list[str] | None, typer.Argument(help="Names of accounts.")] = None,
    *,
    csv: Annotated[
        Path | None,
        typer.Option(
            help="CSV file with a column `name` and a line for each account; other columns are keys of accounts.toml, "
            "as in qubits."
        ),
    ] = None,
    url: Url = _URL,
    form: Form = Format.PYTHON,
    as_json: Json = False,
) -> None:
    """Make accounts with a token each, and print for each what connects its client. Tokens are shown only now."""
    from qiskit_runtime_server.accounts import editing  # noqa: PLC0415 - nothing heavy before a command is chosen

    wanted = editing.read_class(csv) if csv is not None else {}
    if twice := wanted.keys() & set(names or ()):
        raise AccountsFileError(f"{csv} names {min(twice)!r} already.")
    wanted |= {name: {} for name in names or ()}
    if not wanted:
        raise AccountsFileError("No account is named: give names, or --csv with a file that has a line for each.")
    with _opened(folder, make=True) as opened:
        tokens = editing.add(opened, wanted)
    _tell(tokens, url, form, as_json=as_json, beside=_as_manifest(folder))


@accounts.command()
def token(folder: Folder, name: Name, *, url: Url = _URL, form: Form = Format.PYTHON, as_json: Json = False) -> None:
    """Give an account a further token; those that it has go on working."""
    from qiskit_runtime_server.accounts import editing  # noqa: PLC0415 - as above

    with _opened(folder) as opened:
        tokens = {name: editing.add_token(opened, name)}
    _tell(tokens, url, form, as_json=as_json)


@accounts.command()
def rotate(folder: Folder, names: Names, *, url: Url = _URL, form: Form = Format.PYTHON, as_json: Json = False) -> None:
    """Give accounts a new token each; all that they had stop working."""
    from qiskit_runtime_server.accounts import editing  # noqa: PLC0415 - as above

    with _opened(folder) as opened:
        tokens = editing.rotate(opened, dict.fromkeys(names))
    _tell(tokens, url, form, as_json=as_json)


@accounts.command()
def remove(  # noqa: PLR0913 - one parameter per option
    folder: Folder,
    names: Names,
    *,
    end_jobs: Annotated[
        bool, typer.Option("--end-jobs", help="Also end their queued and running jobs on the server at --url.")
    ] = False,
    with_data: Annotated[
        bool, typer.Option("--with-data", help="Also end their jobs and delete all that they have on that server.")
    ] = False,
    url: ServerUrl = None,
    admin_token: Annotated[
        str | None,
        typer.Option(help="An admin's token for that server; by default QRS_TOKEN, else that of the client's account."),
    ] = None,
) -> None:
    """Remove accounts: their tokens stop working; whoever is given such a name later finds nothing of theirs."""
    from qiskit_runtime_server.accounts import editing  # noqa: PLC0415 - as above
    from qiskit_runtime_server.command_line.account_data import AdminCalls, wait_for_the_server  # noqa: PLC0415
    from qiskit_runtime_server.command_line.server import target  # noqa: PLC0415

    # A server that does not answer is told of before anything has changed.
    calls = AdminCalls(target(url, admin_token)) if end_jobs or with_data else None
    with _opened(folder) as opened:
        ids = editing.ids(opened, dict.fromkeys(names))
        left = editing.remove(opened, ids)
    for name in left:
        typer.echo(f"{name}: it still has a section in accounts.toml; remove that by hand.", err=True)
    if calls is None:
        return
    wait_for_the_server()
    for name, account in ids.items():
        if with_data:
            jobs, ended = calls.delete_data(account)
            typer.echo(f"{name}: {jobs} jobs are deleted; {ended} of them had not ended.")
        else:
            typer.echo(f"{name}: {calls.end_jobs(account)} jobs are ended.")


@accounts.command()
def disable(folder: Folder, names: Names) -> None:
    """Let nobody sign in as these accounts, with a token or by what an issuer says; `enable` takes it back."""
    from qiskit_runtime_server.accounts import editing  # noqa: PLC0415 - as above

    with _opened(folder) as opened:
        editing.disable(opened, dict.fromkeys(names))


@accounts.command()
def enable(folder: Folder, names: Names) -> None:
    """Have the tokens of disabled accounts work again."""
    from qiskit_runtime_server.accounts import editing  # noqa: PLC0415 - as above

    with _opened(folder) as opened:
        editing.enable(opened, dict.fromkeys(names))


@accounts.command("hash")
def hash_tokens(folder: Folder) -> None:
    """Put hashes in the place of tokens that were written by hand; they go on working."""
    from qiskit_runtime_server.accounts import editing  # noqa: PLC0415 - as above

    with _opened(folder) as opened:
        changed = editing.hash_tokens(opened)
    for name in changed:
        typer.echo(f"{name}: its tokens are hashes now.", err=True)


@accounts.command("list")
def list_accounts(folder: Folder, *, as_json: Json = False) -> None:
    """List the accounts, and say what is wrong with the folder; exits with 1 if anything is."""
    from qiskit_runtime_server.accounts.token_folder import advice, is_disabled, listed, problems  # noqa: PLC0415 - as above

    with _opened(folder) as opened:
        rows = [
            row
            for account, tokens in listed(opened)
            for row in _rows(account, tokens, disabled=is_disabled(opened / account.name))
        ]
        wrong, could_be_safer = problems(opened), advice(opened)
    if as_json:
        typer.echo(json.dumps(rows, indent=2))
    else:
        _print_table(rows)
    for problem in wrong:
        typer.echo(f"warning: {problem}", err=True)
    for line in could_be_safer:
        typer.echo(f"note: {line} `accounts hash` hashes them.", err=True)
    if wrong:
        raise typer.Exit(1)


@accounts.command()
def usage(
    *,
    url: ServerUrl = None,
    token: UsersToken = None,
    since: Annotated[
        str | None, typer.Option(help="First day (UTC), as in 2026-01-31; by default 30 days ago.")
    ] = None,
    until: Annotated[str | None, typer.Option(help="Last day (UTC); by default today.")] = None,
    as_json: Json = False,
) -> None:
    """Print what accounts have used of a server's executors: all, for admins, and for teachers those of the class."""
    from qiskit_runtime_server.command_line.server import target  # noqa: PLC0415 - as above
    from qiskit_runtime_server.command_line.usage import print_usage  # noqa: PLC0415

    print_usage(target(url, token), since=since, until=until, as_json=as_json)


@contextmanager
def _opened(folder: Path, *, make: bool = False) -> Iterator[Path]:
    """Give the folder, or one with what the Secret holds, which is written back.

    Without a client of Kubernetes, new accounts are printed as a manifest.
    """
    from qiskit_runtime_server.accounts.secret import folder_of, manifest, secret_name  # noqa: PLC0415 - as above

    name = secret_name(folder)
    if name is None:
        yield folder
    elif make and _as_manifest(folder):
        with TemporaryDirectory(prefix="qiskit-runtime-server-") as temporary:
            yield Path(temporary)
            typer.echo(json.dumps(manifest(name, Path(temporary)), indent=2))
        typer.echo("The manifest is for `kubectl apply --server-side -f -`; the tokens are below.", err=True)
    else:
        with folder_of(name, make=make) as opened:
            yield opened


def _as_manifest(folder: Path) -> bool:
    """Return whether a Secret is named that cannot be reached, as the client of Kubernetes is not installed."""
    from qiskit_runtime_server.accounts.secret import secret_name  # noqa: PLC0415 - as above

    return secret_name(folder) is not None and util.find_spec("kubernetes") is None


def _tell(tokens: Mapping[str, str], url: str, form: Format, *, as_json: bool, beside: bool = False) -> None:
    """Print tokens; to stderr if they are told beside a manifest."""
    from qiskit_runtime_server.client import environment  # noqa: PLC0415 - as above

    if as_json:
        text = json.dumps([{"account": name, "token": token} for name, token in tokens.items()], indent=2)
    else:
        text = "\n\n".join(f"# {name}\n{setting(environment(url, token), form)}" for name, token in tokens.items())
    typer.echo(text, err=beside)


def _rows(account: "Account", tokens: int, *, disabled: bool) -> list[dict[str, object]]:
    """Return a row for each instance; None is no limit."""
    return [
        {
            "account": account.name,
            "id": account.id,
            "role": str(account.role),
            "teaches": " ".join(account.teaching.entries),
            "tokens": tokens,
            "disabled": disabled,
            "instance": instance.name,
            "plan": instance.plan,
            "weight": instance.limits.weight,
            "running": instance.limits.running,
            "stored_bytes": instance.limits.stored_bytes,
            "sessions": instance.limits.sessions,
            "queued": instance.limits.queued,
            "seconds_per_day": instance.limits.seconds_per_day,
            "qubits": instance.limits.qubits,
        }
        for instance in account.instances
    ]


def _print_table(rows: Sequence[Mapping[str, object]]) -> None:
    """Print the columns that tell accounts apart or limit one, so that a class fits on 80 columns."""
    from rich import box  # noqa: PLC0415 - as above
    from rich.console import Console  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415

    from qiskit_runtime_server.accounts.limits import USUAL_LIMITS  # noqa: PLC0415 - as above

    unsaid: dict[str, object] = {
        "teaches": "",
        "disabled": False,
        "instance": "default",
        "plan": "self-hosted",
        "weight": USUAL_LIMITS.weight,
        "running": USUAL_LIMITS.running,
        "sessions": USUAL_LIMITS.sessions,
    }
    always = ("account", "role", "tokens")
    columns = [
        column
        for column in (rows[0] if rows else always)
        if column != "id"
        if column in always or any(row[column] != unsaid.get(column) for row in rows)
    ]
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for column in columns:
        text = column in {"account", "teaches", "instance", "plan"}
        table.add_column(
            "s/day" if column == "seconds_per_day" else column, overflow="fold", no_wrap=not text, max_width=24
        )
    for row in rows:
        table.add_row(*(_cell(row[column]) for column in columns))
    Console().print(table)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "-"
    return "-" if value is None else f"{value:g}" if isinstance(value, float) else str(value)
