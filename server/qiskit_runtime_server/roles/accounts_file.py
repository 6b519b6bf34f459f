"""Keeps the last valid `accounts.toml` in the store, so that a broken one undoes no limit when a server starts anew."""

import asyncio
import logging
from collections.abc import Collection
from pathlib import Path
from typing import Final

from qiskit_runtime_server.accounts.principal import IssuerName
from qiskit_runtime_server.accounts.token_folder import TokenFolder
from qiskit_runtime_server.errors import AccountsFileError, UnavailableError
from qiskit_runtime_server.log.failures import FailureLog
from qiskit_runtime_server.store.overviews import Overviews

_NAME: Final = "accounts.toml"
_EVERY_SECONDS: Final = 5.0

logger = logging.getLogger(__name__)


async def open_token_folder(folder: Path, kept_in: Overviews, issuers: Collection[IssuerName] = ()) -> TokenFolder:
    """Return a folder of tokens, with the limits that were valid last if those of now make no sense.

    Raises:
        AccountsFileError: If they make none and no others are kept, or if the folder cannot be read.
    """
    try:
        return TokenFolder(folder, issuers)
    except AccountsFileError as error:
        kept = await kept_in.kept_text(_NAME)
        if kept is None:
            raise
        try:
            opened = TokenFolder(folder, issuers, before=kept.text)
        except AccountsFileError:
            raise error from None
        logger.error(  # noqa: TRY400 - it says all
            "%s; the roles and limits that were valid last, since %s, are in force.", error, kept.since.isoformat()
        )
        return opened


async def keep_accounts_file(folder: TokenFolder, store: Overviews) -> None:
    """Keep what is valid, again and again until cancelled."""
    kept: str | None = None
    failures = FailureLog(logger)
    while True:
        text = folder.accounts_file()
        if text != kept:
            try:
                await store.keep_text(_NAME, text)
            except UnavailableError as error:
                failures.failed(f"The accounts file could not be kept in the store: {error}")
            else:
                kept = text
                failures.succeeded("The accounts file is kept in the store")
        await asyncio.sleep(_EVERY_SECONDS)
