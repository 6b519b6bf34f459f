"""What is answered about instances, accounts and what they have used."""

from typing import Literal

from pydantic import Field

from qiskit_runtime_server.api.models.base import Answer, Time


class Version(Answer):
    """A version of the API."""

    version: str
    """A date, for the header `IBM-API-Version`."""
    status: Literal["live", "deprecated"]


class Versions(Answer):
    """The versions of the API that this server speaks."""

    versions: list[Version]


class Period(Answer):
    """From when to when usage counts."""

    start_time: Time
    end_time: Time


class InstanceUsage(Answer):
    """What an instance has used."""

    instance_id: str
    """CRN."""
    plan_id: str
    usage_period: Period | None = None
    """The day (UTC); only where there is a limit."""
    usage_consumed_seconds: int
    usage_limit_seconds: int | None = None
    """Only where there is a limit."""
    usage_remaining_seconds: int | None = None
    """Only where there is a limit."""
    usage_limit_reached: bool
    """Whether no job is accepted or started until the period ends."""
    running_jobs: int
    """Of the instance, which are not among what it has consumed yet."""
    running_seconds: float
    """For how long these have been running, in all."""


class Instance(Answer):
    """An instance."""

    plan_id: str
    backends: list[str]
    """Names of all virtual backends; every instance may use them."""
    instance_limit: int | None = None
    """Seconds of slot time a day; only where there is a limit."""
    instance_limit_seconds: str | None = None
    """The same, as text."""


class InstanceConfiguration(Answer):
    """What admins can change of an instance."""

    instance_limit: int | None = None
    """Seconds of slot time a day; only where there is a limit."""


class PlanConfiguration(Answer):
    """What the instances of an account with one plan may do."""

    plan_id: str
    subscription_id: str
    """The plan's name: there are no contracts."""
    subscription_name: str
    usage_limit_seconds: int | None = None
    """Of all these instances a day; only where each of them has a limit."""
    backends: list[str]
    max_ttl: int
    """Longest time in seconds that a session may ask for."""
    active_ttl: int
    interactive_ttl: int
    """Seconds without a job after which a session is inactive."""


class AccountConfiguration(Answer):
    """An account's plans."""

    plans: list[PlanConfiguration]


class NamedFilter(Answer):
    """Something that has a name."""

    name: str


class UserFilter(Answer):
    """An account."""

    id: str


class InstanceFilter(Answer):
    """An instance that has used slot time."""

    id: str
    """CRN."""
    deleted: bool
    """Whether it is an instance of the caller that is there no more."""


class AnalyticsFilters(Answer):
    """What analytics can be narrowed to."""

    backends: list[NamedFilter]
    instances: list[InstanceFilter]
    users: list[UserFilter]
    plans: list[NamedFilter] = Field(max_length=0)
    subscriptions: list[NamedFilter] = Field(max_length=0)


class Analytics(Answer):
    """Slot time of jobs that have ended after running, deleted ones included; all times in milliseconds."""

    usage: float
    jobs: int
    sessions: int
    """With jobs that have ended, batches included."""
    sessions_usage: float
    avg_sessions_usage: float
    max_sessions_usage: float
    batch_sessions: int
    batch_sessions_usage: float
    avg_batch_sessions_usage: float
    max_batch_sessions_usage: float
    dedicated_sessions: int
    dedicated_sessions_usage: float
    avg_dedicated_sessions_usage: float
    max_dedicated_sessions_usage: float
    individual_jobs: int
    individual_jobs_usage: float
    avg_individual_jobs_usage: float
    max_individual_jobs_usage: float
    queue_time: float
    """From submission to the start of the run that ended the job."""
    avg_queue_time: float
    max_queue_time: float


class AnalyticsGroup(Analytics):
    """The same of a group."""

    key: str


class AnalyticsGroups(Answer):
    """Analytics by instance, backend or account."""

    data: list[AnalyticsGroup]


class AnalyticsDay(AnalyticsGroup):
    """The same of a group on one day (UTC)."""

    interval_start: Time
    interval_end: Time


class AnalyticsDays(Answer):
    """Analytics by instance and day."""

    interval_start: Time
    interval_end: Time
    data: list[AnalyticsDay]
