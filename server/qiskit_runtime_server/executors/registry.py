"""Finds installed executors by their entry points, and imports only the one that is asked for."""

from functools import cache
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Final

from qiskit_runtime_server.errors import StartupError, UnknownExecutorError
from qiskit_runtime_server.executors.base import BaseExecutor, overrides
from qiskit_runtime_server.messages.messages import EXECUTORS

_METHODS: Final = ("sample", "execute_sampler", "execute_estimator")


@cache
def entries() -> EntryPoints:
    """Return the entry points of all installed executors; they are looked for once, which takes some 20 ms."""
    return entry_points(group=EXECUTORS)


def installed() -> list[str]:
    """Return the names of all installed executors, sorted, without importing any."""
    return sorted(entries().names)


def load(name: str) -> type[BaseExecutor]:
    """Return the class of the executor called `name`.

    Raises:
        UnknownExecutorError: If none is installed under that name; the message tells which ones are.
        StartupError: If it is installed and cannot be used, or if several distributions claim the name.
    """
    found = list(entries().select(name=name))
    if not found:
        raise UnknownExecutorError(f"No executor {name!r} is installed; there are: {', '.join(installed()) or 'none'}.")
    if len({entry.value for entry in found}) > 1:
        raise StartupError(f"The executor {name!r} is installed more than once: {', '.join(map(_origin, found))}.")
    return _loaded(found[0])


def _loaded(entry: EntryPoint) -> type[BaseExecutor]:
    try:
        executor = entry.load()
    except Exception as error:
        raise StartupError(
            f"The executor {entry.name!r} ({_origin(entry)}) cannot be loaded: {type(error).__name__}: {error}"
        ) from error
    if not (isinstance(executor, type) and issubclass(executor, BaseExecutor)):
        raise StartupError(f"The executor {entry.name!r} ({_origin(entry)}) is not a subclass of BaseExecutor.")
    if not any(overrides(executor, name) for name in _METHODS):
        raise StartupError(
            f"The executor {entry.name!r} ({_origin(entry)}) can run nothing: it has none of {', '.join(_METHODS)}."
        )
    return executor


def _origin(entry: EntryPoint) -> str:
    return f"{entry.value} of {entry.dist.name if entry.dist else 'an unknown distribution'}"
