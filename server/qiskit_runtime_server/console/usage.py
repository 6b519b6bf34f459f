"""Accounts and what they have used: all of them for admins, and for teachers those whom they teach."""

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query
from fastapi.responses import RedirectResponse, Response

from qiskit_runtime_server.api.models.base import PathName
from qiskit_runtime_server.console.sign_in import Form, SignedIn

_PERIODS: Final = (7, 30, 90, 365)

# Where the API has what each page shows, where their accounts' jobs are listed, and the heading.
_PAGES: Final = {
    "usage": ("/admin/usage", "all-jobs", "Accounts and their usage"),
    "class-usage": ("/class/usage", "class", "Usage of the class"),
}

router = APIRouter(prefix="/ui", include_in_schema=False)


@router.get("/usage")
@router.get("/class-usage")
async def usage(page: SignedIn, days: Annotated[int, Query(ge=1, le=366)] = 30) -> Response:
    """Show slot time by account, and by day."""
    today = datetime.now(UTC).date()
    name = page.here.strip("/")
    path, jobs_page, heading = _PAGES[name]
    found = await page.api.get(path, since=today - timedelta(days=days - 1), until=today)
    by_day: defaultdict[str, float] = defaultdict(float)
    accounts: dict[str, dict[str, Any]] = {}
    for row in found["usage"]:
        by_day[row["day"]] += row["seconds"]
        account = accounts.setdefault(row["account"], _nothing())
        account["seconds"] += row["seconds"]
        account["jobs"] += row["jobs"]
        account["last"] = max(account["last"], row["day"])
    for row in found["running"]:
        accounts.setdefault(row["account"], _nothing())["running"] += row["jobs"]
    since = [str(today - timedelta(days=number)) for number in reversed(range(days))]
    return page.render(
        "usage",
        name=name,
        jobs_page=jobs_page,
        heading=heading,
        days=days,
        periods=_PERIODS,
        by_day=[(day, by_day[day]) for day in since],
        most=max(by_day.values(), default=0.0),
        accounts=sorted(accounts.items(), key=lambda item: -item[1]["seconds"]),
        rows=found["usage"],
    )


@router.post("/usage/{account}/cancel")
async def cancel(account: PathName, page: SignedIn, _: Form) -> Response:
    """Cancel the queued and running jobs of an account."""
    await page.api.change("POST", f"/admin/accounts/{account}/cancel")
    return RedirectResponse(page.url("all-jobs", account=account), 303)


def _nothing() -> dict[str, Any]:
    return {"seconds": 0.0, "jobs": 0, "running": 0, "last": ""}
