"""What `jobs`, `job`, `top` and `cancel` do: show what a server does, as one of its accounts sees it."""

import math
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, Final

from rich.console import Group, RenderableType
from rich.live import Live
from rich.text import Text

from qiskit_runtime_server.accounts.teaching import Role
from qiskit_runtime_server.command_line.server import Server, Target
from qiskit_runtime_server.command_line.tables import cell, duration, plain, show, show_json, since, status, table
from qiskit_runtime_server.errors import RequestError

_TERMINAL: Final = frozenset({"Completed", "Failed", "Cancelled"})
_FAILED: Final = frozenset({"Failed", "Cancelled"})
_EVERY_SECONDS: Final = 1.0
_MOST_RUNNING: Final = 12
_MOST_QUEUED: Final = 8
_LOG_LINES: Final = 15
_BAR: Final = 20
_SHORT_BAR: Final = 10
_LISTS: Final = {Role.USER: ("jobs",), Role.TEACHER: ("jobs", "class/jobs"), Role.ADMIN: ("admin/jobs",)}


def list_jobs(at: Target, wanted: Mapping[str, object], *, others: bool, watch: bool, as_json: bool) -> None:
    """Print a listing of the account's jobs, or of those of others that it looks after.

    Raises:
        RequestError: As all of these, if the server does not answer, or refuses.
    """
    with Server(at) as server:
        path = server.of_others("jobs") if others else "jobs"

        def found() -> list[dict[str, Any]]:
            jobs: list[dict[str, Any]] = server.get(path, **wanted)["jobs"]
            return jobs

        if as_json:
            show_json(found())
        else:
            _show_or_watch(lambda: _listing(found(), wanted, others=others), watch=watch)


def show_job(at: Target, job_id: str, *, watch: bool, as_json: bool) -> bool:
    """Print a job, with `watch` at its end, which a terminal sees it come to; return whether it has not failed."""
    with Server(at) as server:

        def look() -> dict[str, Any]:
            return {
                "job": server.get(f"jobs/{job_id}", exclude_params=True),
                "metrics": server.get(f"jobs/{job_id}/metrics"),
                "log": server.text(f"jobs/{job_id}/logs"),
            }

        found = look()
        if watch and not as_json and sys.stdout.isatty():
            with Live(_job_view(found), auto_refresh=False) as live:
                while _goes_on(found):
                    time.sleep(_EVERY_SECONDS)
                    found = look()
                    live.update(_job_view(found), refresh=True)
        else:
            while watch and _goes_on(found):
                time.sleep(_EVERY_SECONDS)
                found = look()
            show_json(found) if as_json else show(_job_view(found))
    return found["job"]["status"] not in _FAILED


def show_top(at: Target, *, once: bool, as_json: bool) -> None:
    """Print executors, and the jobs that run and wait there."""
    with Server(at) as server:
        if as_json:
            show_json(_state(server))
        else:
            _show_or_watch(lambda: _top_view(_state(server)), watch=not once)


def cancel_jobs(at: Target, job_ids: Iterable[str], *, as_json: bool) -> bool:
    """Cancel jobs, print what became of each, and return whether all were cancelled."""
    with Server(at) as server:
        results = [{"id": job_id, "error": _cancelled(server, job_id)} for job_id in dict.fromkeys(job_ids)]
    if as_json:
        show_json(results)
    else:
        show(*(cell(f"{result['id']}: {result['error'] or 'cancelled'}") for result in results))
    return all(result["error"] is None for result in results)


def _goes_on(found: Mapping[str, Any]) -> bool:
    return found["job"]["status"] not in _TERMINAL


def _cancelled(server: Server, job_id: str) -> str | None:
    """Cancel a job, and return why that failed, if it did."""
    try:
        server.post(f"jobs/{job_id}/cancel")
    except RequestError as error:
        return str(error)
    return None


def _show_or_watch(view: Callable[[], RenderableType], *, watch: bool) -> None:
    """Print a view, or, on a terminal, show it again each second until Ctrl-C."""
    if not (watch and sys.stdout.isatty()):
        show(view())
        return
    with suppress(KeyboardInterrupt), Live(view(), auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(_EVERY_SECONDS)
            live.update(view(), refresh=True)


def _listing(found: Sequence[dict[str, Any]], wanted: Mapping[str, object], *, others: bool) -> RenderableType:
    if found:
        return _job_table(found, owners=others)
    filtered = any(value is not None for name, value in wanted.items() if name != "limit")
    hint = "" if others else " Teachers and admins list those of others with --all."
    return cell(f"There are none{' like that' if filtered else ''}.{hint}")


def _job_table(found: Sequence[dict[str, Any]], *, owners: bool, title: str | None = None) -> RenderableType:
    columns: tuple[str, ...] = ("id", "status", "program", "backend", "age", "seconds", "tags")
    rows: list[tuple[object, ...]] = [
        (
            about["id"],
            status(about["status"]),
            about["program"]["id"],
            about["backend"],
            since(about["created"]),
            duration(about["seconds"]),
            ", ".join(about["tags"]),
        )
        for about in found
    ]
    if owners:
        columns = (*columns, "account")
        rows = [(*row, about["account"]) for row, about in zip(rows, found, strict=True)]
    return table(columns, rows, title=title)


def _job_view(found: dict[str, Any]) -> RenderableType:
    about, metrics = found["job"], found["metrics"]
    lines = [line for line in found["log"].splitlines() if line.strip()]
    shown = table(("", ""), _facts(about, metrics))
    shown.show_header = False
    log = [Text(plain(line), style="dim") for line in lines[-_LOG_LINES:]]
    return Group(shown, *log)


def _facts(about: dict[str, Any], metrics: dict[str, Any]) -> Iterator[tuple[object, object]]:
    """Yield what is known of a job, by name."""
    state, times = about["state"], metrics["timestamps"]
    yield "job", about["id"]
    yield "status", status(about["status"])
    if state["reason"]:
        yield "reason", f"{state['reason']} ({state['reason_code']})" if "reason_code" in state else state["reason"]
    yield "program", f"{about['program']['id']} on {about['backend']}"
    # Former servers do not say it.
    if metrics.get("executor") is not None:
        yield "executor", f"{metrics['executor']}{_routing(metrics.get('routing'))}"
    yield "account", about["account"]
    yield "created", f"{times['created']} ({since(times['created'])} ago)"
    if metrics["position_in_queue"] is not None:
        yield "position", metrics["position_in_queue"]
    for name, key in (("starts about", "estimated_start_time"), ("ends about", "estimated_completion_time")):
        if metrics[key] is not None and about["status"] not in _TERMINAL:
            yield name, metrics[key]
    if metrics["progress"] is not None:
        yield "progress", progress(metrics["progress"], with_stage=True)
    for name in ("running", "finished"):
        if times[name] is not None:
            yield name, times[name]
    yield "slot time", duration(about["seconds"])
    if metrics["num_circuits"]:
        yield "circuits", f"{metrics['num_circuits']}, {metrics['executions']} executions"
    if about["session_id"]:
        yield "session", about["session_id"]
    if about["tags"]:
        yield "tags", ", ".join(about["tags"])


def _routing(predicted: Mapping[str, Any] | None) -> str:
    """Return what a job would take on each executor, if one was chosen for it."""
    if not predicted:
        return ""
    return f", chosen: {', '.join(f'{name} {_predicted(each)}' for name, each in predicted.items())}"


def _predicted(each: Mapping[str, Any]) -> str:
    if each["refusal"]:
        return "cannot"
    return "not known" if each["seconds"] is None else f"about {duration(each['seconds'])}"


def progress(run: Mapping[str, Any] | None, *, with_stage: bool = False) -> Text:
    """Return how far a job has come, as a bar and a number; where it is, too, if asked for."""
    if not run or not run["total"]:
        return cell(None)
    length = _BAR if with_stage else _SHORT_BAR
    filled = math.floor(run["fraction"] * length)
    stage = f", {plain(run['stage'])}" if with_stage and run["stage"] else ""
    return Text(f"{'█' * filled}{'░' * (length - filled)} {math.floor(100 * run['fraction']):3} %{stage}", style="cyan")


def _state(server: Server) -> dict[str, Any]:
    """Return the executors, and the jobs that run and wait: the account's, and those of others that it looks after."""
    executors, role = server.get("executors")["executors"], server.role()
    pages = [server.get(path, pending=True, limit=200) for path in _LISTS[role]]
    found = {about["id"]: about for page in pages for about in page["jobs"]}
    jobs = sorted(found.values(), key=lambda about: (about["created"], about["id"]), reverse=True)
    running = [about for about in jobs if about["status"] == "Running"]
    queued = [about for about in jobs if about["status"] == "Queued"]
    for about in running[:_MOST_RUNNING]:
        with suppress(RequestError):  # it was deleted since
            about["progress"] = server.get(f"jobs/{about['id']}/metrics")["progress"]
    return {
        "role": role,
        "executors": executors,
        "running": running,
        "queued": queued,
        "pending": sum(page["count"] for page in pages),
    }


def _top_view(state: dict[str, Any]) -> RenderableType:
    executors = table(
        ("executor", "status", "slots", "busy", "queued", "oldest waits", "why not ready"),
        [
            (
                executor["name"],
                Text(plain(executor["status"]), style="green" if executor["ready"] else "yellow"),
                executor["slots"],
                None if executor["idle"] is None else executor["slots"] - executor["idle"],
                executor["queued"],
                duration(executor["oldest_waiting_seconds"]),
                executor["reason"],
            )
            for executor in state["executors"]
        ],
    )
    running = table(
        ("id", "program", "backend", "account", "runs for", "progress"),
        [
            (
                about["id"],
                about["program"]["id"],
                about["backend"],
                about["account"],
                since(about["started"]),
                progress(about.get("progress")),
            )
            for about in state["running"][:_MOST_RUNNING]
        ],
        title=f"running: {len(state['running'])}",
    )
    # The next ones are the oldest.
    queued = _job_table(
        state["queued"][::-1][:_MOST_QUEUED],
        owners=state["role"] is not Role.USER,
        title=f"queued: {len(state['queued'])}",
    )
    return Group(executors, running, queued)
