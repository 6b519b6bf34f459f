"""Draws a played day: the pods that there are, and those of them with a job, over the hours."""

from collections.abc import Iterator, Sequence

from kit.kubernetes.class_day import HOUR, Moment, Played

WIDTH, HEIGHT = 840, 300
LEFT, RIGHT, TOP, BOTTOM = 48, 824, 44, 252
COLOURS = {"fixed": "#94a3b8", "pods": "#2563eb", "busy": "#16a34a"}
NAMES = {"fixed": "fixed number of pods", "pods": "pods with autoscale", "busy": "pods with a job"}


def picture(day: Played, fixed: Played, title: str, *, hours: int = 24) -> str:
    """Return an SVG: a line for the pods of each, and one for those with a job."""
    most = max(day.most_pods, fixed.most_pods)
    lines = {
        "fixed": [(moment.seconds, moment.pods) for moment in fixed.moments],
        "busy": [(moment.seconds, moment.busy) for moment in by_minute(day.moments)],
        "pods": [(moment.seconds, moment.pods) for moment in day.moments],
    }
    saved = fixed.idle_gpu_seconds - day.idle_gpu_seconds
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" height="{HEIGHT}">',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        '<g font-family="Helvetica, Arial, sans-serif" font-size="13" text-anchor="middle" fill="#0f172a">',
        text(WIDTH / 2, 20, title),
        text(
            WIDTH / 2,
            HEIGHT - 8,
            f"hour of the day; {saved / HOUR:.1f} idle GPU-hours of {fixed.idle_gpu_seconds / HOUR:.1f} saved",
        ),
    ]
    ticks = range(0, hours + 1, max(1, hours // 12))
    parts += [text(across(hour * HOUR, hours), BOTTOM + 18, str(hour)) for hour in ticks]
    for pods in range(most + 1):
        parts.append(text(LEFT - 18, up(pods, most) + 4, str(pods)))
        parts.append(f'<path d="M{LEFT},{up(pods, most)} H{RIGHT}" stroke="#e2e8f0"/>')
    for number, (name, points) in enumerate(lines.items()):
        path = "".join(steps(points, hours, most))
        key = LEFT + 24 + 220 * number
        parts += [
            f'<g id="{name}" stroke="{COLOURS[name]}" stroke-width="1.6" fill="none">',
            f'<path d="{path}"/><path d="M{key},34 h24"/>',
            "</g>",
            text(key + 100, 38, NAMES[name]),
        ]
    return "\n".join([*parts, "</g>", "</svg>", ""])


def by_minute(moments: Sequence[Moment]) -> list[Moment]:
    """Return the busiest moment of each minute: a picture has no room for more."""
    found: dict[int, Moment] = {}
    for moment in moments:
        minute = int(moment.seconds // 60)
        if minute not in found or moment.busy > found[minute].busy:
            found[minute] = moment
    return list(found.values())


def steps(points: Sequence[tuple[float, int]], hours: float, most: int) -> Iterator[str]:
    """Yield a line that keeps its height until the next point."""
    (begin, first), *others = points
    yield f"M{across(begin, hours)},{up(first, most)}"
    before = first
    for seconds, pods in others:
        if pods != before:
            yield f"H{across(seconds, hours)}V{up(pods, most)}"
            before = pods
    yield f"H{RIGHT}"


def across(seconds: float, hours: float) -> float:
    return round(LEFT + (RIGHT - LEFT) * seconds / (hours * HOUR), 1)


def up(pods: int, most: int) -> float:
    return round(BOTTOM - (BOTTOM - TOP) * pods / most, 1)


def text(x: float, y: float, words: str) -> str:
    return f'<text x="{x}" y="{y}">{words}</text>'
