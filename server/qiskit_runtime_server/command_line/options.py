"""Options that several commands have."""

from typing import Annotated

import typer

ServerUrl = Annotated[
    str | None,
    typer.Option("--url", envvar="QRS_URL", help="Where the server listens; by default where the client's account is."),
]
UsersToken = Annotated[
    str | None,
    typer.Option("--token", envvar="QRS_TOKEN", help="The account's token; by default that of the client's account."),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
