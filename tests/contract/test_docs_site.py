"""The site of the docs: all of its links lead somewhere, and it loads nothing from elsewhere."""

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from kit import ROOT
from kit.server.client_environments import EnvironmentUnavailableError, python_with, without_environment

# An environment of its own is made for it.
pytestmark = pytest.mark.slow


def made(source: Path, site: Path) -> subprocess.CompletedProcess[str]:
    """Run what `make docs-site` runs."""
    try:
        python = python_with("site")
    except EnvironmentUnavailableError as error:
        without_environment(error)
    command: list[str | Path] = [python, "-m", "mkdocs", "build", "--strict", "--site-dir", site]
    variables = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    return subprocess.run(command, cwd=source, env=variables, capture_output=True, text=True, check=False)


def test_the_site_has_every_page_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    done = made(ROOT, tmp_path)
    assert done.returncode == 0, done.stderr
    pages = {path.relative_to(tmp_path).with_suffix("").as_posix() for path in tmp_path.rglob("*.html")}
    written = {path.relative_to(ROOT / "docs").with_suffix("").as_posix() for path in (ROOT / "docs").rglob("*.md")}
    assert {page.replace("README", "index") for page in written} <= pages
    assert (tmp_path / "sources/examples/kubernetes/gpu.yaml").is_file()
    found = {entry["location"].partition("#")[0] for entry in searchable(tmp_path)}
    assert "how-to/connect.html" in found
    for page in tmp_path.rglob("*.html"):
        assert not re.findall(r'<(?:script|link|img|iframe)[^>]+(?:src|href)="(?:https?:)?//', page.read_text()), page


def searchable(site: Path) -> list[dict[str, str]]:
    entries: list[dict[str, str]] = json.loads((site / "search/search_index.json").read_text())["docs"]
    return entries


def test_a_link_that_leads_nowhere_fails(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for folder in ("docs", "tools"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "mkdocs.yml", source)
    page = source / "docs/tutorial/first-counts.md"
    page.write_text(f"{page.read_text()}\n[a heading](../how-to/connect.md#that-is-not-there)\n")
    done = made(source, tmp_path / "site")
    assert done.returncode != 0
    assert "that-is-not-there" in done.stderr
