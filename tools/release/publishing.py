"""Brings the images and the chart of a release to a registry, and signs them there."""

import os
import re
from collections import defaultdict
from pathlib import Path
from typing import Final

from kit.kubernetes.binaries import KubernetesBinaries
from release.chart import NAME as CHART
from release.commands import run
from release.errors import ReleaseError
from release.signing import identity

# https://artifacthub.io/docs/topics/repositories/helm-charts
_CATALOGUE_CONFIG: Final = "application/vnd.cncf.artifacthub.config.v1+yaml"
_CATALOGUE_LAYER: Final = "application/vnd.cncf.artifacthub.repository-metadata.layer.v1.yaml"


def publish(folder: Path, catalogue: Path, target: "Registry") -> None:
    """Push and sign.

    Args:
        folder: A release, as `make release` made it.
        catalogue: What ArtifactHub reads of the chart's repository.
        target: Where it goes.

    Raises:
        ReleaseError: If there is nothing of this version, or the registry or cosign refuse something.
        BinariesUnavailableError: If oras or cosign have to be built and there is no Go.
    """
    version = target.version
    chart = folder / f"{CHART}-{version}.chart.oci.tar"
    if not chart.exists():
        raise ReleaseError(f"{folder} is no release {version}: it has no {chart.name}")
    KubernetesBinaries("release").ensure(("oras", "cosign"))
    target.log_in()
    for name, archives in _images(folder, version).items():
        target.push_image(name, archives)
    target.push_chart(chart)
    target.push_catalogue(catalogue)


def _images(folder: Path, version: str) -> dict[str, dict[str, Path]]:
    """Return the archives of each image by their processors."""
    found: dict[str, dict[str, Path]] = defaultdict(dict)
    for archive in sorted(folder.glob(f"*-{version}-*.oci.tar")):
        if match := re.fullmatch(rf"(.+)-{re.escape(version)}-(\w+)\.oci\.tar", archive.name):
            found[match[1]][match[2]] = archive
    return found


class Registry:
    """Takes one version of images and chart, and has each signed by its digest.

    Args:
        registry: As in registry.example.org/qiskit.
        version: Of the release.
        key: A private key of cosign's; None to sign as the workflow that runs.
        plain_http: Whether the registry is one on loopback, without TLS.
    """

    def __init__(self, registry: str, version: str, *, key: Path | None, plain_http: bool) -> None:
        programs = KubernetesBinaries("release")
        self._oras, self._cosign = programs.path("oras"), programs.path("cosign")
        self._registry = registry
        self.version = version
        self._key = key
        self._plain = ["--plain-http"] if plain_http else []
        self._plain_to = ["--to-plain-http"] if plain_http else []
        self._plain_cosign = ["--allow-http-registry"] if plain_http else []

    def log_in(self) -> None:
        """Log in with REGISTRY_USER and REGISTRY_PASSWORD, if they are there."""
        if password := os.environ.get("REGISTRY_PASSWORD"):
            host, user = self._registry.partition("/")[0], os.environ.get("REGISTRY_USER", "")
            run([self._oras, "login", *self._plain, host, "--username", user, "--password-stdin"], given=password)

    def push_image(self, name: str, archives: dict[str, Path]) -> None:
        """Push an image's archives, by their processors, and an index of them under the version."""
        tags = {processor: f"{self.version}-{processor}" for processor in archives}
        for processor, archive in archives.items():
            self._copy(archive, f"{name}:{tags[processor]}")
        index: list[str | Path] = [self._oras, "manifest", "index", "create", *self._plain]
        run([*index, f"{self._registry}/{name}:{self.version}", *tags.values()])
        self._sign(name)

    def push_chart(self, layout: Path) -> None:
        """Push the chart, as `helm install oci://` finds it."""
        self._copy(layout, f"charts/{CHART}:{self.version}")
        self._sign(f"charts/{CHART}")

    def push_catalogue(self, file: Path) -> None:
        """Push what ArtifactHub reads of the repository."""
        where = f"{self._registry}/charts/{CHART}:artifacthub.io"
        push: list[str | Path] = [self._oras, "push", *self._plain, where, f"--config=/dev/null:{_CATALOGUE_CONFIG}"]
        run([*push, f"{file.name}:{_CATALOGUE_LAYER}"], cwd=file.parent)

    def _copy(self, layout: Path, name: str) -> None:
        copy: list[str | Path] = [self._oras, "cp", *self._plain_to, "--from-oci-layout", f"{layout}:{self.version}"]
        run([*copy, f"{self._registry}/{name}"])

    def _sign(self, name: str) -> None:
        """Sign what the tag names by its digest: that is what is signed, whatever becomes of the tag."""
        found = run([self._oras, "resolve", *self._plain, f"{self._registry}/{name}:{self.version}"]).strip()
        with identity(self._key) as how:
            run([self._cosign, "sign", "--recursive", *self._plain_cosign, *how, f"{self._registry}/{name}@{found}"])
