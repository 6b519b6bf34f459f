"""Names of a server's own for backends: `class_device` for `fake_lima@aer`, so that it can change and scripts need not.

To clients an alias is a backend like any other; simulators only ever hear of the backend that it stands for. Its dry
runs have the name that clients make of it: `mock_device`.
"""

from collections.abc import Collection, Mapping, Sequence
from difflib import get_close_matches
from typing import Final, Self

from qiskit_runtime_server.backends.names import (
    ExecutorName,
    MetadataName,
    VirtualBackend,
    dry_run_name,
    is_metadata_name,
)
from qiskit_runtime_server.errors import BackendNotFoundError, StartupError

_SETTING: Final = "QRS_ALIASES"


class Aliases:
    """What each alias stands for, and the names of dry runs that follow from that.

    Args:
        targets: The backend that each alias stands for.
    """

    def __init__(self, targets: Mapping[str, VirtualBackend] | None = None) -> None:
        self._targets = dict(targets or {})
        dry_runs = ((dry_run_name(name), _dry_run_of(pair)) for name, pair in self._targets.items())
        self._dry_runs = {name: pair for name, pair in dry_runs if name is not None and pair is not None}

    @classmethod
    def read(
        cls,
        targets: Mapping[str, str],
        devices: Collection[MetadataName],
        executors: Collection[ExecutorName],
        *,
        default_executor: str | None,
        reserved_prefixes: Sequence[str],
    ) -> Self:
        """Return the aliases of a setting.

        Args:
            targets: Names of backends by alias, as somebody typed them.
            devices: All that are offered.
            executors: All that are offered.
            default_executor: On which devices, and their dry runs, have their plain names.
            reserved_prefixes: What the names of other backends begin with.

        Raises:
            StartupError: If an alias stands for nothing, or is the name of something else.
        """
        found = {name: _target(name, target, devices, executors) for name, target in targets.items()}
        for name in found:
            _check_name(name, devices, reserved_prefixes)
        _check_dry_runs(found, devices, default_executor)
        return cls(found)

    def find(self, name: str) -> VirtualBackend | None:
        """Return what an alias, or the name of its dry runs, stands for; None if `name` is none."""
        return self._targets.get(name) or self._dry_runs.get(name)

    def plain(self, name: str) -> str:
        """Return the name of the same backend that is no alias; `name` itself if that is none."""
        pair = self.find(name)
        return name if pair is None else str(pair)

    def names(self, *, dry_runs: bool = False) -> list[str]:
        """Return all aliases, and behind them those for dry runs on demand."""
        return [*self._targets, *(sorted(self._dry_runs) if dry_runs else [])]


def _dry_run_of(pair: VirtualBackend) -> VirtualBackend | None:
    name = dry_run_name(pair.metadata)
    return None if name is None else VirtualBackend(metadata=MetadataName(name), executor=pair.executor)


def _target(
    name: str, target: str, devices: Collection[MetadataName], executors: Collection[ExecutorName]
) -> VirtualBackend:
    try:
        pair = VirtualBackend.parse(target)
    except BackendNotFoundError:
        pair = None
    if pair is None or pair.metadata not in devices or pair.executor not in executors:
        offered = [str(VirtualBackend(metadata=device, executor=each)) for each in executors for device in devices]
        near = get_close_matches(target, offered, n=3, cutoff=0.7)
        hint = f" Did you mean {' or '.join(near)}?" if near else ""
        raise StartupError(f"{_SETTING}: {name} stands for {target}, and there is no such backend.{hint}")
    return pair


def _check_name(name: str, devices: Collection[MetadataName], reserved_prefixes: Sequence[str]) -> None:
    if name in devices:
        raise StartupError(f"{_SETTING}: there is a device {name} already.")
    for prefix in reserved_prefixes:
        if name.startswith(prefix):
            raise StartupError(f"{_SETTING}: {name!r} cannot be an alias: names that begin with {prefix} are taken.")
    if not is_metadata_name(name):
        raise StartupError(
            f"{_SETTING}: {name!r} cannot be an alias: it has other characters than letters, digits, `.`, `_` and `-`,"
            " or does not begin with a letter or digit."
        )


def _check_dry_runs(
    targets: Mapping[str, VirtualBackend], devices: Collection[MetadataName], default_executor: str | None
) -> None:
    """Check that no dry run is called like one of another backend."""
    plain: dict[str, VirtualBackend] = {}
    if default_executor is not None:
        executor = ExecutorName(default_executor)
        plain = {device: VirtualBackend(metadata=device, executor=executor) for device in devices}
    for name, pair in targets.items():
        dry_run = dry_run_name(name)
        for other, its_pair in {**plain, **targets}.items():
            if dry_run is not None and dry_run == dry_run_name(other) and _dry_run_of(pair) != _dry_run_of(its_pair):
                raise StartupError(
                    f"{_SETTING}: dry runs of {name} and {other} would both be called {dry_run}; choose another alias."
                )
