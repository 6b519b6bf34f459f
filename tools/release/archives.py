"""Archives that depend on nothing but what is in them, and what is in those of images."""

import gzip
import hashlib
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

_PLAIN_FILE = 0o644
_PROGRAM = 0o755


def pack(folder: Path, archive: Path, *, epoch: int, prefix: str = "", compressed: bool = False) -> None:
    """Write what is in a folder to a tar archive: in order of names, with one time, one owner and two modes."""
    with ExitStack() as stack:
        plain = stack.enter_context(archive.open("wb"))
        packed = gzip.GzipFile(filename="", mode="wb", fileobj=plain, mtime=epoch) if compressed else nullcontext(plain)
        written = stack.enter_context(packed)
        tar = stack.enter_context(tarfile.open(fileobj=written, mode="w", format=tarfile.PAX_FORMAT))
        for path in sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).parts):
            if not path.is_file():
                continue
            entry = tarfile.TarInfo(f"{prefix}{path.relative_to(folder).as_posix()}")
            entry.size = path.stat().st_size
            entry.mtime = epoch
            entry.mode = _PROGRAM if path.stat().st_mode & 0o100 else _PLAIN_FILE
            with path.open("rb") as content:
                tar.addfile(entry, content)


def sha256(path: Path) -> str:
    """Return a file's digest in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class ImageArchive:
    """An image in a file: a tar archive of an OCI layout with one manifest (https://github.com/opencontainers/image-spec)."""

    def __init__(self, path: Path) -> None:
        self._path = path
        index = json.loads(self._blob("index.json"))
        (described,) = index["manifests"]
        self.digest: str = described["digest"]
        self._manifest: Mapping[str, Any] = json.loads(self._blob(_blob_name(self.digest)))
        self.config: Mapping[str, Any] = json.loads(self._blob(_blob_name(self._manifest["config"]["digest"])))

    def files(self, *wanted: str) -> dict[str, bytes]:
        """Return the content of those of the files that the image has, by their paths without a leading slash."""
        layers = self._manifest["layers"]
        # What a later layer has counts.
        return dict(found for layer in layers for found in self._layer(layer["digest"], frozenset(wanted)))

    def _layer(self, digest: str, wanted: frozenset[str]) -> Iterator[tuple[str, bytes]]:
        with tarfile.open(self._path) as archive:
            blob = archive.extractfile(_blob_name(digest))
            assert blob is not None  # noqa: S101 - a blob is a file
            with blob, tarfile.open(fileobj=blob, mode="r|*") as files:
                for entry in files:
                    name = entry.name.removeprefix("./")
                    if name in wanted and (content := files.extractfile(entry)) is not None:
                        yield name, content.read()

    def _blob(self, name: str) -> bytes:
        with tarfile.open(self._path) as archive:
            blob = archive.extractfile(name)
            assert blob is not None  # noqa: S101 - a blob is a file
            return blob.read()


def _blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"
