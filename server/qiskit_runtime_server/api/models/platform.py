"""What is answered in the place of IBM Cloud's own services."""

from typing import Any

from qiskit_runtime_server.api.models.base import Answer


class AccessToken(Answer):
    """An access token."""

    access_token: str
    """A JWT, for the header `Authorization: Bearer`."""
    refresh_token: str
    token_type: str
    expires_in: int
    """Seconds."""
    expiration: int
    """Seconds since 1970."""
    scope: str


class WrongKey(Answer):
    """The token is not known, as IBM Cloud says it."""

    errorCode: str  # noqa: N815 - IBM's name
    errorMessage: str  # noqa: N815 - IBM's name


class FoundInstance(Answer):
    """An instance, as IBM Cloud's search shows it."""

    crn: str
    name: str
    service_plan_unique_id: str
    tags: list[str]
    doc: dict[str, Any]


class FoundInstances(Answer):
    """The account's instances."""

    items: list[FoundInstance]
    limit: int


class Plan(Answer):
    """A plan, as IBM Cloud's catalogue shows it."""

    id: str
    overview_ui: dict[str, Any]
    """Its name, at `en.display_name`."""
    metadata: dict[str, Any]
    """That it is free, at `pricing.type`."""


class ResourceInstance(Answer):
    """An instance, as IBM Cloud's resource controller shows it."""

    id: str
    """The CRN."""
    guid: str
    crn: str
    name: str
    account_id: str
    resource_plan_id: str
    state: str
    extensions: dict[str, Any]


class ResourceInstances(Answer):
    """The account's instances; all of them are on one page."""

    rows_count: int
    next_url: None = None
    resources: list[ResourceInstance]
