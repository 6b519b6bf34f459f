"""Which devices have faults, and whose turn it is to meet one; the state of one process, and as old as it."""

import hashlib
from collections import defaultdict
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from random import Random
from typing import Any, Final

from qiskit_runtime_server.backends.catalog import Metadata
from qiskit_runtime_server.backends.names import MetadataName, metadata_of
from qiskit_runtime_server.chaos.drift import drifted
from qiskit_runtime_server.chaos.faults import Fate, Faults
from qiskit_runtime_server.errors import InjectedError, NotFoundError
from qiskit_runtime_server.jobs import AccountId, Job

_SEED_BITS: Final = 63
_KEPT_TRIES: Final = 10_000
_KEPT_ACCOUNTS: Final = 1000


class Chaos:
    """The faults of a server.

    Args:
        patterns: Of the names of devices that are offered with faults, too; with none, nothing here does anything.
        faults: What happens where a job's tags do not say otherwise.
        seed: The n-th job of an account meets the same with the same seed.
        prefix: What the names of the devices with faults begin with.
    """

    def __init__(
        self, patterns: Sequence[str] = (), faults: Faults | None = None, seed: int = 0, *, prefix: str = "chaos_"
    ) -> None:
        self._prefix = prefix
        self._patterns = patterns
        self._faults = faults or Faults()
        self._seed = seed
        self._jobs: defaultdict[AccountId, int] = defaultdict(int)
        self._requests: defaultdict[AccountId, int] = defaultdict(int)
        self._tries: dict[tuple[object, ...], int] = {}
        self._of_accounts: dict[AccountId, Faults] = {}

    def names(self, devices: Iterable[MetadataName]) -> list[MetadataName]:
        """Return what those of the devices are called with faults that are offered with them."""
        return [MetadataName(self._prefix + name) for name in devices if self._offers(name)]

    def covers(self, backend: str) -> bool:
        """Tell whether jobs on a backend or device of this name meet faults."""
        return backend.startswith(self._prefix) and self._offers(metadata_of(backend).removeprefix(self._prefix))

    def plain(self, backend: str) -> str:
        """Return the name of the same backend or device without faults."""
        return backend.removeprefix(self._prefix) if self.covers(backend) else backend

    def next_seed(self, account: AccountId) -> int:
        """Return the seed of an account's next job, from which its fate and its bits follow."""
        self._jobs[account] += 1
        return self._random(account, "job", self._jobs[account]).getrandbits(_SEED_BITS)

    def set_faults(self, account: AccountId, words: Sequence[str]) -> None:
        """Replace what an account meets beside what the server says, and count its jobs and requests from one again.

        Raises:
            NotFoundError: If no device has faults here.
            MalformedRequestError: If a word makes no sense.
        """
        if not self._patterns:
            raise NotFoundError("No device has faults here: QRS_CHAOS says which do.")
        faults = self._faults.but(words)
        self._of_accounts.pop(account, None)
        if words:
            self._of_accounts[account] = faults
        for forgotten in list(self._of_accounts)[:-_KEPT_ACCOUNTS]:
            del self._of_accounts[forgotten]
        for counts in (self._jobs, self._requests):
            counts.pop(account, None)
        self._tries = {key: tries for key, tries in self._tries.items() if key[0] != account}

    def fate(self, job: Job) -> Fate:
        """Return what happens to a job; nothing on an ordinary backend."""
        if not self.covers(job.backend):
            return Fate()
        return self._faults_of(job.account).but_by_tags(job.tags).fate(job.seed)

    def check_tags(self, tags: Iterable[str]) -> None:
        """Check tags that a job is given later, where there are faults at all.

        Raises:
            MalformedRequestError: If one makes no sense.
        """
        if self._patterns:
            self._faults.but_by_tags(tags)

    def check_request(self, account: AccountId, backend: str, tags: Iterable[str], *request: object) -> None:
        """Let a request meet a fault if it is its turn.

        Args:
            account: Who sends it.
            backend: What it is about; a request about an ordinary one meets none.
            tags: Of the job that it is about.
            request: The same for each repetition of it.

        Raises:
            InjectedError: If it does.
            MalformedRequestError: If a tag makes no sense.
        """
        if not self.covers(backend):
            return
        faults = self._faults_of(account).but_by_tags(tags)
        if not faults.status:
            return
        key = (account, backend, *(_short(part) for part in request))
        tries = self._tries.pop(key, 0)
        if tries == 0:
            self._requests[account] += 1
            draws = self._random(account, "request", self._requests[account])
            if draws.random() >= faults.status_rate:
                return
        if tries >= faults.times:
            return
        self._tries[key] = tries + 1
        for forgotten in list(self._tries)[:-_KEPT_TRIES]:
            del self._tries[forgotten]
        status = faults.status[tries % len(faults.status)]
        raise InjectedError(
            f"Chaos: answered {status} on purpose, {tries + 1} of {faults.times} times.",
            status=status,
            retry_after=faults.retry_after,
        )

    def properties(
        self, account: AccountId, device: Metadata, backend: str, now: datetime | None = None
    ) -> dict[str, Any] | None:
        """Return the calibration that an account reads of a backend; None for an ideal device."""
        if device.properties is None:
            return None
        faults = self._faults_of(account)
        if faults.drift == 0 or not self.covers(backend):
            return dict(device.properties)
        return drifted(
            device.properties,
            f"{self._seed}/{device.name}",
            now or datetime.now(UTC),
            deviation=faults.drift,
            every=faults.drift_every,
        )

    def _faults_of(self, account: AccountId) -> Faults:
        return self._of_accounts.get(account, self._faults)

    def _offers(self, device: str) -> bool:
        return any(fnmatchcase(device, pattern) for pattern in self._patterns)

    def _random(self, *what: object) -> Random:
        return Random("/".join(map(str, (self._seed, *what))))  # noqa: S311 - nobody is to be kept from guessing


def _short(part: object) -> object:
    return hashlib.sha256(part).digest() if isinstance(part, bytes | bytearray | memoryview) else part
