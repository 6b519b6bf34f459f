"""A Kubernetes control plane of real processes on loopback: etcd, API server, controller manager, scheduler.

`python -m kit.kubernetes.control_plane` starts one, prints the path of its kubeconfig and stops it, without a trace,
when its standard input ends. Tests start it that way: so it ends with them, even when they are killed.
"""

import json
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import yaml
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from kubernetes.config import ConfigException
from urllib3.exceptions import HTTPError

from kit import environment
from kit.kubernetes.binaries import KubernetesBinaries
from kit.kubernetes.client import KubernetesClient, RefusedError
from kit.ports import held_port

# Beside the kubeconfig.
AUDIT_LOG = "audit.log"
_READY_SECONDS = 120
_STOP_SECONDS = 10
# Namespaces of tests that are over would else keep the controllers busy for minutes.
_TEST_RATE = 200
# What pods ask for, as far as they are not Kubernetes' own; for proofs that their rights are those that they need.
_AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "None", "userGroups": ["system:serviceaccounts:kube-system"]},
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
    ],
}
_USERS = {
    "admin": "system:masters",
    "system:kube-controller-manager": "",
    "system:kube-scheduler": "",
}


class ControlPlane:
    """The processes, their files in `folder`, and the way to stop them: the end of `stack`.

    Args:
        rate: How many requests a second the controllers may send.
        address: Where pods find the API server; without one it serves loopback alone.
        users: Further users with a group for each.
        definitions: CustomResourceDefinitions, there before the controllers: the garbage collector looks for new kinds
            every 30 s only.
    """

    def __init__(
        self,
        binaries: KubernetesBinaries,
        folder: Path,
        stack: ExitStack,
        *,
        rate: int = 200,
        address: str | None = None,
        users: Mapping[str, str] | None = None,
        definitions: Iterable[Path] = (),
    ) -> None:
        self._rate = rate
        self._binaries = binaries
        self._folder = folder
        self._stack = stack
        self._address = address
        self._users = {**_USERS, **(users or {})}
        self._definitions = tuple(definitions)
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._tokens = {user: secrets.token_hex() for user in self._users}
        self._url = f"https://{address or '127.0.0.1'}:{stack.enter_context(held_port())}"

    def start(self) -> Path:
        """Start everything, perhaps once more, wait until it works, and return the administrator's kubeconfig."""
        self._processes.clear()
        self._write_credentials()
        etcd = self._start_etcd()
        self._start_api_server(etcd)
        self._define()
        self._start_controllers()
        self._wait_for("/api/v1/namespaces/default/serviceaccounts/default")
        return self.kubeconfig("admin")

    def _write_credentials(self) -> None:
        if (self._folder / "service-accounts.key").exists():
            return
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        (self._folder / "service-accounts.key").write_bytes(pem)
        lines = [f'{token},{user},{user},"{self._users[user]}"' for user, token in self._tokens.items()]
        (self._folder / "tokens.csv").write_text("\n".join(lines))
        (self._folder / "audit-policy.json").write_text(json.dumps(_AUDIT_POLICY))

    def _start_etcd(self) -> str:
        client, peer = (f"http://127.0.0.1:{self._stack.enter_context(held_port())}" for _ in range(2))
        self.run(
            "etcd", f"--data-dir={self._folder / 'etcd'}", "--unsafe-no-fsync",
            f"--listen-client-urls={client}", f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}", f"--initial-advertise-peer-urls={peer}", f"--initial-cluster=default={peer}",
        )  # fmt: skip
        return client

    def _start_api_server(self, etcd: str) -> None:
        key = self._folder / "service-accounts.key"
        addresses = (
            ["--bind-address=0.0.0.0", f"--advertise-address={self._address}"]
            if self._address
            else ["--bind-address=127.0.0.1", "--advertise-address=127.0.0.1", "--endpoint-reconciler-type=none"]
        )
        self.run(
            "kube-apiserver", f"--etcd-servers={etcd}", f"--secure-port={self._url.rpartition(':')[2]}",
            *addresses,
            f"--cert-dir={self._folder}", f"--token-auth-file={self._folder / 'tokens.csv'}",
            f"--audit-policy-file={self._folder / 'audit-policy.json'}", f"--audit-log-path={self._folder / AUDIT_LOG}",
            "--authorization-mode=Node,RBAC", "--allow-privileged=true",
            "--kubelet-preferred-address-types=InternalIP",
            "--service-account-issuer=https://kubernetes.default.svc", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}", "--service-cluster-ip-range=10.96.0.0/16",
        )  # fmt: skip
        self._wait_for("/readyz")

    def _define(self) -> None:
        for path in self._definitions:
            manifest = yaml.safe_load(path.read_text())
            with closing(KubernetesClient(self.kubeconfig("admin"))) as client:
                client.create(manifest)
            spec = manifest["spec"]
            self._wait_for(f"/apis/{spec['group']}/{spec['versions'][0]['name']}/{spec['names']['plural']}")

    def _start_controllers(self) -> None:
        manager = self.kubeconfig("system:kube-controller-manager")
        self.run(
            "kube-controller-manager", f"--kubeconfig={manager}", "--leader-elect=false", "--secure-port=0",
            f"--service-account-private-key-file={self._folder / 'service-accounts.key'}",
            f"--root-ca-file={self._folder / 'apiserver.crt'}", "--use-service-account-credentials=true",
            f"--kube-api-qps={self._rate}", f"--kube-api-burst={self._rate * 3 // 2}",
            # Every 20 s it ends what is being deleted without ever having had a node, as pods here are.
            "--controllers=*,-pod-garbage-collector-controller",
        )  # fmt: skip
        scheduler = self.kubeconfig("system:kube-scheduler")
        self.run("kube-scheduler", f"--kubeconfig={scheduler}", "--leader-elect=false", "--secure-port=0")

    def kubeconfig(self, user: str) -> Path:
        """Write the kubeconfig of a user and return its path."""
        path = self._folder / f"{user.replace(':', '-')}.kubeconfig"
        cluster = {"server": self._url, "certificate-authority": str(self._folder / "apiserver.crt")}
        document = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": "test", "cluster": cluster}],
            "users": [{"name": user, "user": {"token": self._tokens[user]}}],
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
            "current-context": "test",
        }
        path.write_text(json.dumps(document))
        return path

    def run(self, name: str, *arguments: str, program: Path | None = None) -> None:
        """Start a program that ends with the others; by default one of Kubernetes' of that name."""
        with (self._folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                [program or self._binaries.path(name), *arguments],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        self._stack.callback(_stop, process)
        self._processes[name] = process

    def _check_processes(self) -> None:
        for name, process in self._processes.items():
            if process.poll() is not None:
                lines = (self._folder / f"{name}.log").read_text().splitlines()[-20:]
                raise RuntimeError("\n".join([f"{name} ended with {process.returncode}:", *lines]))

    def _wait_for(self, path: str) -> None:
        deadline = time.monotonic() + _READY_SECONDS
        while not self._answers(path):
            self._check_processes()
            if time.monotonic() > deadline:
                raise RuntimeError(f"the control plane does not answer {path} within {_READY_SECONDS} s")
            time.sleep(0.05)

    def _answers(self, path: str) -> bool:
        try:
            with closing(KubernetesClient(self.kubeconfig("admin"))) as client:
                client.read(path)
        # No certificate yet, or half of one, or nobody who listens, or one who is not ready.
        except (ConfigException, OSError, HTTPError, RefusedError):
            return False
        return True


def _stop(process: "subprocess.Popen[bytes]") -> None:
    process.terminate()
    try:
        process.wait(_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def running_control_plane(
    release: str = "newest", rate: int = _TEST_RATE, definitions: Iterable[Path] = ()
) -> Iterator[Path]:
    """Give the kubeconfig of a new control plane, which ends with the context or with this process.

    Args:
        release: See KubernetesBinaries.
        rate: How many requests per second the controllers may send; 20 is what Kubernetes gives them.
        definitions: See ControlPlane.

    Raises:
        RuntimeError: If it does not start; its words are on standard error.
    """
    with subprocess.Popen(
        [sys.executable, "-m", "kit.kubernetes.control_plane", release, str(rate), *map(str, definitions)],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # so that an interrupt from the keyboard reaches the tests alone
    ) as supervisor:
        assert supervisor.stdin
        assert supervisor.stdout
        kubeconfig = supervisor.stdout.readline().strip()
        if not kubeconfig:
            raise RuntimeError("the control plane did not start")
        yield Path(kubeconfig)


def main(release: str = "newest", rate: str = str(_TEST_RATE), *definitions: str) -> None:
    """Run a control plane until standard input ends."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="control-plane-"))
        stack.callback(shutil.rmtree, folder)
        binaries = KubernetesBinaries(release)
        binaries.ensure()
        control_plane = ControlPlane(binaries, folder, stack, rate=int(rate), definitions=map(Path, definitions))
        print(control_plane.start(), flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
