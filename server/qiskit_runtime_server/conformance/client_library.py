"""What the installed version of the client library has: nothing is asked of a server with what it lacks."""

from importlib import import_module
from importlib.util import find_spec
from typing import Any

from qiskit_runtime_server.conformance.check import NotOfferedError


def of_client(module: str, name: str) -> Any:  # noqa: ANN401 - a class that only some versions have
    """Return what the client library calls `name` in `module`, as ``.noise_learner``; empty for the package itself.

    Raises:
        NotOfferedError: If this version has no such module, or no such name in it.
        ImportError: If it has the module, which cannot be imported.
    """
    full = f"qiskit_ibm_runtime{module}"
    if find_spec(full) is None or not hasattr(found := import_module(full), name):
        raise NotOfferedError(f"this client has no {full}.{name}")
    return getattr(found, name)


def require_option(options: object, name: str) -> None:
    """Go on if a program's options, as this version makes them, have one of that dotted name.

    Raises:
        NotOfferedError: If not.
    """
    place = options
    for part in name.split("."):
        if not hasattr(place, part):
            raise NotOfferedError(f"this client's {type(options).__name__} has no {name}")
        place = getattr(place, part)


def set_options(options: object, values: dict[str, Any]) -> None:
    """Set options as attributes, those of sections too; errors are the client's."""
    for name, value in values.items():
        if isinstance(value, dict) and not isinstance(section := getattr(options, name), dict):
            set_options(section, value)
        else:
            setattr(options, name, value)
