"""The chart, packaged by helm, and as an artefact of an OCI registry, in a layout on disk."""

import json
import re
import shutil
import tarfile
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import yaml

from kit.kubernetes.binaries import KubernetesBinaries
from release.archives import pack
from release.commands import run
from release.source import Source

NAME: Final = "qiskit-runtime-operator"
# https://helm.sh/docs/topics/registries
_CONFIG_TYPE: Final = "application/vnd.cncf.helm.config.v1+json"
_CONTENT_TYPE: Final = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
# The keys under `images` in the chart's values, and the architectures of each image.
PLATFORMS: Final = {
    "operator": ("linux/amd64", "linux/arm64"),
    "api": ("linux/amd64", "linux/arm64"),
    "executor": ("linux/amd64", "linux/arm64"),
    "executorGpu": ("linux/amd64",),
}


def build_chart(source: Source, folder: Path, *, version: str, registry: str, notes: str) -> list[Path]:
    """Package the chart of a source twice, as helm's archive and as a layout, and return their paths.

    Args:
        source: What is released.
        folder: Where both go.
        version: Of the chart, and of the images that it installs.
        registry: Where it looks for the images, as in registry.example.org/qiskit; empty for their plain names.
        notes: The release notes, whose lines are the chart's list of changes.

    Raises:
        ReleaseError: If helm or oras fail.
    """
    with tempfile.TemporaryDirectory() as scratch:
        staged = Path(scratch) / NAME
        shutil.copytree(source.folder / "charts" / NAME, staged)
        _annotate(staged, version, registry, notes)
        packaged = _package(staged, Path(scratch), folder, version, source.epoch)
        layout = _layout(packaged, Path(scratch), version, source.epoch)
        archive = folder / f"{NAME}-{version}.chart.oci.tar"
        pack(layout, archive, epoch=source.epoch)
    return [packaged, archive]


def _annotate(chart: Path, version: str, registry: str, notes: str) -> None:
    about = chart / "Chart.yaml"
    manifest: dict[str, Any] = yaml.safe_load(about.read_text())
    values = chart / "values.yaml"
    if registry:
        values.write_text(re.sub(r'(?m)^(  registry: )""$', rf"\g<1>{registry}", values.read_text(), count=1))
    images = yaml.safe_load(values.read_text())["images"]
    listed = [
        {
            "name": images[key],
            "image": f"{registry}{'/' if registry else ''}{images[key]}:{version}",
            "platforms": [*on],
        }
        for key, on in PLATFORMS.items()
    ]
    # https://artifacthub.io/docs/topics/annotations/helm
    manifest.setdefault("annotations", {}).update(
        {
            "artifacthub.io/images": yaml.safe_dump(listed, sort_keys=False),
            "artifacthub.io/changes": yaml.safe_dump(changes(notes), sort_keys=False, width=1000),
        }
    )
    about.write_text(yaml.safe_dump(manifest, sort_keys=False))


def changes(notes: str) -> list[str]:
    """Return the points of release notes, each as a line of plain text; if they have a part on Kubernetes, its own."""
    part = re.search(r"^### Kubernetes$(.*?)(?=^### |\Z)", notes, re.MULTILINE | re.DOTALL)
    notes = part[1] if part else notes
    points = re.findall(r"^- (.+(?:\n  .+)*)", notes, re.MULTILINE)
    linked = re.compile(r"\[([^\]]*)\]\([^)]*\)")
    return [linked.sub(r"\1", " ".join(point.split())) for point in points]


def _package(chart: Path, scratch: Path, folder: Path, version: str, epoch: int) -> Path:
    """Have helm check and package the chart; then pack its files anew, for helm's archive bears the time of day."""
    helm = KubernetesBinaries().path("helm")
    run([helm, "lint", "--strict", chart])
    run([helm, "package", chart, "--version", version, "--app-version", version, "--destination", scratch])
    archive = scratch / f"{NAME}-{version}.tgz"
    unpacked = scratch / "unpacked"
    with tarfile.open(archive) as files:
        files.extractall(unpacked, filter="data")
    packaged = folder / archive.name
    pack(unpacked, packaged, epoch=epoch, compressed=True)
    return packaged


def _layout(packaged: Path, scratch: Path, version: str, epoch: int) -> Path:
    helm, oras = KubernetesBinaries().path("helm"), KubernetesBinaries("release").path("oras")
    about = yaml.safe_load(run([helm, "show", "chart", packaged]))
    # oras takes paths relative to where it runs, and a file's name becomes its title.
    shutil.copy(packaged, scratch / "chart.tgz")
    (scratch / "config.json").write_text(json.dumps(about, sort_keys=True))
    created = datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    annotations = {
        "org.opencontainers.image.created": created,
        "org.opencontainers.image.title": about["name"],
        "org.opencontainers.image.version": version,
        "org.opencontainers.image.description": about["description"],
    }
    noted = [f"--annotation={key}={value}" for key, value in annotations.items()]
    what = [f"--config=config.json:{_CONFIG_TYPE}", f"chart.tgz:{_CONTENT_TYPE}"]
    run([oras, "push", "--oci-layout", f"layout:{version}", *noted, *what], cwd=scratch)
    shutil.rmtree(scratch / "layout" / "ingest", ignore_errors=True)
    return scratch / "layout"
