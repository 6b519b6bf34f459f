"""The images, built by the same code as those of the end-to-end tests."""

import os
import platform
import shutil
import tempfile
from pathlib import Path
from typing import Final

from node.images import DOCKERFILES, Images
from release.archives import pack
from release.errors import ReleaseError
from release.source import Source

_ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
# CUDA's libraries come from wheels for this one alone.
_GPU_ARCHITECTURES: Final = ("amd64",)


def architecture() -> str:
    """Return what images call this machine's processor.

    Raises:
        ReleaseError: If there are no images for it.
    """
    machine = platform.machine()
    if machine not in _ARCHITECTURES:
        raise ReleaseError(f"there are no images for {machine}, only for {', '.join(_ARCHITECTURES)}")
    return _ARCHITECTURES[machine]


def build_images(source: Source, folder: Path, *, version: str, local_base: bool) -> list[Path]:
    """Build the images for this machine's processor and return their archives.

    Args:
        source: What they are built of.
        folder: Where the archives go.
        version: The tag.
        local_base: Whether to build on a base made of Debian's packages instead of the one that the Dockerfiles name,
            where no registry can be reached. Such images are for trials.

    Raises:
        ReleaseError: If there is no buildah, or no image for this processor.
    """
    if shutil.which("buildah") is None:
        raise ReleaseError("images need buildah (Debian: apt-get install buildah); IMAGES=none leaves them out")
    built_for = architecture()
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    builder = Images(
        home / "qiskit-runtime-server" / "e2e" / "images",
        context=source.folder,
        own_base=local_base,
        epoch=source.epoch,
    )
    archives = []
    for name in DOCKERFILES:
        if name.endswith("gpu") and built_for not in _GPU_ARCHITECTURES:
            continue
        archive = folder / f"{name}-{version}-{built_for}.oci.tar"
        with tempfile.TemporaryDirectory(dir=folder) as layout:
            builder.write_layout(name, version, Path(layout))
            pack(Path(layout), archive, epoch=source.epoch)
        archives.append(archive)
    return archives
