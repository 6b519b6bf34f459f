"""What users add to the pods: parts that the operator has no opinion about, handed through to the API server."""

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, AliasGenerator, ConfigDict, Field
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass

# By name as well as by alias, so that `dataclasses.replace` works.
STRICT: Final = ConfigDict(
    alias_generator=AliasGenerator(validation_alias=to_camel), validate_by_name=True, extra="forbid"
)


def _without_empty(part: Mapping[str, Any]) -> dict[str, Any]:
    """Return `part` without what the API server leaves out: what is asked for must equal what is there.

    It leaves out empty texts and lists, and keeps an empty object, as in `emptyDir: {}`.
    """
    return {key: value for key, value in part.items() if value not in ("", None, [])}


# Parts of a pod's specification, handed through.
PodPart = Annotated[Mapping[str, Any], AfterValidator(_without_empty)]


class UserAssignment(StrEnum):
    """Who chooses the user that the pods run as."""

    FIXED = "Fixed"
    PLATFORM = "Platform"


@dataclass(frozen=True, slots=True, kw_only=True, config=STRICT)
class PodTemplate:
    """What is added to pods. What the operator itself sets has precedence over it.

    Attributes:
        env: Further variables of the container `server`, by name in order.
        containers: Further containers; none is called `server`.
    """

    labels: Mapping[str, str] = Field(default_factory=dict)
    annotations: Mapping[str, str] = Field(default_factory=dict)
    affinity: PodPart = Field(default_factory=dict)
    scheduler_name: str | None = None
    host_users: bool | None = None
    user_assignment: UserAssignment | None = None
    security_context: PodPart = Field(default_factory=dict)
    env: tuple[PodPart, ...] = ()
    env_from: tuple[PodPart, ...] = ()
    volumes: tuple[PodPart, ...] = ()
    volume_mounts: tuple[PodPart, ...] = ()
    init_containers: tuple[PodPart, ...] = ()
    containers: tuple[PodPart, ...] = ()

    def with_defaults(self, general: Self) -> Self:
        """Return this template where it says something, and `general` where it does not.

        Maps are joined by key, lists by the name of their elements (`volumeMounts` by path); `envFrom` and the
        affinity are taken from this one as a whole if it has them.
        """
        return type(self)(
            labels={**general.labels, **self.labels},
            annotations={**general.annotations, **self.annotations},
            affinity=self.affinity or general.affinity,
            scheduler_name=self.scheduler_name or general.scheduler_name,
            host_users=general.host_users if self.host_users is None else self.host_users,
            user_assignment=self.user_assignment or general.user_assignment,
            security_context={**general.security_context, **self.security_context},
            env=joined(general.env, self.env),
            env_from=self.env_from or general.env_from,
            volumes=joined(general.volumes, self.volumes),
            volume_mounts=joined(general.volume_mounts, self.volume_mounts, key="mountPath"),
            init_containers=joined(general.init_containers, self.init_containers),
            containers=joined(general.containers, self.containers),
        )


def joined(
    first: Iterable[Mapping[str, Any]], then: Iterable[Mapping[str, Any]], key: str = "name"
) -> tuple[Mapping[str, Any], ...]:
    """Return the elements of both in order; of two with the same `key` the one in `then`."""
    return tuple({element[key]: element for element in (*first, *then)}.values())
