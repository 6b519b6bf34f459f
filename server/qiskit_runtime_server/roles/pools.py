"""The pools behind executor names: `NAME` and `NAME=SLOTS` are slots of this process, `NAME=URL` is a service."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from qiskit_runtime_server.backends.names import AUTO, ExecutorName
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.dispatch.pools import Pool
from qiskit_runtime_server.dispatch.remote.pool import RemotePool
from qiskit_runtime_server.dispatch.routing.auto_pool import AutoPool
from qiskit_runtime_server.errors import StartupError
from qiskit_runtime_server.log.spans import NO_SPANS, Spans
from qiskit_runtime_server.machine import Cores, default_slots, usable_bytes, usable_cores
from qiskit_runtime_server.settings import Settings
from qiskit_runtime_server.worker.child import WorkerSpec
from qiskit_runtime_server.worker.slots import Slots

if TYPE_CHECKING:
    from qiskit_runtime_server.executors.base import BaseExecutor


_ALL: Final = ("*",)
_NO_CHOICE: Final = ("off",)

# One is kept for short jobs.
_LEAST_SLOTS: Final = 2

# Of a slot's memory for each worker that is kept for an account, which mostly takes a tenth of it beside that.
_BYTES_PER_KEPT_WORKER: Final = 2**29
_MOST_KEPT_WORKERS: Final = 32


def pools_of(
    settings: Settings,
    executors: "Mapping[str, BaseExecutor] | None",
    budget: ByteBudget,
    spans: Spans = NO_SPANS,
) -> dict[ExecutorName, Slots | RemotePool]:
    """Return a pool for every executor, not started yet.

    Args:
        settings: Its `executors` are read, and what slots and services are given.
        executors: Executors by name, in place of the installed ones that `settings.executors` names.
        budget: Bounds the documents on their way to all of them and back.
        spans: Where the spans of runs in slots go.

    Raises:
        StartupError: If a word of `settings.executors` makes no sense, or two pools have one name.
    """
    pools: dict[ExecutorName, Slots | RemotePool] = dict(_remote_pools(settings, budget))
    local = settings.own_executors
    if executors or local:
        slots = _local_pools(settings, local, executors, budget, spans)
        if both := pools.keys() & slots.keys():
            raise StartupError(f"Executor {min(both)!r} is given as slots and as a service: rename one of them.")
        pools |= slots
    if AUTO in pools:
        raise StartupError(f"No executor can be called {AUTO!r}: that is what stands for the choice among all of them.")
    return pools


def offers_auto(settings: Settings, executors: Collection[ExecutorName]) -> bool:
    """Return whether clients are shown backends whose executor is chosen for each job."""
    return settings.auto != _NO_CHOICE and (settings.auto != _ALL or len(executors) > 1)


def auto_of(settings: Settings, pools: Mapping[ExecutorName, Pool]) -> AutoPool:
    """Return the executors among which is chosen; all of them also for jobs of a time when a choice was offered.

    Raises:
        StartupError: If one of them is not offered.
    """
    if settings.auto in {_ALL, _NO_CHOICE}:
        return AutoPool(pools, settings.on_demand)
    for name in settings.auto:
        if name not in pools:
            offered = ", ".join(sorted(pools))
            raise StartupError(f"QRS_AUTO: {name!r} is none of the executors here, which are {offered}.")
    return AutoPool({ExecutorName(name): pools[ExecutorName(name)] for name in settings.auto}, settings.on_demand)


def _remote_pools(settings: Settings, budget: ByteBudget) -> dict[ExecutorName, RemotePool]:
    urls: dict[ExecutorName, list[str]] = {}
    for word in settings.executors:
        if word in settings.own_executors:
            continue
        name, _, url = word.partition("=")
        if not (name and _is_service(url)):
            raise StartupError(f"Executor {word!r}: a service is given as NAME=http://HOST:PORT.")
        urls.setdefault(ExecutorName(name), []).append(url)
    return {name: RemotePool(name, of_name, settings, budget) for name, of_name in urls.items()}


def _is_service(url: str) -> bool:
    with suppress(ValueError):
        parts = urlsplit(url)
        return (
            parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and parts.path in {"", "/"}
        )
    return False


def _local_pools(
    settings: Settings,
    words: Sequence[str],
    executors: "Mapping[str, BaseExecutor] | None",
    budget: ByteBudget,
    spans: Spans,
) -> dict[ExecutorName, Slots]:
    """Return the slots of every executor of this process, which share its memory evenly, its cores as they run."""
    sizes = dict(_named_size(word) for word in words)
    sources: Mapping[str, str | BaseExecutor] = executors or {name: name for name in sizes}
    numbers = {name: sizes.get(name) or default_slots(least=_LEAST_SLOTS) for name in sources}
    total, cores = sum(numbers.values()), Cores(usable_cores())
    return {
        ExecutorName(name): slots_of(
            name, settings, numbers[name], budget, executor=source, sharing=total, cores=cores, spans=spans
        )
        for name, source in sources.items()
    }


def slots_of(  # noqa: PLR0913 - what makes slots
    name: str,
    settings: Settings,
    size: int,
    budget: ByteBudget,
    *,
    executor: "str | BaseExecutor",
    sharing: int,
    cores: Cores | None = None,
    spans: Spans = NO_SPANS,
) -> Slots:
    """Return `size` slots for an executor; `sharing` slots share the memory evenly, and the cores as they run."""
    usable = usable_bytes() // sharing
    spec = WorkerSpec(
        executor=executor,
        memory_bytes=settings.memory // sharing if settings.memory else usable,
        threads=max(1, usable_cores() // sharing),
        snapshots=settings.snapshots,
        options=settings.executor_options.get(name, {}),
        confined=settings.confine_workers,
        log_format=settings.log_format,
        shared=settings.share_workers,
    )
    return Slots(spec, size, budget, spans, cores=cores, kept=min(_MOST_KEPT_WORKERS, usable // _BYTES_PER_KEPT_WORKER))


def _named_size(word: str) -> tuple[str, int | None]:
    """Read `NAME` or `NAME=SLOTS`."""
    name, separator, size = word.partition("=")
    if separator and not (size.isdecimal() and int(size) > 0):
        raise StartupError(f"Executor {word!r}: the number of slots is a positive integer, as in {name}=2.")
    return name, int(size) if separator else None
