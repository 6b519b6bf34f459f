"""Release notes: the part of CHANGELOG.md that speaks of a version."""

import re

from release.errors import ReleaseError

_HEADING = re.compile(r"^## (.+)$", re.MULTILINE)


def notes_of(changelog: str, version: str, *, final: bool) -> str:
    """Return what the changelog says of a version, below a heading of its own.

    Args:
        changelog: The text of CHANGELOG.md.
        version: As in 0.2.0; its heading is `## 0.2.0 (2026-12-01)`.
        final: Whether the version must have its own heading with a date; if not, what is unreleased stands for it.

    Raises:
        ReleaseError: If the changelog says nothing of it.
    """
    parts = _HEADING.split(changelog)
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        if re.fullmatch(rf"{re.escape(version)} \(\d{{4}}-\d\d-\d\d\)", heading) and text.strip():
            return f"# {heading}\n\n{text.strip()}\n"
    if final:
        raise ReleaseError(f"CHANGELOG.md has nothing under a heading `## {version} (YYYY-MM-DD)`")
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        if heading == "Unreleased" and text.strip():
            return f"# {version} (not released)\n\n{text.strip()}\n"
    raise ReleaseError(f"CHANGELOG.md says nothing of {version}, and nothing under `## Unreleased`")
