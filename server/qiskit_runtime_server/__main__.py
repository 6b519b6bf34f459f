"""The command line.

Nothing heavy is imported before a command has been chosen: worker processes import this module too.
"""

import asyncio
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from qiskit_runtime_server.command_line import people
from qiskit_runtime_server.command_line.accounts import accounts
from qiskit_runtime_server.command_line.extras import explained
from qiskit_runtime_server.command_line.help import SettingsCommand
from qiskit_runtime_server.command_line.options import Json, UsersToken
from qiskit_runtime_server.errors import ServerError
from qiskit_runtime_server.former_options import renamed
from qiskit_runtime_server.log.lines import begin_log, end
from qiskit_runtime_server.shells import Format, setting, unsetting

if TYPE_CHECKING:
    from qiskit_runtime_server.settings import Settings

cli = typer.Typer(
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    help="A self-hosted Qiskit Runtime: unmodified qiskit-ibm-runtime clients submit jobs, simulators run them.",
)
cli.add_typer(accounts, name="accounts")
for _command in (people.jobs, people.job, people.top, people.cancel):
    cli.command()(_command)

Url = Annotated[str, typer.Argument(help="Where the server listens, as in http://127.0.0.1:8000.")]
Token = Annotated[str, typer.Option(help="The account's token; anything will do for an anonymous server.")]


def _show_version(wanted: bool) -> None:  # noqa: FBT001 - typer calls it so
    if wanted:
        typer.echo(version("qiskit-runtime-server"))
        raise typer.Exit


@cli.callback()
def root(
    *,
    _: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """A self-hosted Qiskit Runtime: unmodified qiskit-ibm-runtime clients submit jobs, simulators run them."""


@cli.command(cls=SettingsCommand)
def serve(  # noqa: PLR0913 - one parameter per option
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the embedded SQLite database.")] = None,
    executors: Annotated[
        list[str] | None, typer.Option(help="Simulators to offer: NAME, or NAME=SLOTS for so many jobs at a time.")
    ] = None,
    tokens: Annotated[Path | None, typer.Option(help="Folder with one file per account, a token on each line.")] = None,
    anonymous: Annotated[
        bool | None, typer.Option("--anonymous", help="Accept any token; each token is an account of its own.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="Least severe level to log: debug, info, warning or error.")
    ] = None,
) -> None:
    """Run the whole server in one process, with simulators in child processes.

    Every option can also be given as a variable, QRS_HOST and so on; docs/reference/settings.md has the full list.
    """
    settings = _set_up(
        log_level=log_level,
        host=host,
        port=port,
        data_dir=data_dir,
        executors=executors,
        tokens=tokens,
        anonymous=anonymous,
    )
    if settings.own_executors:
        from qiskit_runtime_server.worker.fork_server import start_template  # noqa: PLC0415 - see above

        # It imports side by side with this process.
        start_template()
    from qiskit_runtime_server.app import create_app  # noqa: PLC0415
    from qiskit_runtime_server.roles import api as role  # noqa: PLC0415

    asyncio.run(role.serve(create_app(settings=settings), settings))


@cli.command(cls=SettingsCommand)
def api(  # noqa: PLR0913 - one parameter per option
    *,
    executors: Annotated[
        list[str] | None, typer.Option(help="Executor services to use: NAME=http://HOST:PORT.")
    ] = None,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the embedded SQLite database.")] = None,
    tokens: Annotated[Path | None, typer.Option(help="Folder with one file per account, a token on each line.")] = None,
    anonymous: Annotated[
        bool | None, typer.Option("--anonymous", help="Accept any token; each token is an account of its own.")
    ] = None,
    log_level: Annotated[
        str | None, typer.Option(help="Least severe level to log: debug, info, warning or error.")
    ] = None,
) -> None:
    """Run the API and the queue; jobs are simulated by executor services, started with `executor`.

    Each address that a host name resolves to is an executor; it is resolved again every few seconds. QRS_EXECUTOR_KEY
    holds the key that apis and executors share.
    """
    from qiskit_runtime_server.app import create_app  # noqa: PLC0415 - see above
    from qiskit_runtime_server.roles import api as role  # noqa: PLC0415

    settings = _set_up(
        log_level=log_level,
        host=host,
        port=port,
        data_dir=data_dir,
        executors=executors,
        tokens=tokens,
        anonymous=anonymous,
    )
    role.demand_services_only(settings)
    asyncio.run(role.serve(create_app(settings=settings), settings))


@cli.command(cls=SettingsCommand)
def executor(  # noqa: PLR0913 - one parameter per option
    name: Annotated[str, typer.Argument(help="Name of an installed executor, such as aer.")],
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 picks a free one.")] = None,
    slots: Annotated[int | None, typer.Option(help="How many jobs to run at a time.")] = None,
    memory: Annotated[str | None, typer.Option(help="Memory that all slots share, as in 8Gi.")] = None,
    drain: Annotated[
        str | None, typer.Option(help="How long running jobs may go on after SIGTERM, as in 30s or 1h.")
    ] = None,
    doctor: Annotated[
        bool, typer.Option("--doctor", help="Say which circuits fit on this machine, run the self-test, and exit.")
    ] = False,
    log_level: Annotated[
        str | None, typer.Option(help="Least severe level to log: debug, info, warning or error.")
    ] = None,
) -> None:
    """Run one simulator as an executor service, which runs jobs for `qiskit-runtime-server api`.

    Unless it listens on loopback only, it asks for the key that QRS_EXECUTOR_KEY says.
    """
    from qiskit_runtime_server.roles.executor import examine, serve_executor  # noqa: PLC0415 - see above

    settings = _set_up(log_level=log_level, host=host, port=port, slots=slots, memory=memory, drain=drain)
    asyncio.run(examine(name, settings) if doctor else serve_executor(name, settings))


@cli.command()
def doctor(
    name: Annotated[str, typer.Argument(help="Name of an installed executor.")] = "aer",
    *,
    speed: Annotated[bool, typer.Option("--speed", help="Also measure each method at several sizes.")] = False,
    memory: Annotated[str | None, typer.Option(help="Memory that simulations may use, as in 8Gi.")] = None,
) -> None:
    """Say which circuits fit on this machine, run the self-test, and measure how long circuits take."""
    from qiskit_runtime_server.roles.executor import examine  # noqa: PLC0415 - see above

    settings = _set_up(memory=memory)
    asyncio.run(examine(name, settings))
    if speed:
        from qiskit_runtime_server.roles import speed as measurement  # noqa: PLC0415 - see above

        measurement.show(name, settings)


@cli.command(cls=SettingsCommand)
def backup(
    file: Annotated[Path, typer.Argument(help="The file to write, which must not exist; - is stdout.")],
    *,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the embedded SQLite database.")] = None,
) -> None:
    """Write all jobs, results and sums to one file, as they are at one moment; servers go on meanwhile.

    The database is that of the settings: QRS_DATABASE_URL or QRS_DATABASE_URL_FILE, else the folder. Tokens and keys
    are not part of it.
    """
    from qiskit_runtime_server.roles.backup import back_up  # noqa: PLC0415 - see above

    typer.echo(asyncio.run(back_up(_set_up(data_dir=data_dir), file)), err=True)


@cli.command(cls=SettingsCommand)
def restore(
    file: Annotated[Path, typer.Argument(help="A file that `backup` has written, of this release or an older one.")],
    *,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of the embedded SQLite database.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Lose the jobs that the store has.")] = False,
) -> None:
    """Fill a store that no server uses from a backup; jobs that ran at its time are queued again.

    The database is that of the settings, as for `backup`; it need not be of the kind that the backup was made of.
    """
    from qiskit_runtime_server.roles.backup import restore as restored  # noqa: PLC0415 - see above

    typer.echo(asyncio.run(restored(_set_up(data_dir=data_dir), file, overwrite=overwrite)), err=True)


def _set_up(**given: object) -> "Settings":
    """Begin to log and return the settings; options that were not given are left to the environment."""
    from qiskit_runtime_server.settings import Settings, forget_secrets  # noqa: PLC0415 - see above

    settings = Settings.load(**{name: value for name, value in given.items() if value not in (None, [])})
    forget_secrets()
    begin_log(settings.log_level, settings.log_format)
    return settings


@cli.command()
def connect(  # noqa: PLR0913 - one parameter per option
    url: Url = "http://127.0.0.1:8000",
    token: Token = "anonymous",  # noqa: S107 - not a secret
    *,
    form: Annotated[
        Format, typer.Option("--format", help="The shell, program or file that the output is for.")
    ] = Format.SH,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Ask the server first whether it accepts the token.")
    ] = True,
    unset: Annotated[bool, typer.Option("--unset", help="Print the commands that unset the variables.")] = False,
    save: Annotated[bool, typer.Option(help="Also store the account for QiskitRuntimeService().")] = False,
) -> None:
    """Print the variables that connect a client: eval "$(qiskit-runtime-server connect URL --token TOKEN)".

    In a notebook, `--format python` prints a cell that needs no package but the client.
    """
    from qiskit_runtime_server import client  # noqa: PLC0415

    variables = client.environment(url, token)
    if unset:
        typer.echo(unsetting(variables, form))
        return
    if check:
        client.sign_in(url, token)
    typer.echo(setting(variables, form))
    if save:
        client.save_account(url, token)
        typer.echo("The account is saved; the exports above are still needed.", err=True)


@cli.command()
def backends(
    url: Annotated[str | None, typer.Argument(help="Where the server listens; by default as for `jobs`.")] = None,
    token: UsersToken = None,
    *,
    load: Annotated[
        bool, typer.Option("--load", help="Show how busy each executor is; admins see everybody's jobs.")
    ] = False,
    as_json: Json = False,
) -> None:
    """List the virtual backends of a server, or how busy its executors are."""
    from qiskit_runtime_server.command_line import backends as tables  # noqa: PLC0415 - see above
    from qiskit_runtime_server.command_line.server import target  # noqa: PLC0415

    (tables.print_loads if load else tables.print_backends)(target(url, token), as_json=as_json)


def main() -> None:
    """Run the command line; what a user can mend is said in one line."""
    try:
        cli(args=list(renamed(sys.argv[1:])))
    except ServerError as error:
        end(str(error))
    except ModuleNotFoundError as error:
        end(explained(error))


if __name__ == "__main__":
    main()
