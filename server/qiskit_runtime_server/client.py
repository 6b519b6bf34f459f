"""Connects the client library, qiskit-ibm-runtime 0.49 or later, to a server, without changing anything in it.

The library takes the addresses of IBM Cloud's token, search and catalogue services from environment variables and from
nowhere else, and reads them whenever it opens another connection, not only at first. So they have to stay set, and a
process talks to one platform at a time: a server of yours or IBM's.
"""

import os
import ssl
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from qiskit_runtime_server.errors import MalformedRequestError, RequestError

if TYPE_CHECKING:
    from qiskit_ibm_runtime import QiskitRuntimeService

__all__ = ["connect", "environment", "platform_variables", "save_account", "sign_in"]

ACCOUNT_NAME: Final = "qiskit-runtime-server"
_CHANNEL: Final = "ibm_quantum_platform"
_API: Final = "/api/v1"
# Clients take a URL with the word "experimental" as it is; of any other they make a host name of IBM Cloud's pattern.
_VERBATIM_API: Final = "/experimental/api/v1"
# The library's word for "the first instance of this account", which spares the user a warning.
_ANY_INSTANCE: Final = "auto"
# The library's HTTP client, requests, has it from there: https://requests.readthedocs.io/en/latest/user/advanced/
_AUTHORITIES: Final = "REQUESTS_CA_BUNDLE"
_KEY_NOT_FOUND: Final = "BXNIM0415E"
_PATIENCE: Final = 15.0  # seconds


def connect(
    url: str,
    token: str = "anonymous",  # noqa: S107 - any word will do
    *,
    instance: str | None = None,
    check: bool = True,
) -> "QiskitRuntimeService":
    """Return the client library's service, connected to a server.

    Sets the variables of `platform_variables` for the whole process, where they stay.

    Args:
        url: Where the server is, as in ``http://localhost:8000``.
        token: The account's token; any word if the server is open to everybody.
        instance: The instance's CRN or name, by default the account's only one.
        check: Whether to `sign_in` first. The library itself calls each failure a wrong token.

    Raises:
        MalformedRequestError: If `url` is not an http or https URL.
        RequestError: As `sign_in`; no variable is set then.
    """
    if check:
        sign_in(url, token)
    from qiskit_ibm_runtime import QiskitRuntimeService  # noqa: PLC0415 - a second, which `environment` need not cost

    address = address_of(url)
    os.environ.update(platform_variables(url))
    return QiskitRuntimeService(
        channel=_CHANNEL,
        token=token,
        url=address,
        instance=instance or _ANY_INSTANCE,
        url_resolver=lambda *_, **__: address + _API,
    )


def sign_in(url: str, token: str) -> str:
    """Return an access token of a server, as the client library would get it.

    Arguments as in `connect`.

    Raises:
        MalformedRequestError: If `url` is not an http or https URL.
        RequestError: If nothing answers there, something else than a server does, or the token is not known;
            the message says which.
    """
    import httpx  # noqa: PLC0415 - a third of a second, which `environment` need not cost

    address = address_of(url)
    try:
        answer = httpx.post(
            f"{address}/identity/token", data={"apikey": token}, timeout=_PATIENCE, verify=trusted_authorities()
        )
        document = answer.json() if answer.headers.get("content-type", "").startswith("application/json") else {}
    except httpx.TimeoutException as error:
        raise RequestError(f"Nothing answered at {address} within {_PATIENCE:g} seconds.") from error
    except httpx.TransportError as error:
        reason = str(error).removesuffix(".")
        raise RequestError(f"No server answers at {address}: {reason}.{_hint(address, reason)}") from error
    except ValueError as error:
        raise RequestError(f"What answers at {address} is not a Qiskit Runtime server: {error}.") from error
    if isinstance(document, dict) and answer.is_success and isinstance(document.get("access_token"), str):
        return str(document["access_token"])
    if isinstance(document, dict) and document.get("errorCode") == _KEY_NOT_FOUND:
        raise RequestError(f"The server at {address} does not know this token.")
    if answer.is_server_error:
        raise RequestError(f"The server at {address} is not ready: it answered {answer.status_code}.")
    raise RequestError(
        f"What answers at {address} is not a Qiskit Runtime server: {answer.status_code} to POST /identity/token."
    )


def _hint(address: str, reason: str) -> str:
    """Return what may be done where no connection was made, or one that was not understood."""
    if "refused" in reason:
        return " Is it started, and is this its address?"
    if "CERTIFICATE" in reason:
        return f" {_AUTHORITIES} can name a file of other authorities."
    if "WRONG_VERSION_NUMBER" in reason:
        return f" It does not speak TLS: try http://{address.partition('://')[2]}"
    if "disconnected without" in reason and address.startswith("http:"):
        return f" It may speak TLS only: try https://{address.partition('://')[2]}"
    return ""


def trusted_authorities() -> ssl.SSLContext | bool:
    """Return what the client library would trust, which goes by another variable than httpx."""
    file = os.environ.get(_AUTHORITIES)
    return ssl.create_default_context(cafile=file) if file else True


def environment(url: str, token: str, instance: str | None = None) -> dict[str, str]:
    """Return the environment variables with which a plain `QiskitRuntimeService()` connects to a server.

    Arguments and errors as in `connect`. Nothing is set.
    """
    return {
        "QISKIT_IBM_CHANNEL": _CHANNEL,
        "QISKIT_IBM_TOKEN": token,
        "QISKIT_IBM_URL": address_of(url) + _VERBATIM_API,
        "QISKIT_IBM_INSTANCE": instance or _ANY_INSTANCE,
        **platform_variables(url),
    }


def platform_variables(url: str) -> dict[str, str]:
    """Return the variables that no argument and no saved account can replace.

    Raises:
        MalformedRequestError: If `url` is not an http or https URL.
    """
    return dict.fromkeys(("IAM_URL", "GLOBAL_SEARCH_URL", "GLOBAL_CATALOG_URL"), address_of(url))


def save_account(url: str, token: str, *, instance: str | None = None, filename: str | None = None) -> dict[str, str]:
    """Store the account as the default one, where `QiskitRuntimeService()` finds it.

    It is stored under the name `qiskit-runtime-server`: a saved account of IBM's stays as it is, but is no longer
    the default.

    Args:
        url: As in `connect`.
        token: As in `connect`.
        instance: As in `connect`.
        filename: The file of accounts, by default ``~/.qiskit/qiskit-ibm.json``.

    Returns:
        `platform_variables`: no account can hold these, `QiskitRuntimeService()` needs them in its environment.

    Raises:
        MalformedRequestError: If `url` is not an http or https URL.
    """
    from qiskit_ibm_runtime import QiskitRuntimeService  # noqa: PLC0415 - a second, which `environment` need not cost

    account = environment(url, token, instance)
    QiskitRuntimeService.save_account(
        channel=_CHANNEL,
        token=token,
        url=account["QISKIT_IBM_URL"],
        instance=account["QISKIT_IBM_INSTANCE"],
        filename=filename,
        name=ACCOUNT_NAME,
        overwrite=True,
        set_as_default=True,
    )
    return platform_variables(url)


def address_of(url: str) -> str:
    """Return scheme, host and any path in front of the API, without what a user may have copied behind it."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise MalformedRequestError(f"{url!r} is not the address of a server; one looks like http://localhost:8000.")
    return url.rstrip("/").removesuffix(_VERBATIM_API).removesuffix(_API)
