"""The wheel and the sdist. The same commit gives the same bytes."""

import sys
from pathlib import Path

from release.commands import run
from release.source import Source


def build_packages(source: Source, folder: Path) -> list[Path]:
    """Build both into a folder and return their paths, the wheel first.

    Raises:
        ReleaseError: If the build fails.
    """
    command: list[str | Path] = [sys.executable, "-m", "hatchling", "build", "--directory", folder]
    run(command, cwd=source.folder, variables=source.variables)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return [wheel, sdist]
