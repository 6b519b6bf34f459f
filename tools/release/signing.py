"""Signatures by cosign: with a key on disk and nothing else, or keyless with the identity that a workflow has."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from kit.kubernetes.binaries import KubernetesBinaries
from release.commands import run

# A signature may lie in a public log and bear the time of a service that stamps it; offline it does neither.
_OFFLINE: Final = {"mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json"}


def bundle_of(file: Path) -> Path:
    """Return where the signature of a file lies."""
    return file.with_name(f"{file.name}.sigstore.json")


@contextmanager
def identity(key: Path | None) -> Iterator[list[str | Path]]:
    """Yield the options by which cosign signs with a key and nothing else, or as the workflow that runs."""
    if key is None:
        yield ["--yes"]
        return
    with tempfile.TemporaryDirectory() as scratch:
        offline = Path(scratch) / "signing-config.json"
        offline.write_text(json.dumps(_OFFLINE))
        yield ["--yes", "--key", key, "--signing-config", offline]


def sign(checksums: Path, statement: Path, *, key: Path | None) -> list[Path]:
    """Sign the list of checksums as a file, and the provenance as a statement; return the paths of both bundles.

    Args:
        checksums: SHA256SUMS.
        statement: The provenance.
        key: A private key of cosign's, whose password is in COSIGN_PASSWORD; None to sign as the workflow that runs.

    Raises:
        ReleaseError: If cosign fails.
    """
    cosign = KubernetesBinaries("release").path("cosign")
    with identity(key) as how:
        run([cosign, "sign-blob", *how, "--bundle", bundle_of(checksums), checksums])
        run([cosign, "attest-blob", *how, "--statement", statement, "--bundle", bundle_of(statement)])
    return [bundle_of(checksums), bundle_of(statement)]
