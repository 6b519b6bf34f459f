"""`python -m release`: makes a release in a folder, or one part of it. `make release` calls it."""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from spdx_tools.spdx.model import RelationshipType

from kit import ROOT
from kit.kubernetes.binaries import BinariesUnavailableError, KubernetesBinaries
from release.archives import ImageArchive, sha256
from release.chart import build_chart
from release.errors import ReleaseError
from release.images import build_images
from release.notes import notes_of
from release.packages import build_packages
from release.provenance import write_provenance
from release.publishing import Registry, publish
from release.sbom import Component, Subject, contained, pinned, write_bill
from release.signing import sign
from release.source import Source, check_tag, check_version, exported, write_version

_ROLES: Final = ("api", "executor", "operator")
_LICENSE: Final = "Apache-2.0"


def main(arguments: list[str]) -> int:
    """Do what the command line says; return 1, with one line, where that cannot be done."""
    parser = argparse.ArgumentParser(prog="python -m release", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    build = commands.add_parser("build", help="make everything")
    images = commands.add_parser("images", help="make the images for this machine's processor")
    publishing = commands.add_parser("publish", help="bring images and chart to a registry, and sign them there")
    version = commands.add_parser("version", help="write a version into every place that speaks of it")
    for command in (build, images, publishing, version):
        command.add_argument("version")
    for command in (build, images):
        command.add_argument("--out", type=Path, required=True, help="a folder, which is emptied")
        command.add_argument("--local-base", action="store_true", help="build on Debian's packages, without a registry")
    build.add_argument("--images", default="build", help="build, none, or a folder with archives that are built")
    build.add_argument("--registry", default="", help="where the chart finds the images")
    publishing.add_argument("--registry", required=True, help="as in registry.example.org/qiskit")
    publishing.add_argument("--from", type=Path, required=True, dest="folder", help="a release that was made")
    publishing.add_argument("--plain-http", action="store_true", help="for a registry on loopback, without TLS")
    for command in (build, publishing):
        command.add_argument("--key", type=Path, help="sign with this private key of cosign's")
    build.add_argument("--keyless", action="store_true", help="sign as the workflow that this runs in")
    build.add_argument("--final", action="store_true", help="demand the tag, and the version's part of the changelog")
    chosen = parser.parse_args(arguments)
    try:
        _COMMANDS[chosen.command](chosen)
    except (ReleaseError, BinariesUnavailableError) as error:
        print(f"no release: {error}", file=sys.stderr)
        return 1
    return 0


def _version(chosen: argparse.Namespace) -> None:
    for place in write_version(ROOT, chosen.version):
        print(f"{place} says {chosen.version}")


def _images(chosen: argparse.Namespace) -> None:
    out = _emptied(chosen.out)
    with tempfile.TemporaryDirectory(prefix="release-") as scratch:
        source = _source(chosen.version, Path(scratch))
        for archive in build_images(source, out, version=chosen.version, local_base=chosen.local_base):
            print(archive)


def _publish(chosen: argparse.Namespace) -> None:
    target = Registry(chosen.registry, chosen.version, key=chosen.key, plain_http=chosen.plain_http)
    publish(chosen.folder, ROOT / "artifacthub-repo.yml", target)


def _build(chosen: argparse.Namespace) -> None:
    if chosen.final:
        check_tag(ROOT, chosen.version)
    KubernetesBinaries().ensure(("helm",))
    KubernetesBinaries("release").ensure(("oras", *(("cosign",) if chosen.key or chosen.keyless else ())))
    out = _emptied(chosen.out)
    with tempfile.TemporaryDirectory(prefix="release-") as scratch:
        source = _source(chosen.version, Path(scratch))
        notes = notes_of((source.folder / "CHANGELOG.md").read_text(), chosen.version, final=chosen.final)
        (out / "release-notes.md").write_text(notes)
        _make(source, out, chosen, notes)
        checksums = _write_checksums(out)
        if chosen.key or chosen.keyless:
            sign(checksums, out / "provenance.json", key=chosen.key)
    for path in sorted(out.iterdir()):
        print(f"{path.stat().st_size:>12,}  {path}")


def _make(source: Source, out: Path, chosen: argparse.Namespace, notes: str) -> None:
    version = chosen.version
    wheel, sdist = build_packages(source, out)
    charts = build_chart(source, out, version=version, registry=chosen.registry, notes=notes)
    crds = out / "crds.yaml"
    shutil.copy(source.folder / "crds" / "runtimeservers.yaml", crds)
    archives = _archives(source, out, chosen)
    requirements = [source.folder / "requirements" / f"image-{role}.txt" for role in _ROLES]
    for package in (wheel, sdist):
        of_it = Component(name="qiskit-runtime-server", version=version, license=_LICENSE)
        write_bill(
            out / f"{package.name}.spdx.json",
            subject=Subject(file=package, package=of_it),
            parts=pinned(requirements),
            how=RelationshipType.DEPENDS_ON,
            epoch=source.epoch,
        )
    for archive in archives:
        image = Component(name=archive.name.partition(f"-{version}-")[0], version=version, license=_LICENSE)
        write_bill(
            out / f"{archive.name.removesuffix('.oci.tar')}.spdx.json",
            subject=Subject(file=archive, package=image),
            parts=contained(ImageArchive(archive)),
            how=RelationshipType.CONTAINS,
            epoch=source.epoch,
        )
    parameters = {"version": version, "registry": chosen.registry}
    made = [wheel, sdist, *charts, crds, *archives]
    write_provenance(out / "provenance.json", source, made, parameters, os.environ)


def _archives(source: Source, out: Path, chosen: argparse.Namespace) -> list[Path]:
    if chosen.images == "none":
        return []
    if chosen.images == "build":
        return build_images(source, out, version=chosen.version, local_base=chosen.local_base)
    found = sorted(Path(chosen.images).glob(f"*-{chosen.version}-*.oci.tar"))
    if not found:
        raise ReleaseError(f"{chosen.images} has no archive of an image of {chosen.version}")
    return [Path(shutil.copy(archive, out)) for archive in found]


def _source(version: str, scratch: Path) -> Source:
    source = exported(ROOT, scratch / "source")
    check_version(source.folder, version)
    return source


def _emptied(folder: Path) -> Path:
    """Return an absolute path of the folder, without what an earlier release has left there."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder.resolve()


def _write_checksums(out: Path) -> Path:
    """Write SHA256SUMS, which `sha256sum --check` reads, on everything else in the folder."""
    lines = [f"{sha256(path)}  {path.name}\n" for path in sorted(out.iterdir())]
    checksums = out / "SHA256SUMS"
    checksums.write_text("".join(lines))
    return checksums


_COMMANDS: Final = {"build": _build, "images": _images, "publish": _publish, "version": _version}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
