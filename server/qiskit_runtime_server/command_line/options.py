"""Options that several commands have."""

from typing import Annotated

import typer

ServerUrl = Annotated[
    str | None,
    typer.Option("--url", help="Where the server listens; by default QRS_URL, else where the client's account is."),
]
UsersToken = Annotated[
    str | None,
    typer.Option(
        "--token",
        help="The account's token; by default QRS_TOKEN, else that of the client's account, each for its own URL only.",
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
