"""Runs the programs that a release is made with, and keeps what they say for when they fail."""

import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from release.errors import ReleaseError


def run(
    command: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    variables: Mapping[str, str] | None = None,
    given: str = "",
) -> str:
    """Run a program, with what it is given on standard input, and return what it wrote to standard output.

    Raises:
        ReleaseError: If it fails; the message has its last words.
    """
    environment = {**os.environ, **(variables or {})}
    done = subprocess.run(command, cwd=cwd, env=environment, input=given, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr or done.stdout).strip()[-2000:]
        raise ReleaseError(f"{Path(command[0]).name} {command[1]} failed: {last}")
    return done.stdout
