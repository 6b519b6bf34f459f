"""What the routes work with, and who is calling."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Annotated, Any, Final, cast

from fastapi import Depends, Header, Request
from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase

from qiskit_runtime_server.accounts.identity import AccessTokens, Account, Identity, SignedIn, identity
from qiskit_runtime_server.accounts.issuers.authorization_code import Attempt
from qiskit_runtime_server.accounts.issuers.issuers import Issuers
from qiskit_runtime_server.accounts.limits import AccountLimits
from qiskit_runtime_server.api import audit
from qiskit_runtime_server.api.answers import AnswerBudget, AnswerRoom, room_of
from qiskit_runtime_server.api.models.base import Crn
from qiskit_runtime_server.api.rates import Rates
from qiskit_runtime_server.backends.aliases import Aliases
from qiskit_runtime_server.backends.catalog import Catalog, Metadata, Outline
from qiskit_runtime_server.backends.names import AUTO, ExecutorName, MetadataName, VirtualBackend
from qiskit_runtime_server.byte_budget import ByteBudget
from qiskit_runtime_server.chaos.chaos import Chaos
from qiskit_runtime_server.dispatch.cold_starts import ColdStart
from qiskit_runtime_server.dispatch.dispatcher import Dispatcher
from qiskit_runtime_server.dispatch.endings import Endings
from qiskit_runtime_server.dispatch.metrics import JobMetrics
from qiskit_runtime_server.dispatch.pools import Pool
from qiskit_runtime_server.dispatch.routing.auto_pool import AutoPool
from qiskit_runtime_server.dispatch.views import Views
from qiskit_runtime_server.errors import (
    BackendNotFoundError,
    JobNotFoundError,
    NotAllowedError,
    NotAuthenticatedError,
    StartupError,
    TooManyRequestsError,
)
from qiskit_runtime_server.jobs import AccountId, Job, JobState
from qiskit_runtime_server.settings import Settings
from qiskit_runtime_server.store.port import MOST_OWNERS, MOST_RUNNING, JobQuery, Load, Owners, Store
from qiskit_runtime_server.waiting import Turns

_DRAINING: Final = "An admin has paused this executor: jobs wait."
# A pod that is replaced, or a machine that starts again, is back by then.
_MISSING_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Services:
    """Everything that the routes use; made once by the composition root.

    Attributes:
        auto: The executors among which is chosen for jobs that leave it to the server; None if that is not offered.
        listings: Of callers, for what takes the longer the more jobs there are: to count 200,000 takes long, and who
            asks again and again keeps one reader of the store busy, and few connections.
    """

    settings: Settings
    access_tokens: AccessTokens
    catalog: Catalog
    pools: Mapping[ExecutorName, Pool]
    auto: AutoPool | None = None
    store: Store
    dispatcher: Dispatcher
    endings: Endings
    metrics: JobMetrics
    budget: ByteBudget
    answers: AnswerBudget
    rates: Rates = field(default_factory=lambda: Rates(Settings()))
    listings: Turns = field(default_factory=Turns)
    issuers: Issuers = field(default_factory=Issuers)
    chaos: Chaos = field(default_factory=Chaos)
    aliases: Aliases = field(default_factory=Aliases)
    views: Views = field(default_factory=Views)

    def __post_init__(self) -> None:
        """Check that the executors that settings name are offered.

        Raises:
            StartupError: If one is not.
        """
        said = [("QRS_ON_DEMAND", name, self.pools) for name in self.settings.on_demand]
        if (default := self.settings.default_executor) is not None:
            said.insert(0, ("QRS_DEFAULT_EXECUTOR", default, self.targets))
        for setting, name, known in said:
            if name not in known:
                offered = ", ".join(sorted(known))
                raise StartupError(f"{setting}: {name!r} is none of the executors here, which are {offered}.")

    @property
    def targets(self) -> Mapping[ExecutorName, Pool]:
        """What backends can be of: the choice among executors, if it is offered, and each of them."""
        return self.pools if self.auto is None else {AUTO: self.auto, **self.pools}

    def load_of(self, executor: ExecutorName, loads: Mapping[ExecutorName, Load]) -> Load:
        """Return the load of one of the targets: where is chosen, what comes before a job where least does."""
        load = loads.get(executor, Load())
        if self.auto is None or executor != AUTO:
            return load
        others = [loads.get(name, Load()) for name in self.auto.pools]
        queued = min((other.queued for other in others if not other.draining), default=0)
        return replace(
            load,
            queued=load.queued + queued,
            draining=load.draining or all(other.draining for other in others),
        )

    def sees(self, caller: Identity, account: AccountId, instance: str) -> bool:
        """Return whether a caller may look at the jobs of an account under an instance, by its CRN.

        This is the one rule for that: one sees one's own, teachers those of the accounts that they teach and that have
        their names now, and admins everybody's.
        """
        if caller.is_admin or account == caller.id:
            return True
        return caller.teaching.covers(account, instance) and self.access_tokens.is_current(account)

    async def job(self, caller: Identity, job_id: str) -> Job:
        """Return a job that the caller may look at.

        Raises:
            JobNotFoundError: If there is none.
        """
        only_own = not caller.is_admin and not caller.teaching
        job = await self.store.jobs.get(caller.id if only_own else None, job_id)
        if not self.sees(caller, job.account, job.instance):
            raise JobNotFoundError(f"Job {job_id} not found.")
        return job

    async def taught(self, caller: Identity, name: str | None = None) -> Owners:
        """Return those whose jobs a teacher's lists show: all whom the caller teaches, or one of them by name.

        Raises:
            NotAllowedError: If they are more than a database can be asked for.
        """
        known = await self.store.overviews.accounts() if name is None else [self.access_tokens.id_of(name)]
        found = {
            account: crns
            for account in known
            if ((crns := caller.teaching.instances(account)) is None or crns) and self.access_tokens.is_current(account)
        }
        owners = Owners(
            accounts=tuple(account for account, crns in found.items() if crns is None),
            instances=tuple((account, crn) for account, crns in found.items() for crn in crns or ()),
        )
        if (number := len(owners.accounts) + len(owners.instances)) > MOST_OWNERS:
            raise NotAllowedError(
                f"{caller.name} teaches {number:,} accounts and instances, and a list is of {MOST_OWNERS:,} at most:"
                " ask for one account."
            )
        return owners

    async def cancel(self, account: AccountId, job_id: str, *, reason: str) -> Job:
        """Cancel a job, end its run and return it as it was; errors as those of `JobStore.cancel`."""
        job = await self.store.jobs.cancel(account, job_id, reason=reason)
        self.dispatcher.end_run(job.id)
        return job

    async def sign_in(self, token: str, address: str) -> SignedIn:
        """Return whose token it is that comes from an address.

        Raises:
            NotAuthenticatedError: If the token is nobody's who may use this server.
            TooManyRequestsError: If too many were not, lately.
            IssuerUnavailableError: If who has issued it cannot be asked now.
        """
        try:
            return await self.rates.sign_ins.sign_in(self.access_tokens, self.issuers, token, address)
        except (NotAuthenticatedError, TooManyRequestsError) as error:
            self._tell_refused(address, str(error))
            raise

    async def sign_in_by_browser(self, attempt: Attempt, answer: Mapping[str, str], address: str) -> SignedIn:
        """Return who has signed in at the OpenID provider, where there is one; errors as those of `sign_in`."""
        flow = self.issuers.browser_flow
        if flow is None:
            raise NotAuthenticatedError("Nobody signs in here by a browser.")
        try:
            return await self.rates.sign_ins.sign_in_by_browser(self.access_tokens, flow, attempt, answer, address)
        except (NotAuthenticatedError, TooManyRequestsError) as error:
            self._tell_refused(address, str(error))
            raise

    def check(self, access_token: str, address: str) -> Account:
        """Return the account that an access token was issued to.

        Raises:
            NotAuthenticatedError: If it is not valid.
        """
        try:
            return self.access_tokens.check(access_token)
        except NotAuthenticatedError as error:
            self._tell_refused(address, str(error))
            raise

    def _tell_refused(self, address: str, reason: str) -> None:
        if (untold := self.rates.refusals.untold(address)) is not None:
            audit.tell_refused(address, reason, untold=untold)

    async def limits(self, caller: Identity) -> AccountLimits:
        """Return the limits of the caller's instance: what an admin has set over the API, else what its file says."""
        granted = await self.store.overviews.instance_limit(caller.id, caller.crn)
        return caller.instance.limits.granting(granted)

    async def running(self, account: AccountId | None, owners: Owners | None = None) -> Sequence[Job]:
        """Return the newest 1,000 jobs that run, of an account, of some or of everybody."""
        query = JobQuery(state=JobState.RUNNING, owners=owners, limit=MOST_RUNNING)
        jobs, _ = await self.store.jobs.find(account, query)
        return jobs

    def is_paused(self, executor: ExecutorName, load: Load) -> bool:
        """Return whether clients are to warn of a backend's executor, and `least_busy` is to pass over it.

        So they do where an admin has paused it, or none has been up for a minute and nothing starts one for a job.
        Jobs are accepted all the same, and wait.
        """
        away = self.targets[executor].missing_seconds > _MISSING_SECONDS and executor not in self.settings.on_demand
        return load.draining or away

    def reason_to_wait(self, executor: ExecutorName, load: Load) -> str:
        """Return why jobs would wait whatever the queue; empty if they would not."""
        if load.draining:
            return _DRAINING
        if self.targets[executor].size:
            return ""
        starts = executor in self.settings.on_demand
        return "No executor is up: a job starts one." if starts else "No executor is up: jobs wait for one."

    def cold_start(self, executor: ExecutorName) -> ColdStart | None:
        """Return how long an executor takes to come up for a job; None if nothing starts it, or it never did."""
        return self.dispatcher.cold_starts.of(executor) if executor in self.settings.on_demand else None

    def devices(self) -> list[MetadataName]:
        """Return the names of all devices, those with faults last."""
        names = self.catalog.names()
        return [*names, *self.chaos.names(names)]

    async def metadata(self, backend: str) -> Metadata:
        """Return the device that a virtual backend's name stands for.

        Raises:
            BackendNotFoundError: If its metadata or its executor is unknown.
        """
        pair, ideal_qubits = await self._pair(backend)
        try:
            return self.catalog.get(self.chaos.plain(pair.metadata), ideal_qubits=ideal_qubits)
        except BackendNotFoundError as error:
            raise self._with_nearest(error, backend) from error

    async def outline(self, backend: str) -> tuple[VirtualBackend, Outline]:
        """Return the pair and the outline of a virtual backend, which costs less than the device; errors as above."""
        pair, ideal_qubits = await self._pair(backend)
        try:
            return pair, self.catalog.outline(self.chaos.plain(pair.metadata), ideal_qubits=ideal_qubits)
        except BackendNotFoundError as error:
            raise self._with_nearest(error, backend) from error

    async def configuration(self, backend: str) -> bytes:
        """Return the configuration document of a virtual backend; errors as above."""
        pair, ideal_qubits = await self._pair(backend)
        try:
            return self.catalog.configuration(self.chaos.plain(pair.metadata), backend, ideal_qubits=ideal_qubits)
        except BackendNotFoundError as error:
            raise self._with_nearest(error, backend) from error

    async def calibration(self, backend: str) -> tuple[VirtualBackend, str]:
        """Return the pair that a virtual backend's name stands for, and its device's digest; errors as above."""
        pair, ideal_qubits = await self._pair(backend)
        try:
            return pair, self.catalog.digest(self.chaos.plain(pair.metadata), ideal_qubits=ideal_qubits)
        except BackendNotFoundError as error:
            raise self._with_nearest(error, backend) from error

    def _with_nearest(self, error: BackendNotFoundError, backend: str) -> BackendNotFoundError:
        """Return the error with the names that are nearest to what was asked for, if any are near."""
        names = [
            str(VirtualBackend(metadata=name, executor=executor))
            for executor in self.targets
            for name in self.devices()
        ]
        names += self.aliases.names()
        near = get_close_matches(backend, names, n=3, cutoff=0.7)
        return BackendNotFoundError(f"{error} Did you mean {' or '.join(near)}?") if near else error

    async def _pair(self, backend: str) -> tuple[VirtualBackend, int]:
        try:
            pair = self.aliases.find(backend) or VirtualBackend.parse(backend, self.settings.default_executor)
        except BackendNotFoundError as error:
            raise self._with_nearest(error, backend) from error
        pool = self.targets.get(pair.executor)
        if pool is None:
            offered = ", ".join(sorted(self.targets))
            raise self._with_nearest(
                BackendNotFoundError(f"Backend {backend!r} not found: the executors here are {offered}."), backend
            )
        return pair, (await pool.capabilities()).num_qubits


async def services(request: Request) -> Services:
    """Return the services of the app that serves this request."""
    return cast("Services", request.app.state.services)


TheServices = Annotated[Services, Depends(services)]


class _AccessToken(SecurityBase):
    """Says who is calling. A scheme that was only described would cost each request a dependency of its own."""

    model = HTTPBearer(bearerFormat="JWT", description="From `POST /identity/token`.")
    scheme_name = "AccessToken"

    async def __call__(
        self,
        request: Request,
        service_crn: Annotated[
            Crn | None, Header(description="Under which instance; without it the account's first one.")
        ] = None,
    ) -> Identity:
        """Return who is calling.

        Raises:
            NotAuthenticatedError: If the credentials are missing or not valid.
            NotFoundError: If the instance is not the account's.
            TooManyRequestsError: If the account has sent too many requests lately, or failed to sign in too often.
            IssuerUnavailableError: If who has issued the token cannot be asked now.
        """
        services: Services = request.app.state.services
        address = audit.address_of(request)
        scheme, _, credentials = request.headers.get("authorization", "").partition(" ")
        match scheme.lower():
            case "bearer":
                account = services.check(credentials.strip(), address)
            case "apikey":
                account = (await services.sign_in(credentials.strip(), address)).account
            case _:
                raise NotAuthenticatedError("The header `Authorization: Bearer <access token>` is missing.")
        room_of(request).owner = account.id
        services.rates.requests.take(account.id, f"Too many requests of account {account.name}")
        return replace(identity(account, service_crn), address=address)


_ACCOUNT_TOKEN: Final = {
    "type": "apiKey",
    "description": "`apikey` and the account's token, which needs no trade.",
    "in": "header",
    "name": "Authorization",
}


def describe_account_tokens(document: dict[str, Any]) -> None:
    """Have an OpenAPI document say that an account's token will do wherever an access token does."""
    document["components"]["securitySchemes"]["AccountToken"] = _ACCOUNT_TOKEN
    for methods in document["paths"].values():
        for operation in methods.values():
            if "security" in operation:
                operation["security"] = [{_AccessToken.scheme_name: []}, {"AccountToken": []}]


Caller = Annotated[Identity, Depends(_AccessToken())]


async def room(request: Request) -> AnswerRoom:
    """Return the room of the answer to the caller, who counts as its owner once `Caller` is known."""
    return room_of(request)


# Without depending on the caller, all of whose own dependencies would be gone through once more.
TheRoom = Annotated[AnswerRoom, Depends(room)]


async def admin(caller: Caller) -> Identity:
    """Return who is calling.

    Raises:
        NotAllowedError: If it is no admin.
    """
    if not caller.is_admin:
        raise NotAllowedError(f"Only admins may do that; {caller.name} is not an admin.")
    return caller


Admin = Annotated[Identity, Depends(admin)]


async def teacher(caller: Caller) -> Identity:
    """Return who is calling.

    Raises:
        NotAllowedError: If it teaches nobody.
    """
    if not caller.teaching:
        raise NotAllowedError(f"Only teachers may do that; {caller.name} teaches nobody.")
    return caller


Teacher = Annotated[Identity, Depends(teacher)]
