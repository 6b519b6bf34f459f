"""The commands `jobs`, `job`, `top` and `cancel`; `jobs.py` beside it says what they show."""

from typing import Annotated

import typer

from qiskit_runtime_server.command_line.options import Json, ServerUrl, UsersToken

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Go on, and show each second what has changed.")]


def jobs(  # noqa: PLR0913 - one parameter per option
    *,
    url: ServerUrl = None,
    token: UsersToken = None,
    limit: Annotated[int, typer.Option(min=1, max=200, help="How many, the newest ones.")] = 20,
    pending: Annotated[
        bool | None, typer.Option("--pending/--ended", help="Only queued and running ones, or only others.")
    ] = None,
    backend: Annotated[str | None, typer.Option(help="Only those of this backend.")] = None,
    everybody: Annotated[
        bool, typer.Option("--all", help="Those of all accounts, for admins; those of the class, for teachers.")
    ] = False,
    account: Annotated[str | None, typer.Option(help="Those of this account; for admins and its teachers.")] = None,
    watch: Watch = False,
    as_json: Json = False,
) -> None:
    """List jobs, the newest first."""
    from qiskit_runtime_server.command_line.jobs import list_jobs  # noqa: PLC0415 - nothing heavy before it is chosen
    from qiskit_runtime_server.command_line.server import target  # noqa: PLC0415

    wanted = {"limit": limit, "pending": pending, "backend": backend, "account": account}
    others = everybody or account is not None
    list_jobs(target(url, token), wanted, others=others, watch=watch, as_json=as_json)


def job(
    job_id: Annotated[str, typer.Argument(metavar="ID", help="The job's id.")],
    *,
    url: ServerUrl = None,
    token: UsersToken = None,
    watch: Annotated[
        bool, typer.Option("--watch", "-w", help="Follow it to its end; exits with 1 unless it completes.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Show a job: its state, its place in the queue, how far it has come, what it took, and the end of its log."""
    from qiskit_runtime_server.command_line.jobs import show_job  # noqa: PLC0415 - as above
    from qiskit_runtime_server.command_line.server import target  # noqa: PLC0415

    if not show_job(target(url, token), job_id, watch=watch, as_json=as_json) and watch:
        raise typer.Exit(1)


def top(
    *,
    url: ServerUrl = None,
    token: UsersToken = None,
    once: Annotated[bool, typer.Option("--once", help="Show it once, as where there is no terminal.")] = False,
    as_json: Json = False,
) -> None:
    """Show executors, what runs there and what waits, each second anew: your jobs, and those that you look after."""
    from qiskit_runtime_server.command_line.jobs import show_top  # noqa: PLC0415 - as above
    from qiskit_runtime_server.command_line.server import target  # noqa: PLC0415

    show_top(target(url, token), once=once, as_json=as_json)


def cancel(
    job_ids: Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of jobs.")],
    *,
    url: ServerUrl = None,
    token: UsersToken = None,
    as_json: Json = False,
) -> None:
    """Cancel jobs; exits with 1 if one of them could not be cancelled."""
    from qiskit_runtime_server.command_line.jobs import cancel_jobs  # noqa: PLC0415 - as above
    from qiskit_runtime_server.command_line.server import target  # noqa: PLC0415

    if not cancel_jobs(target(url, token), job_ids, as_json=as_json):
        raise typer.Exit(1)
