"""The images that users will run, built from the real Dockerfiles without Docker and without a registry."""

import hashlib
import os
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path

_ROOT = Path(__file__).parents[2]
_REGISTRY = "localhost"
_UNITS = {"KB": 1e3, "MB": 1e6, "GB": 1e9}
_BASE = f"{_REGISTRY}/base:latest"
# What examples/kubernetes/postgresql.yaml asks for.
_DATABASE = "docker.io/library/postgres:17"
# Where a machine keeps the certificates and the settings of pip that its network needs.
_HOST_FILES = ("/etc/ssl/certs", "/etc/pip.conf")
# By the names that the chart has for them; the stages are those that do the work, and the image.
SERVE = "qiskit-runtime-server"
DOCKERFILES: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "qiskit-runtime-server-api": ("server/Dockerfile", ("wheel", "api-application", "api")),
    "qiskit-runtime-server-executor": ("server/Dockerfile", ("wheel", "executor-application", "executor")),
    "qiskit-runtime-server-executor-gpu": ("server/Dockerfile", ("wheel", "executor-gpu-application", "executor-gpu")),
    SERVE: ("server/Dockerfile", ("wheel", "serve-application", "serve")),
    "qiskit-runtime-operator": ("operator/Dockerfile", ("application", "operator")),
}


class Images:
    """Builds images in `folder`, which keeps the layers for the next time.

    Args:
        folder: Of layers, archives and logs.
        context: The checkout, or the files of a commit.
        own_base: Whether they are built on a base made of Debian's packages here; if not, on what the Dockerfiles name.
        epoch: The time that all files bear, in seconds since 1970, so that equal files are equal images; by default,
            when they were built.

    Attributes:
        sizes: Of each built image beyond its base, in bytes.
    """

    def __init__(self, folder: Path, *, context: Path = _ROOT, own_base: bool = True, epoch: int | None = None) -> None:
        self._folder = folder
        self._context = context
        self._own_base = own_base
        self._epoch = epoch
        self.sizes: dict[str, int] = {}

    def build(self, *, everything: bool) -> tuple[str, list[str]]:
        """Build the images; return a tag that changes with any of them, and what they are called.

        Args:
            everything: Those too that few tests need: for GPUs, and for one machine.
        """
        self._make_base()
        names = [name for name in DOCKERFILES if everything or not (name == SERVE or name.endswith("gpu"))]
        digests = [self._build(name) for name in names]
        tag = hashlib.sha256("".join(digests).encode()).hexdigest()[:12]
        return tag, [self._tagged(name, tag) for name in names]

    def write_layout(self, name: str, tag: str, folder: Path) -> None:
        """Build one of the images and write it, with its tag, into a folder as an OCI layout."""
        if self._own_base:
            self._make_base()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._build(name)
        self._run("push", "--quiet", f"{_REGISTRY}/{name}:latest", f"oci:{folder}:{tag}")

    def build_database(self) -> str:
        """Build what stands in for the official image of PostgreSQL and return what it is called."""
        print("building the image postgres", flush=True)
        context = Path(__file__).parent
        base = f"--build-arg=BASE={_BASE}"
        file = context / "postgresql.Dockerfile"
        self._run("build", "--layers", base, "--file", file, "--tag", _DATABASE, context)
        return _DATABASE

    @property
    def base(self) -> str:
        """What the base is called; its pods sleep."""
        return _BASE

    def archive(self, image: str) -> Path:
        """Write an image to a file, unless that is there, and return its path."""
        path = self._folder / f"{image.rpartition('/')[2].replace(':', '-')}-{self._digest(image)}.tar"
        if not path.exists():
            unfinished = path.with_suffix(".new")
            self._run("push", "--quiet", image, f"oci-archive:{unfinished}:{image}")
            unfinished.rename(path)
        return path

    def forget_others(self, kept: Mapping[str, Path]) -> None:
        """Delete the archives and layers of images that are not built any more, and what broken builds have left."""
        for path in set(self._folder.glob("*.tar")) - set(kept.values()) - {self._folder / "base.tar"}:
            path.unlink()
        self._run("rm", "--all")
        names = self._output("images", "--format", "{{.Name}}:{{.Tag}}").split()
        ours = [name for name in names if name.startswith(_REGISTRY) and not name.endswith(":latest")]
        old = [name for name in ours if name not in kept]
        if old:
            self._run("rmi", *old)
        self._run("rmi", "--prune")

    def _make_base(self) -> None:
        """Make what python:slim would be where a registry can be reached."""
        self._folder.mkdir(parents=True, exist_ok=True)
        tar = self._folder / "base.tar"
        if tar.exists():
            return
        print("building the base of the images", flush=True)
        unfinished = tar.with_suffix(".new")
        packages = "python3,python3-venv,ca-certificates"
        subprocess.run(
            [
                "mmdebstrap",
                "--quiet",
                "--variant=minbase",
                "--format=tar",
                f"--include={packages}",
                "bookworm",
                unfinished,
            ],
            check=True,
        )
        recipe = self._folder / "base.Dockerfile"
        recipe.write_text('FROM scratch\nADD base.new /\nCMD ["sleep", "infinity"]\n')
        self._run("build", "--file", recipe, "--tag", _BASE, self._folder)
        unfinished.rename(tar)

    def _build(self, name: str) -> str:
        print(f"building the image {name} (log: {self._folder / 'build.log'})", flush=True)
        file, stages = DOCKERFILES[name]
        arguments = ["--file", file, *self._options()]
        for stage in stages:
            # A stage that has no name of its own would be taken for something that nobody needs any more.
            image = f"{_REGISTRY}/{name if stage == stages[-1] else stage}:latest"
            self._run("build", "--layers", *_mounts(), *arguments, "--target", stage, "--tag", image, ".")
        if self._own_base:
            self.sizes[name] = self._size(image) - self._size(_BASE)
        return self._digest(image)

    def _options(self) -> Iterator[str]:
        if self._own_base:
            yield from (f"--build-arg=BASE={_BASE}", f"--build-arg=GPU_BASE={_BASE}")
        if self._epoch is not None:
            yield f"--timestamp={self._epoch}"

    def _digest(self, image: str) -> str:
        return self._output("images", "--quiet", "--no-trunc", image).strip()[-12:]

    def _tagged(self, name: str, tag: str) -> str:
        image = f"{_REGISTRY}/{name}:{tag}"
        self._run("tag", f"{_REGISTRY}/{name}:latest", image)
        return image

    def _size(self, image: str) -> int:
        number, unit = self._output("images", "--format", "{{.Size}}", image).split()[
            :2
        ]  # a line for each of its names
        return int(float(number) * _UNITS[unit])

    def _command(self, *arguments: str | Path) -> list[str | Path]:
        return ["buildah", "--root", self._folder / "storage", "--runroot", self._folder / "run", *arguments]

    def _run(self, *arguments: str | Path) -> None:
        log = self._folder / "build.log"
        with log.open("ab") as output:
            done = subprocess.run(
                self._command(*arguments),
                cwd=self._context,
                env=_environment(),
                stdout=output,
                stderr=output,
                check=False,
            )
        if done.returncode:
            last = "\n".join(log.read_text(errors="replace").splitlines()[-30:])
            raise RuntimeError(f"buildah {arguments[0]} failed:\n{last}")

    def _output(self, *arguments: str) -> str:
        return subprocess.run(
            self._command(*arguments), cwd=self._context, env=_environment(), capture_output=True, text=True, check=True
        ).stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "BUILDAH_ISOLATION": "chroot", "STORAGE_DRIVER": "overlay"}


def _mounts() -> list[str]:
    return [f"--volume={path}:{path}:ro" for path in (*_HOST_FILES, *_wheel_folders()) if Path(path).exists()]


def _wheel_folders() -> list[str]:
    return [path for path in os.environ.get("PIP_FIND_LINKS", "").split() if path.startswith("/")]
