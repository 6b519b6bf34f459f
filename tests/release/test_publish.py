"""`make publish` on a real registry: images of two processors under one name, the chart, and their signatures."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from kit.kubernetes.charts import CHART, KUBE_VERSION, run_helm
from kit.kubernetes.client import eventually
from kit.ports import held_port
from kit.released import VERSION, run_make
from release.archives import pack

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
IMAGE = "qiskit-runtime-server-api"


@pytest.fixture
def address(registry: Path, tmp_path: Path) -> Iterator[str]:
    """Where an empty registry listens."""
    with held_port() as port:
        settings = tmp_path / "registry.yaml"
        settings.write_text(
            f"version: 0.1\nstorage: {{filesystem: {{rootdirectory: {tmp_path / 'registry'}}}}}\n"
            f"http: {{addr: '127.0.0.1:{port}'}}\n"
        )
        quiet = {**os.environ, "OTEL_TRACES_EXPORTER": "none"}
        log = (tmp_path / "registry.log").open("w")
        with log, subprocess.Popen([registry, "serve", settings], stdout=log, stderr=log, env=quiet) as process:
            try:
                eventually(lambda: _answers(port))
                yield f"127.0.0.1:{port}/qiskit"
            finally:
                process.kill()


def _answers(port: int) -> bool:
    try:
        return httpx.get(f"http://127.0.0.1:{port}/v2/").status_code == 200
    except httpx.TransportError:
        return False


def write_image(oras: Path, archive: Path, processor: str) -> None:
    """Write an image without layers that is for a processor."""
    scratch = archive.with_suffix("")
    scratch.mkdir()
    (scratch / "config.json").write_text(json.dumps({"architecture": processor, "os": "linux", "rootfs": {}}))
    (scratch / "layer").write_text(processor)
    config = "--config=config.json:application/vnd.oci.image.config.v1+json"
    layer = "layer:application/vnd.oci.image.layer.v1.tar"
    push: list[str | Path] = [oras, "push", "--oci-layout", f"layout:{VERSION}", config, layer]
    subprocess.run(push, cwd=scratch, check=True, capture_output=True)
    pack(scratch / "layout", archive, epoch=0)
    shutil.rmtree(scratch)


@pytest.mark.thorough
def test_a_release_is_pushed_and_signed(
    made: Path, address: str, oras: Path, cosign: Path, helm: Path, tmp_path: Path
) -> None:
    out = shutil.copytree(made, tmp_path / "out")
    for processor in ("amd64", "arm64"):
        write_image(oras, out / f"{IMAGE}-{VERSION}-{processor}.oci.tar", processor)
    password = {**os.environ, "COSIGN_PASSWORD": "a password for tests"}
    subprocess.run([cosign, "generate-key-pair"], cwd=tmp_path, env=password, check=True, capture_output=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COSIGN_PASSWORD", password["COSIGN_PASSWORD"])
        key = tmp_path / "cosign.key"
        done = run_make("publish", VERSION=VERSION, OUT=out, REGISTRY=address, KEY=key, ARGS="--plain-http")
    assert done.returncode == 0, done.stderr

    fetch: list[str | Path] = [oras, "manifest", "fetch", "--plain-http", f"{address}/{IMAGE}:{VERSION}"]
    index = json.loads(subprocess.run(fetch, capture_output=True, text=True, check=True).stdout)
    assert {image["platform"]["architecture"] for image in index["manifests"]} == {"amd64", "arm64"}

    def verified(name: str) -> bool:
        how: list[str | Path] = ["--key", tmp_path / "cosign.pub", "--insecure-ignore-tlog", "--allow-http-registry"]
        command: list[str | Path] = [cosign, "verify", *how, f"{address}/{name}"]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    assert verified(f"{IMAGE}:{VERSION}")
    assert verified(f"{IMAGE}:{VERSION}-arm64")
    assert verified(f"charts/{CHART.name}:{VERSION}")
    assert not verified(f"charts/{CHART.name}:artifacthub.io")
    where = f"oci://{address}/charts/{CHART.name}"
    pulled = run_helm(helm, "template", "rel", where, f"--version={VERSION}", "--plain-http", KUBE_VERSION)
    assert pulled.returncode == 0, pulled.stderr
    assert f"{CHART.name}:{VERSION}" in pulled.stdout


@pytest.mark.usefixtures("make_release")
def test_what_is_no_release_is_not_published(tmp_path: Path) -> None:
    done = run_make("publish", VERSION="9.9.9", OUT=tmp_path, REGISTRY="127.0.0.1:9/qiskit")
    assert done.returncode != 0
    assert "is no release 9.9.9" in done.stderr
