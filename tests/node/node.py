"""A Kubernetes node of real processes: control plane, containerd, kubelet, kube-proxy, CoreDNS, and Contour with Envoy.

It needs root and the namespaces that run.py makes: everything here ends with them.
"""

import json
import os
import signal
import subprocess
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import httpx
import yaml

from kit.kubernetes.binaries import KubernetesBinaries
from kit.kubernetes.client import KubernetesClient, Manifest, RefusedError, eventually
from kit.kubernetes.control_plane import ControlPlane

ADDRESS = "10.89.0.2"
NAME = "node1"
# Devices that pods can claim are this driver's. Its sockets are in folders below a long one, so that its name is short.
DRIVER = "gpu.test"
_POD_CIDR = "10.244.0.0/24"
_USERS = {
    f"system:node:{NAME}": "system:nodes",
    "system:kube-proxy": "",
    "system:coredns": "",
    "contour": "system:masters",
    "kube-router": "system:masters",
}
_READY_SECONDS = 180
_DISK_SIGNALS = ("nodefs.available", "nodefs.inodesFree", "imagefs.available", "imagefs.inodesFree")


class Node:
    """The one node of a cluster.

    Args:
        folder: For its files, on a disk; they outlive a stop.
        images: Archives by image name, imported at the first start.
        pause: The image of the container that holds a pod's namespaces.
        envoy: The program that Contour configures.
        contour_crds: The definitions of Contour's own resources.

    Attributes:
        folder: As given.
        kubeconfig: The administrator's.
    """

    def __init__(self, folder: Path, images: Mapping[str, Path], pause: str, envoy: Path, contour_crds: Path) -> None:
        self.folder = folder
        self._images = images
        self._pause = pause
        self._envoy = envoy
        self._contour_crds = contour_crds
        self._programs = KubernetesBinaries("node")
        self._stack = ExitStack()
        self._plane = ControlPlane(KubernetesBinaries(), folder, self._stack, address=ADDRESS, users=_USERS)

    def start(self) -> None:
        """Start everything and wait until the node is ready."""
        self.kubeconfig = self._plane.start()
        self._start_containerd()
        self._start_kubelet()
        self._start_proxy()
        client = KubernetesClient(self.kubeconfig)
        self._start_dns(client)
        self._start_ingress(client)
        eventually(lambda: _is("Ready", client.find("Node", NAME)), _READY_SECONDS)
        client.close()

    def stop(self) -> None:
        """End the programs; containers end with the namespaces."""
        self._stack.close()

    def stop_hard(self) -> None:
        """Kill everything in these namespaces but the tests, and forget what no disk keeps, as a power cut does."""
        eventually(_nothing_else_lives)
        self._stack.close()
        for place in reversed(_mounts()):
            if place.startswith(("/run", str(self.folder))):
                subprocess.run(["umount", "--lazy", place], check=True)
        subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)
        for link in json.loads(_output("ip", "-json", "link")):
            if link["ifname"].startswith(("veth", "cni")):
                subprocess.run(["ip", "link", "delete", link["ifname"]], check=False)  # both ends go with one
        for table in ("filter", "nat", "mangle"):
            for action in ("--flush", "--delete-chain"):
                subprocess.run(["iptables", "--table", table, action], check=True)
        (self.folder / "containerd.sock").unlink()

    def enforce_policies(self) -> None:
        """Start what enforces NetworkPolicies."""
        self._plane.run(
            "kube-router", f"--kubeconfig={self._plane.kubeconfig('kube-router')}", f"--hostname-override={NAME}",
            "--run-firewall", "--run-router=false", "--run-service-proxy=false", "--run-loadbalancer=false",
            program=KubernetesBinaries("policy").path("kube-router"),
        )  # fmt: skip

    def offer_devices(self, count: int) -> None:
        """Start Kubernetes' own test driver for Dynamic Resource Allocation, which has so many devices to give.

        All that a device does is to set a variable in its container.
        """
        kubelet = self.folder / "kubelet"
        (kubelet / "plugins" / DRIVER).mkdir(parents=True, exist_ok=True)
        self._plane.run(
            "dra-test-driver", "kubelet-plugin", f"--kubeconfig={self.kubeconfig}", f"--drivername={DRIVER}",
            f"--node-name={NAME}", f"--num-devices={count}", "--cdi-dir=/run/cdi",
            f"--plugin-registration-path={kubelet / 'plugins_registry'}", f"--datadir={kubelet / 'plugins'}",
            program=self._programs.path("test-driver"),
        )  # fmt: skip

    def environment(self, process: int) -> dict[str, str]:
        """Return the variables that a process was started with."""
        lines = _read(Path(f"/proc/{process}/environ")).decode().split("\0")
        return dict(line.split("=", 1) for line in lines if line)

    def kubectl(self, *arguments: str) -> "subprocess.Popen[str]":
        """Start kubectl as an administrator; what it says is for the caller to read."""
        command: list[str | Path] = [
            KubernetesBinaries().path("kubectl"),
            f"--kubeconfig={self.kubeconfig}",
            *arguments,
        ]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def memory(self) -> dict[str, float]:
        """Return what every pod's processes hold in memory, in MB, by `namespace/pod`; 0 while nobody knows."""
        answer = httpx.get(f"https://{ADDRESS}:10250/stats/summary", verify=False)  # noqa: S501 - its own certificate
        return {
            f"{pod['podRef']['namespace']}/{pod['podRef']['name']}": pod.get("memory", {}).get("workingSetBytes", 0)
            / 1e6
            for pod in answer.raise_for_status().json()["pods"]
        }

    def processes(self, pod: str) -> list[int]:
        """Return the processes of a pod's container, the first one first."""
        mark = f"HOSTNAME={pod}".encode()
        return sorted(int(entry.name) for entry in _processes() if mark in _read(entry / "environ").split(b"\0"))

    def shim(self, process: int) -> int:
        """Return the process that stands between containerd and the container of a process."""
        while b"containerd-shim-runc-v2" not in _read(Path(f"/proc/{process}/cmdline")):
            process = int(_read(Path(f"/proc/{process}/stat")).rpartition(b")")[2].split()[1])
        return process

    def tag_image(self, image: str, other: str) -> None:
        """Give an image a second name."""
        self._images_command("tag", "--force", image, other)

    def _images_command(self, *arguments: str | Path) -> str:
        socket = self.folder / "containerd.sock"
        return _output(self._programs.path("ctr"), "--address", socket, "--namespace", "k8s.io", "images", *arguments)

    def _start_containerd(self) -> None:
        socket = self.folder / "containerd.sock"
        config = self.folder / "containerd.toml"
        config.write_text(_containerd_config(self.folder, self._pause))
        networks = self.folder / "cni"
        networks.mkdir(exist_ok=True)
        (networks / "10-bridge.conflist").write_text(json.dumps(_network(self.folder)))
        os.environ["PATH"] = f"{self._programs.path('containerd').parent}:{os.environ['PATH']}"
        self._plane.run("containerd", "--config", str(config), program=self._programs.path("containerd"))
        eventually(socket.exists, _READY_SECONDS)
        present = self._images_command("list", "--quiet").split()
        for name, archive in self._images.items():
            if name not in present:
                self._images_command("import", archive)

    def _start_kubelet(self) -> None:
        config = self.folder / "kubelet.json"
        config.write_text(json.dumps(_kubelet_config(self.folder)))
        (self.folder / "resolv.conf").touch()
        self._plane.run(
            "kubelet",
            f"--config={config}",
            f"--kubeconfig={self._plane.kubeconfig(f'system:node:{NAME}')}",
            f"--root-dir={self.folder / 'kubelet'}",
            f"--cert-dir={self.folder / 'kubelet-certificates'}",
            f"--hostname-override={NAME}",
            f"--node-ip={ADDRESS}",
            program=self._programs.path("kubelet"),
        )

    def _start_proxy(self) -> None:
        config = self.folder / "kube-proxy.json"
        config.write_text(json.dumps(_proxy_config(self._plane.kubeconfig("system:kube-proxy"))))
        self._plane.run("kube-proxy", f"--config={config}", program=self._programs.path("kube-proxy"))

    def _start_dns(self, client: KubernetesClient) -> None:
        for manifest in _dns_rights():
            _ensure(client, manifest)
        corefile = self.folder / "Corefile"
        corefile.write_text(
            f"cluster.local:53 {{\n  bind {ADDRESS}\n  errors\n  kubernetes cluster.local {{\n"
            f"    kubeconfig {self._plane.kubeconfig('system:coredns')}\n    ttl 5\n  }}\n}}\n"
        )
        self._plane.run("coredns", "-conf", str(corefile), program=KubernetesBinaries("dns").path("coredns"))

    def _start_ingress(self, client: KubernetesClient) -> None:
        contour = KubernetesBinaries("ingress")
        definitions = [found for found in yaml.safe_load_all(self._contour_crds.read_text()) if found]
        for manifest in definitions:
            _ensure(client, manifest)
        names = [manifest["metadata"]["name"] for manifest in definitions]
        for name in names:
            eventually(partial(_established, client, name), _READY_SECONDS)
        self._plane.run(
            "contour", "serve", f"--kubeconfig={self._plane.kubeconfig('contour')}",
            "--insecure", "--xds-address=127.0.0.1", "--xds-port=8001", "--disable-leader-election",
            f"--envoy-service-http-address={ADDRESS}", "--envoy-service-http-port=80",
            f"--ingress-status-address={ADDRESS}",
            program=contour.path("contour"),
        )  # fmt: skip
        bootstrap = self.folder / "envoy.json"
        subprocess.run(
            [
                contour.path("contour"),
                "bootstrap",
                bootstrap,
                "--admin-address=/run/envoy.sock",
                "--xds-address=127.0.0.1",
                "--xds-port=8001",
            ],
            stdout=subprocess.DEVNULL,
            check=True,
        )
        self._plane.run(
            "envoy", "--config-path", str(bootstrap), "--service-cluster", "contour", "--service-node", NAME,
            "--log-level", "warning", program=self._envoy,
        )  # fmt: skip


def _containerd_config(folder: Path, pause: str) -> str:
    runtime = "plugins.'io.containerd.cri.v1.runtime'"
    return f"""
version = 3
root = "{folder / "containerd"}"
state = "/run/containerd"
disabled_plugins = ["io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
address = "{folder / "containerd.sock"}"
[plugins.'io.containerd.internal.v1.opt']
path = "{folder / "opt"}"
[plugins.'io.containerd.cri.v1.images'.pinned_images]
sandbox = "{pause}"
[{runtime}]
disable_apparmor = true
# Root may have no right to lower the score of a process that is short of memory.
restrict_oom_score_adj = true
[{runtime}.containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[{runtime}.containerd.runtimes.runc.options]
SystemdCgroup = false
[{runtime}.cni]
bin_dirs = ["/usr/lib/cni"]
conf_dir = "{folder / "cni"}"
"""


def _network(folder: Path) -> dict[str, object]:
    ranges = [[{"subnet": _POD_CIDR}]]
    addresses = {"type": "host-local", "dataDir": str(folder / "addresses"), "ranges": ranges}
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "ipMasq": True,
        "hairpinMode": True,
        "ipam": {**addresses, "routes": [{"dst": "0.0.0.0/0"}]},
    }
    return {
        "cniVersion": "1.0.0",
        "name": "pods",
        "plugins": [bridge, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }


def _kubelet_config(folder: Path) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        # Only these namespaces reach it.
        "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
        "authorization": {"mode": "AlwaysAllow"},
        "containerRuntimeEndpoint": f"unix://{folder / 'containerd.sock'}",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": f"/{folder.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "clusterDNS": [ADDRESS],
        "clusterDomain": "cluster.local",
        "resolvConf": str(folder / "resolv.conf"),
        "podLogsDir": str(folder / "logs"),
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "evictionHard": {"memory.available": "50Mi", **dict.fromkeys(_DISK_SIGNALS, "0%")},
        "nodeStatusUpdateFrequency": "5s",
        "volumePluginDir": str(folder / "volume-plugins"),
    }


def _proxy_config(kubeconfig: Path) -> dict[str, object]:
    unlimited = {"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"}
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": {"kubeconfig": str(kubeconfig)},
        "clusterCIDR": _POD_CIDR,
        "hostnameOverride": NAME,
        "conntrack": unlimited,
        "healthzBindAddress": "127.0.0.1:10256",
        "metricsBindAddress": "127.0.0.1:10249",
    }


def _dns_rights() -> list[Manifest]:
    rules = [
        {"apiGroups": [""], "resources": ["services", "namespaces", "pods"], "verbs": ["list", "watch"]},
        {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": ["list", "watch"]},
    ]
    group = "rbac.authorization.k8s.io"
    role = {"apiVersion": f"{group}/v1", "kind": "ClusterRole", "metadata": {"name": "coredns"}, "rules": rules}
    binding = {
        "apiVersion": f"{group}/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "coredns"},
        "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": "coredns"},
        "subjects": [{"apiGroup": group, "kind": "User", "name": "system:coredns"}],
    }
    return [role, binding]


def _ensure(client: KubernetesClient, manifest: Manifest) -> None:
    try:
        client.create(manifest)
    except RefusedError as error:
        if error.code != httpx.codes.CONFLICT:
            raise


def _established(client: KubernetesClient, name: str) -> bool:
    return _is("Established", client.get("CustomResourceDefinition", name))


def _is(condition: str, found: Manifest | None) -> bool:
    """Return whether the status of an object says so."""
    # A node that has just been registered has none, or null.
    conditions = (found.get("status", {}).get("conditions") if found else None) or []
    return any(entry["type"] == condition and entry["status"] == "True" for entry in conditions)


def _output(*command: str | Path, cwd: Path | None = None) -> str:
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout


def _nothing_else_lives() -> bool:
    """Kill every process but the tests' own; return whether there was none."""
    others = [entry for entry in _processes() if int(entry.name) not in {1, os.getpid()}]
    alive = [entry for entry in others if _read(entry / "cmdline")]  # a zombie has none
    for entry in alive:
        with suppress(ProcessLookupError):
            os.kill(int(entry.name), signal.SIGKILL)
    return not alive


def _mounts() -> list[str]:
    """Return where something is mounted, in the order in which that was done."""
    return [line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()]


def _processes() -> list[Path]:
    return [entry for entry in Path("/proc").iterdir() if entry.name.isdecimal()]


def _read(path: Path) -> bytes:
    """Return what a file of a process says; nothing once that is gone."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, ProcessLookupError):
        return b""
