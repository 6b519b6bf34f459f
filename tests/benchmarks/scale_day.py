"""Pods over a day of a class, with `autoscale` and without: computed, on a simulated clock."""

from collections.abc import Iterator
from pathlib import Path

from benchmarks.table import Row
from kit.kubernetes.class_day import HOUR, LOOK_SECONDS, Played, Pool, played
from kit.kubernetes.class_day_picture import picture

PICTURE = Path(__file__).parents[2] / "docs" / "pictures" / "class-day.svg"
TITLE = "Two labs of 30 students and an evening of homework, at most 4 pods of one GPU and 2 slots"


def day_rows(*, quick: bool) -> Iterator[Row]:
    """Play the day with each policy, and draw the picture."""
    pool = Pool(autoscale={"idleSeconds": 300})
    scaled, fixed = played(pool), played(Pool())
    if not quick:
        PICTURE.write_text(picture(scaled, fixed, TITLE))
    slow = played(Pool(autoscale={"idleSeconds": 300}, cold_start=180))
    idle = played(Pool(autoscale={"idleSeconds": 60}))
    yield _row(f"4 pods, always; {len(fixed.waits):,} jobs", fixed)
    yield _row("3 pods, always", played(Pool(pods=3)))
    yield _row(f"`autoscale` up to 4, cold start {pool.cold_start:g} s, looked at each {LOOK_SECONDS} s", scaled)
    yield _row("the same with `idleSeconds: 60`", idle)
    yield _row("the same with `idleSeconds: 300` and a cold start of 180 s, as of a new node", slow)


def _row(what: str, day: Played) -> Row:
    waits = f"wait p50 {day.wait(50):.1f} s, p95 {day.wait(95):.1f} s, longest {max(day.waits):.0f} s"
    gpus = (
        f"{day.idle_gpu_seconds:,.0f} idle GPU-seconds of {day.gpu_seconds:,.0f} ({day.idle_gpu_seconds / HOUR:.1f} h)"
    )
    return Row(what=what, ours=f"{gpus}; {waits}; {day.changes} changes of the number of pods", peer="computed")
