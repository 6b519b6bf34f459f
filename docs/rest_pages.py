"""The reference page of the REST API, from its OpenAPI document, and what IBM's has beyond it."""

from collections.abc import Iterator, Sequence

from qiskit_runtime_server import Settings, create_app
from qiskit_runtime_server.api.reference import Field, Operation, operations
from qiskit_runtime_server.app import PREFIXES

OURS = "IBM's API has no such path."
SAME = "Nothing that IBM's has is missing."

# Compared with https://quantum.cloud.ibm.com/docs/api/qiskit-runtime-rest, path by path.
LACKS = {
    "GET /api/v1/versions": "No `sunset_date`: no version is to be dropped.",
    "GET /api/v1/instance": "No `usage_allocation_seconds`: the shares of accounts are set in accounts.toml.",
    "GET /api/v1/instances/configuration": SAME,
    "PUT /api/v1/instances/configuration": "No 409: a limit may be set below what is used, and then holds at once.",
    "GET /api/v1/accounts/{account_id}": "No `functions`, `start_time`, `end_time` and `unallocated_usage_seconds`:"
    " there are no contracts.",
    "GET /api/v1/analytics/filters": "`plans` and `subscriptions` are empty.",
    "GET /api/v1/analytics/usage": "No filters `plan` and `subscription_id`.",
    "GET /api/v1/analytics/usage_grouped": "No filters `plan` and `subscription_id`, and no groups by them.",
    "GET /api/v1/analytics/usage_grouped_by_date": "No filters `plan` and `subscription_id`.",
    "GET /api/v1/workloads": "No `estimated_running_time_seconds`.",
    "GET /api/v1/tags": SAME,
    "GET /api/v1/instances/usage": "No `usage_allocation_seconds`. The period is a day (UTC), not four weeks.",
    "GET /api/v1/backends": "No `fields=wait_time_seconds` and no `performance_metrics`.",
    "GET /api/v1/backends/{name}/configuration": "Only the present calibration can be named.",
    "GET /api/v1/backends/{name}/properties": "Only the present calibration is kept.",
    "GET /api/v1/backends/{name}/status": SAME,
    "GET /api/v1/backends/{name}/defaults": "Always null: there are no pulses.",
    "POST /api/v1/jobs": "No `remote_storage`, no `runtime` and no header `Parent-Job-Id`. Beyond the limit of an"
    " instance the answer is 429, not 409.",
    "GET /api/v1/jobs": "A `limit` below 1 is refused; a page with params has at most 20 jobs, and none over 1 MiB.",
    "GET /api/v1/jobs/{job_id}": "No `remote_storage` and no `calibration_id`.",
    "DELETE /api/v1/jobs/{job_id}": SAME + " A job that runs is ended first.",
    "POST /api/v1/jobs/{job_id}/cancel": "No header `Parent-Job-Id`.",
    "GET /api/v1/jobs/{job_id}/results": SAME,
    "GET /api/v1/jobs/{job_id}/metrics": "No `caller`, `bss` and `position_in_provider`.",
    "GET /api/v1/jobs/{job_id}/logs": SAME,
    "PUT /api/v1/jobs/{job_id}/tags": SAME,
    "POST /api/v1/sessions": "No `active_ttl` and `interactive_ttl`: the server's settings hold.",
    "GET /api/v1/sessions/{session_id}": "No reason for a change of state.",
    "PATCH /api/v1/sessions/{session_id}": SAME,
    "DELETE /api/v1/sessions/{session_id}/close": SAME,
    "POST /identity/token": "Of IBM Cloud's IAM, tokens for API keys only.",
    "POST /v3/resources/search": "Of IBM Cloud's search, all instances of the account, whatever the query.",
    "GET /v2/resource_instances": "Of IBM Cloud's resource controller, the filter by `name` only, and one page.",
    "GET /v2/resource_instances/{crn}": "Of IBM Cloud's resource controller, reading only.",
    "GET /api/v1/qiskit-runtime-server-{plan}": "Of IBM Cloud's catalogue, what clients read.",
    "GET /qiskit-runtime-server-{plan}": "Of IBM Cloud's catalogue, what clients read.",
}


def all_operations() -> list[Operation]:
    """Return the operations of the API, without those that only have another prefix."""
    return list(operations(create_app(settings=Settings(_env_file=None)).openapi()))


def rest_page() -> str:
    """Return the page on the REST API."""
    lines = [
        "# REST API",
        "",
        "Made from the code by `make docs`. A server has the same at `/docs`, and its OpenAPI document at",
        "`/openapi.json`, unless `QRS_API_DOCS` is off. The runtime's paths are served under "
        + ", ".join(f"`{prefix}`" for prefix in PREFIXES if prefix)
        + ",",
        "and without any of these; only the first is shown. Calls that need `Authorization: Bearer <access token>` (or",
        "`apikey <token>`) say so; all of these may have the header `Service-CRN`, which names an instance. Errors are",
        "JSON with keys `error`, `errors` and `trace`. What IBM's API has beyond this one is said at each path.",
        "",
    ]
    found = all_operations()
    for tag in dict.fromkeys(operation.tag for operation in found):
        lines += [f"## {tag.capitalize()}", ""]
        for operation in found:
            if operation.tag == tag:
                lines += _section(operation)
    return "\n".join(lines).rstrip() + "\n"


def _section(operation: Operation) -> Iterator[str]:
    yield from (f"### `{operation.name}`", "", operation.description, "")
    parameters = [field for field in operation.parameters if field.name != "service-crn"]
    yield from _table("parameter", parameters)
    yield from _table("field of the body", operation.body)
    kinds = ", ".join(f"{status} ({kind})" for status, kind in operation.answers.items())
    yield from (f"Answers {kinds}; errors {', '.join(operation.errors)}." + " Signed in." * operation.signed_in, "")
    yield from _table("field of the answer", operation.answer)
    yield from (f"Compared with IBM's: {LACKS.get(operation.name, OURS)}", "")


def _table(head: str, fields: Sequence[Field]) -> Iterator[str]:
    if not fields:
        return
    yield from (f"| {head} | type | meaning |", "|---|---|---|")
    for field in fields:
        demanded = "" if field.required or head == "field of the answer" else ", optional"
        meaning = field.meaning.replace("|", "\\|")
        yield f"| `{field.name}` | {field.type}{demanded} | {meaning} |"
    yield ""
