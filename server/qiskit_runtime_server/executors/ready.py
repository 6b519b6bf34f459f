"""Makes executors ready for a slot: with their options, within its limits, and with the devices that there are."""

import inspect
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import msgspec

from qiskit_runtime_server.backends.catalog import Catalog
from qiskit_runtime_server.errors import InvalidInputError, StartupError
from qiskit_runtime_server.executors import registry
from qiskit_runtime_server.executors.base import BaseExecutor, overrides
from qiskit_runtime_server.messages.messages import Capabilities
from qiskit_runtime_server.programs.options.options import given_wish
from qiskit_runtime_server.programs.options.rules import METHODS


def ready(
    executor: str | BaseExecutor,
    options: Mapping[str, Any],
    *,
    memory_bytes: int | None,
    threads: int,
    snapshots: Path | None,
) -> BaseExecutor:
    """Return an executor that can take jobs.

    Args:
        executor: The name of an installed one, or one.
        options: `method`, `approximation` and `max_truncation_error` are what jobs that have no such option
            `simulator.` get, on every executor; but an argument of the same name is the executor's own. The rest are
            arguments for an executor that is given by its name.
        memory_bytes: As in `Simulator.fitted`.
        threads: As in `Simulator.fitted`.
        snapshots: Folder with further devices.

    Raises:
        StartupError: If there is no such executor, or it does not take these options; the message names the option.
    """
    if isinstance(executor, str):
        kind, label = registry.load(executor), executor
        shared = METHODS.keys() - inspect.signature(kind).parameters.keys()
        try:
            made = kind(**{name: value for name, value in options.items() if name not in shared})
        except TypeError as error:
            raise StartupError(f"The executor {executor!r} does not take these options: {error}") from error
    else:
        made, label, shared = executor, type(executor).__name__, set(METHODS)
    defaults = {name: value for name, value in options.items() if name in shared and value is not None}
    if defaults and not overrides(type(made), "sample"):
        raise StartupError(
            f"The executor {label!r} does not take these options: {', '.join(sorted(defaults))}. It runs programs in a"
            " way of its own, and chooses their methods itself."
        )
    try:
        default = given_wish({name: METHODS[name](it, f"Option {name} of {label!r}") for name, it in defaults.items()})
    except InvalidInputError as error:
        raise StartupError(str(error)) from error
    made = made.fitted(memory_bytes=memory_bytes, threads=threads)
    made.catalog = Catalog(snapshots=snapshots)
    if defaults:
        made.default_wish = default
    return made


def stand_in(capabilities: Capabilities) -> BaseExecutor | None:
    """Return an executor that makes the offers of one with these capabilities; None if nobody says how it was made.

    Raises:
        StartupError: If such a one is not installed here, or cannot be used.
    """
    return None if capabilities.fitted is None else _stand_in(msgspec.msgpack.encode(capabilities))


# As many as there may be executors; to make one takes some milliseconds.
@lru_cache(maxsize=16)
def _stand_in(encoded: bytes) -> BaseExecutor | None:
    capabilities = msgspec.msgpack.decode(encoded, type=Capabilities)
    fitted = capabilities.fitted
    if fitted is None or not fitted.kind:
        return None
    made = ready(fitted.kind, fitted.options, memory_bytes=fitted.memory_bytes, threads=fitted.threads, snapshots=None)
    return made.stand_in(capabilities)
