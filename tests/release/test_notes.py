"""Release notes, versions and archives, without making a release."""

import os
import shutil
import tarfile
from pathlib import Path

import pytest

from kit import ROOT
from release.archives import pack
from release.chart import changes
from release.errors import ReleaseError
from release.notes import notes_of
from release.source import PLACES, base_images, check_version, versions, write_version

CHANGELOG = """# Changelog

## Unreleased

- Soon.

## 0.2.0 (2026-12-01)

### The server
- [A page](docs/page.md) about a thing
  on two lines.

### Kubernetes
- The chart.

## 0.1.0 (2026-11-01)

- First.
"""


def test_notes_are_the_part_of_the_version() -> None:
    notes = notes_of(CHANGELOG, "0.2.0", final=True)
    assert notes.startswith("# 0.2.0 (2026-12-01)\n\n### The server\n")
    assert notes.endswith("- The chart.\n")
    assert notes_of(CHANGELOG, "0.3.0", final=False) == "# 0.3.0 (not released)\n\n- Soon.\n"


def test_a_final_release_needs_notes_of_its_own() -> None:
    with pytest.raises(ReleaseError, match=r"## 0\.3\.0 \(YYYY-MM-DD\)"):
        notes_of(CHANGELOG, "0.3.0", final=True)
    with pytest.raises(ReleaseError, match="nothing under `## Unreleased`"):
        notes_of("# Changelog\n\n## Unreleased\n", "0.3.0", final=False)


def test_changes_of_the_chart_are_points_on_kubernetes_in_plain_text() -> None:
    assert changes(notes_of(CHANGELOG, "0.2.0", final=True)) == ["The chart."]
    assert changes("- [A page](docs/page.md) about a thing\n  on two lines.\n") == [
        "A page about a thing on two lines."
    ]


def test_every_place_speaks_of_one_version() -> None:
    assert len({version for said in versions(ROOT).values() for version in said}) == 1
    assert all(versions(ROOT).values())


def test_a_version_is_written_everywhere(tmp_path: Path) -> None:
    for place in PLACES:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / place, tmp_path / place)
    assert set(write_version(tmp_path, "31.4.15")) == set(PLACES)
    check_version(tmp_path, "31.4.15")
    with pytest.raises(ReleaseError, match=r"pyproject\.toml says 31\.4\.15; CITATION\.cff says 31\.4\.15"):
        check_version(tmp_path, "31.4.16")
    assert write_version(tmp_path, "31.4.15") == []


@pytest.mark.parametrize("version", ["1.0", "1.0.0rc1"])
def test_what_is_no_version_is_refused(tmp_path: Path, version: str) -> None:
    with pytest.raises(ReleaseError, match=f"{version} is no version"):
        check_version(ROOT, version)
    with pytest.raises(ReleaseError, match=f"{version} is no version"):
        write_version(tmp_path, version)


def test_an_archive_depends_on_contents_alone(tmp_path: Path) -> None:
    for name, mode, time in (("one", 0o600, 1), ("two", 0o664, 2)):
        folder = tmp_path / name
        (folder / "b").mkdir(parents=True)
        for file in ("b/c", "a"):
            (folder / file).write_text(file)
            (folder / file).chmod(mode)
            os.utime(folder / file, (time, time))
        pack(folder, tmp_path / f"{name}.tgz", epoch=1_700_000_000, prefix="x/", compressed=True)
    assert (tmp_path / "one.tgz").read_bytes() == (tmp_path / "two.tgz").read_bytes()
    with tarfile.open(tmp_path / "one.tgz") as archive:
        assert [(entry.name, entry.mode, entry.uid, entry.mtime) for entry in archive] == [
            ("x/a", 0o644, 0, 1_700_000_000),
            ("x/b/c", 0o644, 0, 1_700_000_000),
        ]


@pytest.mark.parametrize("dockerfile", ["server/Dockerfile", "operator/Dockerfile"])
def test_every_base_is_named_by_its_digest(dockerfile: str) -> None:
    text = (ROOT / dockerfile).read_text()
    bases = [line for line in text.splitlines() if line.startswith("ARG") and "BASE=" in line]
    assert len(bases) == len(base_images(text)) > 0
