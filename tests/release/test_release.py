"""`make release`, as the workflow runs it but for publishing: what it makes is reproducible, whole, and installs."""

import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
import yaml

from kit import ROOT
from kit.kubernetes.charts import CHART, run_helm
from kit.released import REGISTRY, VERSION, MakeRelease
from kit.server.client_environments import run_script
from kit.server.server_process import ServerProcess
from qiskit_runtime_server.client import environment

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
WHEEL = f"qiskit_runtime_server-{VERSION}-py3-none-any.whl"
PASSWORD = "a password for tests"  # noqa: S105


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_the_same_commit_gives_the_same_bytes(made: Path, make_release: MakeRelease, tmp_path: Path) -> None:
    again = tmp_path / "out"
    assert make_release(OUT=again).returncode == 0
    assert {path.name: digest_of(path) for path in again.iterdir()} == {
        path.name: digest_of(path) for path in made.iterdir()
    }


def test_checksums_are_those_of_all_files_and_of_no_damaged_one(made: Path, tmp_path: Path) -> None:
    listed = {line.split()[1] for line in (made / "SHA256SUMS").read_text().splitlines()}
    assert listed == {path.name for path in made.iterdir()} - {"SHA256SUMS"}
    assert {WHEEL, "crds.yaml", "release-notes.md", f"{CHART.name}-{VERSION}.tgz"} <= listed
    copy = shutil.copytree(made, tmp_path / "copy")
    check = ["sha256sum", "--check", "--quiet", "SHA256SUMS"]
    assert subprocess.run(check, cwd=copy, check=False).returncode == 0
    with (copy / WHEEL).open("ab") as wheel:
        wheel.write(b"\0")
    assert subprocess.run(check, cwd=copy, check=False, capture_output=True).returncode == 1


def test_packages_have_the_code_and_nothing_that_is_not_committed(made: Path) -> None:
    with zipfile.ZipFile(made / WHEEL) as wheel:
        packed = set(wheel.namelist())
    packages = {"server": "qiskit_runtime_server", "operator": "qiskit_runtime_operator"}
    assert {name.partition("/")[0] for name in packed} == {
        *packages.values(),
        f"qiskit_runtime_server-{VERSION}.dist-info",
    }
    with tarfile.open(made / f"qiskit_runtime_server-{VERSION}.tar.gz") as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    committed = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    files = set(committed.stdout.split("\n")[:-1])
    assert names - {"PKG-INFO"} == files
    # Beside modules also what the console is made of, devices, and whatever else is read from the package.
    inside = {name.partition("/")[2] for name in files if name.startswith(tuple(map("/".join, packages.items())))}
    assert {name for name in packed if ".dist-info/" not in name} == inside
    assert {Path(name).suffix for name in inside} >= {".mako", ".css", ".js", ".svg", ".py"}


def test_bills_list_every_pinned_package(made: Path) -> None:
    bill = json.loads((made / f"{WHEEL}.spdx.json").read_text())
    assert bill["spdxVersion"] == "SPDX-2.3"
    subject, *parts = bill["packages"]
    assert subject["checksums"] == [{"algorithm": "SHA256", "checksumValue": digest_of(made / WHEEL)}]
    named = {(part["name"], part["versionInfo"]) for part in parts}
    for role in ("api", "executor", "operator"):
        text = (ROOT / "requirements" / f"image-{role}.txt").read_text()
        assert set(re.findall(r"^([\w.-]+)(?:\[\S+\])?==([^ ;]+)", text, re.MULTILINE)) <= named
    related = {(link["spdxElementId"], link["relationshipType"]) for link in bill["relationships"]}
    assert related == {("SPDXRef-DOCUMENT", "DESCRIBES"), ("SPDXRef-Subject", "DEPENDS_ON")}


def test_the_provenance_names_the_commit_and_each_artefact(made: Path) -> None:
    statement = json.loads((made / "provenance.json").read_text())
    for subject in statement["subject"]:
        assert subject["digest"]["sha256"] == digest_of(made / subject["name"])
    named = {subject["name"] for subject in statement["subject"]}
    assert {path.name for path in made.iterdir()} - named == {
        "provenance.json",
        "SHA256SUMS",
        "release-notes.md",
        *(path.name for path in made.glob("*.spdx.json")),
    }
    definition = statement["predicate"]["buildDefinition"]
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert definition["resolvedDependencies"][0]["digest"] == {"gitCommit": head.stdout.strip()}
    assert definition["externalParameters"] == {"version": VERSION, "registry": REGISTRY}


def test_the_layout_of_the_chart_has_what_helm_takes_from_a_registry(made: Path, oras: Path) -> None:
    layout = made / f"{CHART.name}-{VERSION}.chart.oci.tar"
    fetch: list[str | Path] = [oras, "manifest", "fetch", "--oci-layout", f"{layout}:{VERSION}"]
    manifest = json.loads(subprocess.run(fetch, capture_output=True, text=True, check=True).stdout)
    assert manifest["config"]["mediaType"] == "application/vnd.cncf.helm.config.v1+json"
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
    assert layer["digest"] == f"sha256:{digest_of(made / f'{CHART.name}-{VERSION}.tgz')}"


def test_the_chart_tells_a_catalogue_what_it_brings(made: Path, helm: Path) -> None:
    shown = run_helm(helm, "show", "chart", made / f"{CHART.name}-{VERSION}.tgz")
    noted = yaml.safe_load(shown.stdout)["annotations"]
    images = {image["image"]: image["platforms"] for image in yaml.safe_load(noted["artifacthub.io/images"])}
    assert images[f"{REGISTRY}/qiskit-runtime-server-executor-gpu:{VERSION}"] == ["linux/amd64"]
    assert images[f"{REGISTRY}/qiskit-runtime-operator:{VERSION}"] == ["linux/amd64", "linux/arm64"]
    assert all(isinstance(change, str) for change in yaml.safe_load(noted["artifacthub.io/changes"]))
    (crd,) = yaml.safe_load(noted["artifacthub.io/crds"])
    definition = yaml.safe_load((made / "crds.yaml").read_text())
    assert crd["name"] == definition["metadata"]["name"]
    assert crd["version"] == definition["spec"]["versions"][0]["name"]


@pytest.mark.thorough
def test_the_wheel_serves_a_bell_job_out_of_a_clean_environment(made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "environment"
    venv.create(folder, with_pip=False)
    # The versions that are tested, of what the wheel itself asks for.
    pins = re.findall(r"^([\w.-]+==[^\\\n]+)", (ROOT / "requirements" / "dev.txt").read_text(), re.MULTILINE)
    constraints = tmp_path / "constraints.txt"
    constraints.write_text("\n".join(pins))
    pip: list[str | Path] = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        folder / "bin" / "python",
        "install",
        "--quiet",
        "--no-compile",
    ]
    subprocess.run([*pip, "--constraint", constraints, f"{made / WHEEL}[serve]"], check=True)
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = subprocess.Popen(
        [
            folder / "bin" / "qiskit-runtime-server",
            "serve",
            "--anonymous",
            "--port=0",
            f"--data-dir={tmp_path / 'data'}",
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=tmp_path,
        env={**clean, "PYTHONUNBUFFERED": "1"},
    )
    server = ServerProcess(process, tmp_path / "data")
    try:
        server.wait_until_ready()
        said = run_script(
            folder / "bin" / "python",
            ROOT / "examples" / "sampler.py",
            environment(server.url, "a-token-for-the-release"),
        )
    finally:
        process.kill()
        process.wait()
        server.reader.join()
    counts = json.loads(re.findall(r"^Bell (\{.*\})$", said, re.MULTILINE)[0].replace("'", '"'))
    assert sum(counts.values()) == 4096
    assert counts["00"] + counts["11"] > 0.85 * 4096


@pytest.mark.thorough
def test_signatures_hold_for_what_was_signed_and_nothing_else(
    make_release: MakeRelease, cosign: Path, tmp_path: Path
) -> None:
    password = {**os.environ, "COSIGN_PASSWORD": PASSWORD}
    subprocess.run([cosign, "generate-key-pair"], cwd=tmp_path, env=password, check=True, capture_output=True)
    out = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COSIGN_PASSWORD", PASSWORD)
        done = make_release(OUT=out, KEY=tmp_path / "cosign.key")
    assert done.returncode == 0, done.stderr

    def verified(verb: str, bundle: str, *arguments: str | Path) -> bool:
        how: list[str | Path] = ["--key", tmp_path / "cosign.pub", "--insecure-ignore-tlog", "--bundle", out / bundle]
        command: list[str | Path] = [cosign, verb, *how, *arguments]
        return subprocess.run(command, capture_output=True, check=False).returncode == 0

    sums, bundle = out / "SHA256SUMS", "SHA256SUMS.sigstore.json"
    assert verified("verify-blob", bundle, sums)
    other = tmp_path / "other"
    other.write_text(sums.read_text().replace("0", "1", 1))
    assert not verified("verify-blob", bundle, other)
    of_slsa = ("--type", "https://slsa.dev/provenance/v1")
    assert verified("verify-blob-attestation", "provenance.json.sigstore.json", *of_slsa, out / WHEEL)
    assert not verified("verify-blob-attestation", "provenance.json.sigstore.json", *of_slsa, other)


def test_a_version_that_the_commit_is_not_is_refused(make_release: MakeRelease, tmp_path: Path) -> None:
    done = make_release(VERSION="9.9.9", OUT=tmp_path / "out")
    assert done.returncode != 0
    assert "pyproject.toml says" in done.stderr


def test_a_final_release_needs_its_tag(make_release: MakeRelease, tmp_path: Path) -> None:
    done = make_release(OUT=tmp_path / "out", ARGS="--final")
    tag = subprocess.run(["git", "tag", "--points-at", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert (done.returncode == 0) is (f"v{VERSION}" in tag.stdout.split()), done.stderr
